"""Settings: where they come from, what is refused and how that reads, and reading them again."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest

from poppo_ipc.daemon._config import ConfigError, DaemonConfig, QueueConfig, load_config, reload
from poppo_ipc.daemon._config_model import keys
from poppo_ipc.limits import Limits, Overflow


def problems(
    file: Path | None = None, environ: dict[str, str] | None = None, flags: dict[str, Any] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ or {}, flags)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "poppo.toml"
    path.write_text(text)
    return path


def test_defaults() -> None:
    config = load_config(None, {}, {})
    assert config == DaemonConfig()
    assert config.workers == 4
    assert config.limits == Limits()
    assert config.metrics_port is None
    assert config.state_dir.is_absolute()


def test_each_source_over_the_one_before(tmp_path: Path) -> None:
    file = written(
        tmp_path, "workers = 1\nkill_grace = 1\nstop_grace = 1\nlog_level = 'DEBUG'\n[queue]\nmax_attempts = 1"
    )
    environ = {"POPPO_KILL_GRACE": "2", "POPPO_STOP_GRACE": "2.5", "POPPO_QUEUE_MAX_ATTEMPTS": "2"}
    config = load_config(file, environ, {"stop_grace": 3, "queue.max_attempts": "3", "workers": None})
    assert (config.workers, config.kill_grace, config.stop_grace) == (1, 2.0, 3.0)
    assert config.queue.max_attempts == 3
    assert config.log_level == "debug"


def test_every_key_of_the_file(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
socket = "/run/x.sock"
state_dir = "state"
token_file = "../token"
no_auth = false
workers = 8
log_level = "warning"
metrics_port = 9100
kill_grace = 2
stop_grace = 0.5
limits = { clients = 10, overflow = "disconnect", idle_seconds = inf, stall_seconds = 5 }
[queue]
max_attempts = 5
backoff_base = 2
backoff_cap = 60.5
output_bytes = 0
retention_days = 1
retention_count = 0
[health]
loop_lag = 1
disk_percent = 10
disk_bytes = 5
""",
    )
    config = load_config(file, {}, {})
    assert config.socket == "/run/x.sock"
    assert config.state_dir == tmp_path / "state"
    assert config.token_file == tmp_path / ".." / "token"
    assert config.limits == Limits(clients=10, overflow=Overflow.DISCONNECT, stall_seconds=5.0)
    assert config.queue == QueueConfig(
        max_attempts=5, backoff_base=2.0, backoff_cap=60.5, output_bytes=0, retention_days=1.0, retention_count=0
    )
    assert config.health.disk_bytes == 5
    assert type(config.kill_grace) is float


@pytest.mark.parametrize("path", sorted(keys()))
def test_every_key_can_be_set_by_a_variable_and_a_flag(path: str) -> None:
    samples: dict[Any, tuple[str, Any]] = {
        int: ("7", 7), float: ("6.5", 6.5), bool: ("yes", True), Path: ("/x", Path(os.path.abspath("/x"))),
        Overflow: ("drop-newest", Overflow.DROP_NEWEST),
    }  # fmt: skip
    key = keys()[path]
    text, value = samples.get(key.type, ("/x/s", "/x/s"))
    if path == "log_level":
        text = value = "error"
    if path == "limits.frame_bytes":
        text, value = "70000", 70_000
    for config in (load_config(None, {key.variable: text}), load_config(None, {}, {path: text})):
        found: Any = config
        for step in path.split("."):
            found = getattr(found, step)
        assert found == value
        assert config != DaemonConfig()


def test_an_optional_setting_can_be_taken_back(tmp_path: Path) -> None:
    file = written(tmp_path, "metrics_port = 9100\n")
    assert load_config(file, {"POPPO_METRICS_PORT": ""}).metrics_port is None
    assert load_config(file, {"POPPO_METRICS_PORT": "none"}).metrics_port is None
    assert load_config(file, {}, {"metrics_port": "0"}).metrics_port == 0


def test_all_problems_at_once_with_key_line_and_reason(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """\
workers = "many"
wokers = 3
log_level = "inof"

[limits]
clients = 0
[queue]  # defaults
  max_attempts = true
max_atempts = 3
[helth]
x = 1
""",
    )
    found = problems(file, {"POPPO_KILL_GRACE": "-1"}, {"metrics_port": 70_000, "stop-grace": 1})
    assert found == [
        f"{file}:2: wokers: there is no such setting; did you mean workers?",
        f"{file}:9: queue.max_atempts: there is no such setting; did you mean queue.max_attempts?",
        f"{file}:10: helth: there is no such setting; did you mean health?",
        "flags: stop-grace: there is no such setting; did you mean stop_grace?",
        f"{file}:1: workers: expected a whole number, got 'many'",
        f"{file}:3: log_level: expected one of debug, info, warning, error, critical, got 'inof'; did you mean info?",
        f"{file}:6: limits.clients: 'clients' must be >= 1: 0",
        f"{file}:8: queue.max_attempts: expected a whole number, got true",
        "POPPO_KILL_GRACE: kill_grace: expected from 0 to 3600, got -1",
        "--metrics-port: metrics_port: expected from 0 to 65535, got 70000",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workers = = 1", "line 1"),
        ("workers = 1\nworkers = 2\n\nkill_grace = 1", "line 2"),
        ("limits = 5", "limits: expected a table of settings, got 5"),
        ("[limits.clients]\nx = 1", "limits.clients: expected a whole number"),
        ("workers = 1.0", "workers: expected a whole number, got 1.0"),
        ("kill_grace = nan", "kill_grace: expected a number"),
        ("kill_grace = true", "kill_grace: expected a number, got true"),
        ("state_dir = ''", "state_dir: expected a path"),
        ("no_auth = 'yes'", "no_auth: expected true or false"),
        ("limits.overflow = 'drop-old'", "limits.overflow: expected one of drop-oldest, drop-newest, disconnect"),
        ("socket = 'http://x'", "socket: "),
        ("socket = 5", "socket: expected text"),
        ("nesting = 5", "nesting: there is no such setting"),
        ("limits.nesting = 5", "limits.nesting: there is no such setting"),
    ],
)
def test_one_problem(tmp_path: Path, text: str, expected: str) -> None:
    (found,) = problems(written(tmp_path, text))
    assert expected in found
    assert "poppo.toml" in found


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"POPPO_WORKERS": "4.5"}, "POPPO_WORKERS: workers: expected a whole number, got '4.5'"),
        ({"POPPO_WORKERS": ""}, "POPPO_WORKERS: workers: expected a whole number, got ''"),
        ({"POPPO_NO_AUTH": "maybe"}, "POPPO_NO_AUTH: no_auth: expected true or false, got 'maybe'"),
        ({"POPPO_WORKRES": "4"}, "POPPO_WORKRES: there is no such setting; did you mean POPPO_WORKERS?"),
        ({"POPPO_QUEUE_MAX_ATEMPTS": "4"}, "there is no such setting; did you mean POPPO_QUEUE_MAX_ATTEMPTS?"),
    ],
)
def test_one_problem_of_the_environment(environ: dict[str, str], expected: str) -> None:
    (found,) = problems(None, environ)
    assert expected in found


def test_variables_that_are_others_are_left_alone() -> None:
    names = ("POPPO_TOKEN", "POPPO_CONFIG", "POPPO_TASK_ID", "POPPO_WORKER_ID", "POPPO_COLOUR_SCHEME", "HOME", "POPPO")
    assert load_config(None, dict.fromkeys(names, "x")) == DaemonConfig()


def test_settings_that_contradict_one_another(tmp_path: Path) -> None:
    file = written(tmp_path, "no_auth = true\n[queue]\nbackoff_base = 400\n")
    assert problems(file) == [f"{file}:3: queue: backoff_cap cannot be below backoff_base"]
    (found,) = problems(written(tmp_path, "no_auth = true"), {"POPPO_TOKEN_FILE": "/t"})
    assert "no_auth and token_file cannot both be set" in found
    assert "POPPO_TOKEN_FILE" in found
    (found,) = problems(None, {"POPPO_LIMITS_FRAME_BYTES": "1000"})
    assert found == "POPPO_LIMITS_FRAME_BYTES: limits: unauthenticated_frame_bytes cannot be over frame_bytes"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (found,) = problems(tmp_path / "missing.toml")
    assert found == f"{tmp_path / 'missing.toml'}: cannot be read: No such file or directory"
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert "utf-8" in problems(binary)[0]
    binary.write_bytes(b"# " + b"x" * 2_000_000)
    assert "over 1048576 bytes" in problems(binary)[0]


def test_made_by_hand_it_is_checked_too() -> None:
    with pytest.raises(ValueError, match="expected from 0 to 1024, got -1"):
        DaemonConfig(workers=-1)
    with pytest.raises(ValueError, match="expected one of"):
        DaemonConfig(log_level="loud")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        DaemonConfig().workers = 5  # type: ignore[misc]


def test_the_error_survives_copy_and_pickle() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"POPPO_WORKERS": "x"})
    for other in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert str(other) == str(caught.value)
        assert other.problems == caught.value.problems


# -- reading again --------------------------------------------------------------------------------------------------


def test_what_can_change_changes_and_the_rest_is_told() -> None:
    old = load_config(None, {"POPPO_LIMITS_CLIENTS": "5"})
    new = load_config(
        None,
        {"POPPO_LIMITS_CLIENTS": "6", "POPPO_WORKERS": "9", "POPPO_QUEUE_BACKOFF_CAP": "7", "POPPO_SOCKET": "/x",
         "POPPO_LOG_LEVEL": "debug", "POPPO_HEALTH_LOOP_LAG": "2", "POPPO_STATE_DIR": "/s"},
    )  # fmt: skip
    changes = reload(old, new)
    assert {change.key: (change.old, change.new) for change in changes.applied} == {
        "workers": (4, 9),
        "queue.backoff_cap": (300.0, 7.0),
        "log_level": ("info", "debug"),
        "health.loop_lag": (0.5, 2.0),
    }
    assert {change.key for change in changes.restart} == {"limits.clients", "socket", "state_dir"}
    assert changes.config == attrs.evolve(
        old,
        workers=9,
        log_level="debug",
        queue=attrs.evolve(old.queue, backoff_cap=7.0),
        health=attrs.evolve(old.health, loop_lag=2.0),
    )
    # Asked again, only what still waits for the restart is left.
    again = reload(changes.config, new)
    assert again.applied == ()
    assert {change.key for change in again.restart} == {"limits.clients", "socket", "state_dir"}


def test_nothing_has_changed() -> None:
    changes = reload(DaemonConfig(), DaemonConfig())
    assert (changes.applied, changes.restart, changes.config) == ((), (), DaemonConfig())


def test_what_takes_a_restart_is_written_down() -> None:
    assert {path for path, key in keys().items() if not key.reload} == {
        "socket", "state_dir", "token_file", "no_auth", "metrics_port", *(p for p in keys() if p.startswith("limits."))
    }  # fmt: skip
