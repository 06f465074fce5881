"""The program against a scripted daemon: how each failure ends, and that it asks what it should and no more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from poppo_ipc.testing import CliResult, FakeDaemon

PROGRAM = [sys.executable, "-m", "poppo_ipc"]
Run = Callable[..., CliResult]


def asked(fake_daemon: FakeDaemon) -> list[tuple[str, dict[str, Any]]]:
    return [(call.command, call.args) for call in fake_daemon.calls]


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("NOT_FOUND", 1), ("CONFLICT", 1), ("INVALID_ARGS", 2), ("BUSY", 1), ("FORBIDDEN", 1), ("INTERNAL", 1)],
)
def test_an_error_is_one_line_and_an_exit_code(
    fake_daemon: FakeDaemon, run_cli: Run, code: str, exit_code: int
) -> None:
    fake_daemon.on("project.start", projectId="p1").fail(code, "Something about p1")
    ran = run_cli([*PROGRAM, "projects", "start", "p1"])
    assert (ran.exit_code, ran.stdout) == (exit_code, "")
    assert ran.stderr.startswith("poppo-ipc: ")
    assert ran.stderr.count("\n") == 1
    assert asked(fake_daemon) == [("project.start", {"projectId": "p1"})]


def test_an_answer_goes_to_stdout_as_json(fake_daemon: FakeDaemon, run_cli: Run) -> None:
    fake_daemon.on("queue.pause", queue="mail").reply({"message": "Queue mail paused"})
    ran = run_cli([*PROGRAM, "queue", "pause", "mail"])
    assert (ran.exit_code, ran.json, ran.stderr) == (0, {"message": "Queue mail paused"}, "")


@pytest.mark.parametrize(("fault", "exit_code"), [("refuse", 3), ("wrong_version", 3), ("token_changed", 4)])
def test_a_daemon_that_cannot_be_talked_to(fake_daemon: FakeDaemon, run_cli: Run, fault: str, exit_code: int) -> None:
    getattr(fake_daemon.faults, fault)()
    ran = run_cli([*PROGRAM, "queue", "pause"])
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (exit_code, "", 1)
    assert "Traceback" not in ran.stderr


def test_a_daemon_that_never_answers(fake_daemon: FakeDaemon, run_cli: Run) -> None:
    fake_daemon.on("queue.pause").reply({"message": "Queue all paused"})
    fake_daemon.faults.never_answer()
    assert run_cli([*PROGRAM, "--timeout", "0.2", "queue", "pause"]).exit_code == 5


def test_an_answer_that_is_garbage(fake_daemon: FakeDaemon, run_cli: Run) -> None:
    fake_daemon.on("queue.pause").reply({"message": "Queue all paused"})
    fake_daemon.faults.garbage(1)
    ran = run_cli([*PROGRAM, "queue", "pause"])
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert "may have run" in ran.stderr
