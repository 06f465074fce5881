"""`serve` runs the whole daemon: its settings, its state, its log, and what the service manager hears."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rights import REMEDY, open_to_everyone

from poppo_ipc import Conflict, ShuttingDown, SyncClient, generate_token
from poppo_ipc.transport._private import why_not_private

from .processes import PATIENCE, Serve


def settings(client: SyncClient) -> dict[str, Any]:
    shown: dict[str, Any] = client.call("daemon.status")["config"]
    return shown


def test_settings_come_from_file_environment_and_flags_each_over_the_one_before(place: Path) -> None:
    (place / "c.toml").write_text('workers = 1\nlog_level = "warning"\n[queue]\nmax_attempts = 7\n')
    environ = {"POPPO_WORKERS": "2", "POPPO_LOG_LEVEL": "error"}
    with Serve(place / "sock", "--config", place / "c.toml", "--workers", "0", env=environ) as daemon:
        daemon.until_ready()
        with daemon.client() as client:
            assert settings(client) == {"maxProcesses": 0, "logLevel": "error", "port": None}
            task = client.call("task.submit", type="command", payload={"argv": ["true"]})["taskId"]
            assert client.call("task.status", taskId=task)["maxAttempts"] == 7
        daemon.stop()


def test_the_file_can_be_named_by_the_environment(place: Path) -> None:
    (place / "c.toml").write_text("workers = 0\n")
    with Serve(place / "sock", env={"POPPO_CONFIG": str(place / "c.toml")}) as daemon:
        daemon.until_ready()
        with daemon.client() as client:
            assert settings(client)["maxProcesses"] == 0
        daemon.stop()


@pytest.mark.parametrize(
    ("flags", "file", "code", "says"),
    [
        (
            ("--workers", "x", "--log-level", "loud"),
            "",
            2,
            ["--workers: workers: expected", "--log-level: log_level: "],
        ),
        (("--no-auth", "--token-file", "t"), "", 2, ["no_auth and token_file cannot both be set"]),
        (("--socket", "tcp://localhost:80"), "", 2, ["--socket: socket: "]),
        ((), "wrokers = 1\n[queue]\nmax_attempts = 0\n", 1, [":1: wrokers: there is no such setting", ":3: queue."]),
    ],
)
def test_wrong_settings_are_told_line_by_line(
    place: Path, flags: tuple[str, ...], file: str, code: int, says: list[str]
) -> None:
    (place / "c.toml").write_text(file)
    with Serve(place / "sock", "--config", place / "c.toml", *flags) as daemon:
        assert daemon.wait() == code
    assert len(daemon.lines) == len(says), daemon.output
    for line, part in zip(daemon.lines, says, strict=True):
        assert line.startswith("poppo-ipc: ")
        assert part in line
    assert not daemon.state.exists()


def test_a_file_that_is_not_there_is_told(place: Path) -> None:
    with Serve(place / "sock", "--config", place / "none.toml") as daemon:
        assert daemon.wait() == 1
    assert daemon.lines == [f"poppo-ipc: {place / 'none.toml'}: cannot be read: No such file or directory"]


def test_settings_are_read_again_by_command(place: Path) -> None:
    file = place / "c.toml"
    file.write_text('workers = 0\nlog_level = "info"\n')
    with Serve(place / "sock", "--config", file) as daemon:
        daemon.until_ready()
        with daemon.client() as client:
            file.write_text("workers = 'many'\n")
            with pytest.raises(Conflict, match="not reloaded: workers: expected a whole number") as refused:
                client.call("daemon.reload")
            assert str(place) not in str(refused.value.details) + refused.value.message
            assert (refused.value.details or {})["problems"] == [
                {
                    "key": "workers",
                    "problem": "expected a whole number, got 'many'",
                    "source": "line 1 of the configuration file",
                }
            ]
            assert settings(client)["maxProcesses"] == 0
            file.write_text('workers = 1\nlog_level = "debug"\n[queue]\nmax_attempts = 9\n')
            answer = client.call("daemon.reload")["config"]
            assert answer["changed"] == ["workers", "log_level", "queue.max_attempts"]
            assert (answer["maxProcesses"], answer["needsRestart"]) == (1, [])
            assert settings(client) == {"maxProcesses": 1, "logLevel": "debug", "port": None}
        daemon.stop()


def test_settings_are_read_again_on_sighup(place: Path) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    file = place / "c.toml"
    file.write_text('workers = 0\nlog_level = "info"\n')
    with Serve(place / "sock", "--config", file) as daemon:
        daemon.until_ready()
        with daemon.client() as client, client.stream("logs.tail", lines=0, follow=True) as lines:
            log = iter(lines)
            file.write_text('workers = 1\nlog_level = "debug"\nsocket = "/elsewhere"\n')
            daemon.send(signal.SIGHUP)
            heard(log, "Setting workers is now 1 (was 0)")
            assert settings(client) == {"maxProcesses": 1, "logLevel": "debug", "port": None}
            file.write_text("workers = 'many'\n")
            daemon.send(signal.SIGHUP)
            heard(log, "The configuration was not reloaded: ", "workers: expected a whole number")
            assert settings(client)["maxProcesses"] == 1
        daemon.stop()


def heard(log: Iterator[Any], *parts: str) -> None:
    for line in log:
        if all(part in line["message"] for part in parts):
            return
    raise AssertionError(f"the log ended without {parts}")


def test_metrics_are_served_on_loopback(place: Path) -> None:
    with Serve(place / "sock", "--metrics", "0", "--workers", "0") as daemon:
        daemon.until_ready()
        with daemon.client() as client:
            port = settings(client)["port"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
                assert b"poppo_" in answer.read()
            with Serve(place / "two" / "sock", "--metrics-port", str(port)) as second:
                assert second.wait() == 1
            assert second.lines[-1] == (
                f"poppo-ipc: Metrics cannot be served: port {port} of 127.0.0.1 is in use; choose another metrics_port"
            )
        daemon.stop()


def test_what_was_stored_is_there_after_a_restart(place: Path) -> None:
    for first in (True, False):
        with Serve(place / "sock", "--workers", "0") as daemon:
            daemon.until_ready()
            with daemon.client() as client:
                if first:
                    project = client.call("project.add", path=str(place))["project"]["id"]
                    task = client.call("task.submit", type="command", payload={"argv": ["true"]})["taskId"]
                    client.call("queue.pause", queue="side")
                assert [each["id"] for each in client.call("project.list")["projects"]] == [project]
                assert [each["id"] for each in client.call("task.list")["tasks"]] == [task]
                assert client.call("queue.status", queue="side")["paused"] is True
            daemon.stop()


def test_a_second_one_on_the_same_state_is_refused_by_the_pid_and_touches_no_log(place: Path) -> None:
    with Serve(place / "sock", "--workers", "0") as first:
        first.until_ready()
        with Serve(place / "other", "--workers", "0") as second:
            assert second.wait() == 1
        assert len(second.lines) == 1
        assert f"is in use by process {first.pid}; stop that first" in second.output
        assert not (place / "other").exists()
        first.stop()
    assert str(place / "other") not in (first.state / "logs" / "daemon.log").read_text()


def test_a_state_directory_that_is_open_to_others_is_refused(place: Path) -> None:
    (place / "state").mkdir()
    open_to_everyone(place / "state")
    with Serve(place / "sock", "--no-auth") as daemon:
        assert daemon.wait() == 1
    assert daemon.lines[-1].startswith(f"poppo-ipc: The state directory {daemon.state} is open to ")
    assert f"; run: {REMEDY} " in daemon.lines[-1]


def test_state_that_is_damaged_is_refused_and_left_as_it_is(place: Path) -> None:
    (place / "state").mkdir(mode=0o700)
    (place / "state" / "state.db").write_bytes(b"no database" * 100)
    with Serve(place / "sock", "--no-auth") as daemon:
        assert daemon.wait() == 1
    assert daemon.lines[-1].startswith(f"poppo-ipc: {daemon.state / 'state.db'} is no database")
    assert (daemon.state / "state.db").read_bytes() == b"no database" * 100
    assert not daemon.is_there


@pytest.fixture
def manager(place: Path) -> Iterator[socket.socket]:
    """A service manager's end of the notifications."""
    if sys.platform == "win32":
        raise NotImplementedError
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(place / "notify"))
        sock.settimeout(PATIENCE)
        yield sock


def test_the_service_manager_hears_how_it_is(place: Path, manager: socket.socket) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    environ = {"NOTIFY_SOCKET": str(place / "notify"), "WATCHDOG_USEC": "60000000"}
    with Serve(place / "sock", "--workers", "0", env=environ) as daemon:
        wanted = ["WATCHDOG=1", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
        said = [manager.recv(4096).decode().splitlines() for _ in range(2)]
        daemon.until_ready()
        daemon.send(signal.SIGHUP)
        said += [manager.recv(4096).decode().splitlines() for _ in range(2)]
        daemon.send(signal.SIGTERM)
        said.append(manager.recv(4096).decode().splitlines())
        assert daemon.wait() == 0
    assert sorted(lines[0] for lines in said) == sorted(wanted)
    assert [lines[0] for lines in said if lines[0] != "WATCHDOG=1"] == wanted[1:]
    assert any(line.startswith("MONOTONIC_USEC=") for lines in said for line in lines)


#: Prints the variables of a task.
ENVIRONMENT = [sys.executable, "-c", "import os; print(dict(os.environ))"]


def stored_output(path: Path) -> bytes:
    """What tasks have printed."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return repr(connection.execute("SELECT * FROM output").fetchall()).encode()


def test_the_token_is_in_no_output_no_log_and_no_task(place: Path) -> None:
    token = generate_token(place / "own")
    with Serve(place / "sock", "--log-level", "debug", "--workers", "1", env={"POPPO_TOKEN": token}) as daemon:
        daemon.until_ready()
        with daemon.client(token) as client, client.subscribe("task.*", timeout=PATIENCE) as events:
            client.call("notify-project-change", event=f"it is {token}", data={})
            task = client.call("task.submit", type="command", payload={"argv": ENVIRONMENT})["taskId"]
            for event in events:
                if getattr(event, "name", "") == "task.completed":
                    break
            with client.stream("task.output", taskId=task) as items:
                assert "'PATH'" in "".join(item["text"] for item in items)
            told = json.dumps(client.call("logs.tail", lines=1000))
        daemon.stop(token)
    assert "Told of a change in no project of ours: it is [redacted]" in told
    # But for the answer to the first command: what a client sends and is given back is its own affair.
    texts = [file.read_bytes() for file in daemon.state.rglob("*") if file.is_file() and file.suffix == ".log"]
    texts.append(stored_output(daemon.state / "state.db"))
    assert len(texts) == 2
    assert all(token.encode() not in text for text in [*texts, daemon.output.encode(), told.encode()])
    assert why_not_private(str(daemon.state / "logs" / "daemon.log")) is None
    assert why_not_private(str(daemon.state)) is None


def test_a_second_signal_ends_it_at_once_though_a_task_runs(place: Path) -> None:
    with Serve(place / "sock", "--workers", "1", "--stop-grace", "3600") as daemon:
        daemon.until_ready()
        with daemon.client() as client, client.subscribe("**", timeout=PATIENCE) as events:
            client.call("task.submit", type="command", payload={"argv": ["sleep", "600"]})
            for event in events:
                name = getattr(event, "name", "")
                if name == "task.started":
                    daemon.send(signal.SIGTERM)
                elif name == "daemon.stopping":
                    # The task has its grace; for new commands it is too late.
                    with pytest.raises(ShuttingDown):
                        client.call("queue.status")
                    daemon.send(signal.SIGTERM)
                    break
        assert daemon.wait() == 0
    assert not daemon.is_there
