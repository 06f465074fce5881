"""The short forms of the standard commands, with a whole daemon."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from poppo_ipc import Address
from poppo_ipc.cli._gone import wait_until_gone
from poppo_ipc.client._probe import Probe
from poppo_ipc.errors import ConnectFailed

from .original import Original
from .processes import Serve, at
from .program import Shell, to_the_end


def test_status_in_a_pipe(served: Shell) -> None:
    assert set(served.run("status").json) == {"daemon", "projects", "workers", "queue"}


def test_status_on_a_terminal(served: Shell) -> None:
    shown = served.shown("status", env={"NO_COLOR": "1"})
    assert "daemon    running  version " in shown
    assert "worker-1  idle" in shown
    assert "\x1b" not in shown


def test_a_project_from_its_beginning_to_its_end(served: Shell, place: Path) -> None:
    added = served.ask("projects", "add", place, "--name", "mine", "retries=3", "limits.cpu=two").json["project"]
    assert (added["name"], added["path"]) == ("mine", str(place))
    project = added["id"]
    assert served.ask("projects", "update", project, "retries=4", '--config={"deep": {"a": 1}}').code == 0
    whole = served.ask("projects", "status", project).json
    assert whole["config"] == {"retries": 4, "limits": {"cpu": "two"}, "deep": {"a": 1}}
    for verb, message in (("stop", "stopped"), ("start", "started"), ("restart", "restarted")):
        assert message in served.ask("projects", verb, project).json["message"]
    assert project in [each["id"] for each in served.ask("projects", "list").json["projects"]]
    assert served.ask("projects", "remove", project).code == 0
    gone = served.ask("projects", "status", project)
    assert gone.code == 1
    assert gone.err.startswith(f"poppo-ipc: There is no project {project}. ")


def test_projects_on_a_terminal(served: Shell, place: Path) -> None:
    project = served.ask("projects", "add", place).json["project"]["id"]
    assert project in served.shown("projects", "list")


def test_a_queue_is_paused_and_resumed(served: Shell) -> None:
    assert served.ask("queue", "pause", "side").json == {"message": "Queue side paused"}
    assert served.ask("queue", "status", "side").json["paused"] is True
    assert served.ask("queue", "resume", "side").json == {"message": "Queue side resumed"}
    assert "Cleared 0 jobs" in served.ask("queue", "clear", "side", "--status", "failed").json["message"]
    assert served.ask("queue", "stats", "--period", "1m").json["period"] == "1m"


def test_workers_are_scaled_and_restarted(served: Shell) -> None:
    assert served.ask("workers", "scale", "3").json == {"message": "Worker pool scaled to 3 workers"}
    assert served.ask("workers", "status").json["total"] >= 2
    assert served.ask("workers", "restart").json == {"message": "All workers restarted"}
    assert served.ask("workers", "scale", "2").code == 0
    assert served.ask("workers", "scale", "some").code == 2


def test_the_log_is_lines_in_a_pipe(served: Shell) -> None:
    lines = served.ask("logs", "-n", "2").lines
    assert 1 <= len(lines) <= 2
    assert all("message" in line for line in lines)


def test_the_log_is_text_on_a_terminal(served: Shell) -> None:
    assert "Serving on unix:" in served.shown("logs")


def test_the_log_is_followed_until_ctrl_c(served: Shell) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    child = served.terminal("logs", "-f", env={"NO_COLOR": "1"})
    child.expect_exact("Serving on unix:")
    os.kill(served.ask("call", "daemon.status").json["pid"], signal.SIGHUP)
    child.expect_exact("SIGHUP: reading the configuration again")
    child.sendintr()
    to_the_end(child)
    assert child.exitstatus == 130


def test_health_metrics_and_reload(served: Shell) -> None:
    health = served.ask("health")
    assert (health.code == 0) == (json.loads(health.out)["status"] == "healthy")
    assert served.ask("metrics", "--type", "queue", "--period", "5m").json["type"] == "queue"
    assert served.ask("reload").json["message"] == "Configuration reloaded"


def test_stop_waits_until_the_daemon_has_ended(place: Path) -> None:
    with Serve(place / "sock") as daemon:
        daemon.until_ready()
        shell = Shell({"POPPO_SOCKET": daemon.socket, "POPPO_STATE_DIR": str(daemon.state)})
        assert shell.run("stop").json == {"message": "Daemon shutdown initiated", "stopped": True}
        assert shell.run("status").code == 3
        assert daemon.wait() == 0


def test_a_daemon_that_does_not_end_is_told(place: Path) -> None:
    with Original(place / "sock", {"daemon.stop": {"message": "Daemon shutdown initiated"}}):
        shell = Shell({"POPPO_SOCKET": at(place / "sock")})
        ran = shell.ask("stop", "--timeout", "0.2")
        assert (ran.code, ran.out) == (5, "")
        assert ran.err.startswith("poppo-ipc: The daemon was told to stop and still runs after 0.2 s.")
        assert shell.ask("stop", "--no-wait").json == {"message": "Daemon shutdown initiated"}


def test_a_daemon_has_gone_when_its_lock_is_free_too(place: Path) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl

    address = Address.parse(place / "sock")
    with (place / "sock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        assert not wait_until_gone(address, 0.1)
    assert wait_until_gone(address, 0.1)


def test_one_that_takes_no_connection_just_now_has_not_gone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a pipe was taken to be there, and that by an error without a cause."""
    for reason in ConnectFailed.Reason:

        def of(_: Address, reason: ConnectFailed.Reason = reason) -> Probe:
            raise ConnectFailed("no", reason=reason) from OSError()

        monkeypatch.setattr(Probe, "of", of)
        assert wait_until_gone(Address.parse(at(place / "sock")), 0) == (reason is not ConnectFailed.Reason.BUSY)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("projects", "lst"), "There is no command 'lst'. Did you mean list?"),
        (("projects", "update", "x"), "No setting was given. Write KEY=VALUE"),
        (("projects", "update", "x", "a"), "'a' is no setting. Write KEY=VALUE"),
        (("tasks", "submit"), "Missing argument"),
        (("tasks", "submit", "--env", "NOT_THERE", "x"), "There is no variable NOT_THERE here."),
        (("--timeout", "0", "status"), "Invalid value for '--timeout': it has to be over 0 seconds."),
        (("--socket", "tcp://x", "status"), "'tcp' in 'tcp://x' is no known scheme."),
    ],
)
def test_wrong_usage_is_told_and_exits_2(arguments: tuple[str, ...], says: str) -> None:
    ran = Shell({}).ask(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"poppo-ipc: {says}")
