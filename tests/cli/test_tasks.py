"""`tasks`: what is submitted, what it prints, how it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from poppo_ipc import Event, SyncClient
from poppo_ipc.testing import FakeDaemon

from .processes import PATIENCE, at, environment
from .program import PROGRAM, Shell, to_the_end


def client_of(shell: Shell) -> SyncClient:
    token = (Path(shell.env["POPPO_STATE_DIR"]) / "token").read_text().strip()
    return SyncClient(shell.env["POPPO_SOCKET"], token=token)


def test_a_run_passes_on_both_streams_and_the_exit_code(served: Shell, place: Path) -> None:
    script = 'echo out; echo err >&2; pwd; echo "$GIVEN"; exit 7'
    ran = served.run("tasks", "run", "--cwd", place, "--env", "GIVEN=it", "--", "sh", "-c", script)
    assert (ran.code, ran.out, ran.err) == (7, f"out\n{place}\nit\n", "err\n")


def test_options_of_the_program_need_no_dashes_before_it(served: Shell) -> None:
    assert served.ask("tasks", "run", "printf", "%s", "--json").out == "--json"


def test_a_run_that_a_signal_ends_is_128_and_its_number(served: Shell) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    assert served.ask("tasks", "run", "sh", "-c", "kill -9 $$").code == 128 + signal.SIGKILL


def test_a_program_that_is_not_there_is_told(served: Shell) -> None:
    ran = served.run("tasks", "run", "no-such-program")
    assert ran.code == 1
    assert "Command not found: no-such-program" in ran.err


def test_ctrl_c_cancels_the_task(served: Shell) -> None:
    child = served.terminal("tasks", "run", "--", "sh", "-c", "echo it runs; exec sleep 600")
    child.expect_exact("it runs")
    child.sendintr()
    child.expect(r"poppo-ipc: task (\S+) cancelled")
    assert isinstance(child.match, re.Match)
    task_id = child.match[1]
    to_the_end(child)
    assert child.exitstatus == 130
    assert served.ask("tasks", "status", task_id).json["status"] == "cancelled"


def test_sigterm_cancels_the_task(served: Shell) -> None:
    with client_of(served) as client, client.subscribe("task.started", timeout=PATIENCE) as started:
        running = subprocess.Popen(
            [*PROGRAM, "tasks", "run", "sleep", "600"],
            env=environment(served.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        event = next(iter(started))
        assert isinstance(event, Event)
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=PATIENCE)
        task_id = event.data["taskId"]
        assert (running.returncode, err) == (128 + signal.SIGTERM, f"poppo-ipc: task {task_id} cancelled\n")
        assert client.call("task.status", taskId=task_id)["status"] == "cancelled"


def test_sigterm_cancels_a_task_whose_submit_is_not_answered_yet(fake_daemon: FakeDaemon) -> None:
    started = threading.Event()
    programs: list[subprocess.Popen[str]] = []

    def submit(call: object) -> dict[str, str]:
        assert started.wait(PATIENCE)
        programs[0].send_signal(signal.SIGTERM)
        return {"taskId": "t1"}

    fake_daemon.on("task.submit").call(submit)
    fake_daemon.on("task.cancel", taskId="t1").reply({"message": "Task t1 cancelled"})
    command = [*PROGRAM, "tasks", "run", "sleep", "600"]
    programs.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    started.set()
    _, err = programs[0].communicate(timeout=PATIENCE)
    assert (programs[0].returncode, err) == (128 + signal.SIGTERM, "poppo-ipc: task t1 cancelled\n")


def test_a_submitted_task_is_followed_listed_and_tried_again(served: Shell) -> None:
    options = ("--attempts", "1", "--priority", "2", "--key", "one")
    # As bytes: what is printed as text ends its lines in another way on Windows, and is passed on as it is.
    script = r"import os, sys; os.write(1, b'one\n'); os.write(2, b'two\n'); sys.exit(1)"
    task_id = served.ask("tasks", "submit", *options, "--", sys.executable, "-c", script).json["taskId"]
    output = served.ask("tasks", "output", "-f", task_id)
    assert (output.code, output.out, output.err) == (0, "one\n", "two\n")
    pieces = served.ask("tasks", "output", task_id, "--json").lines
    assert {(piece["stream"], piece["text"]) for piece in pieces} == {("stdout", "one\n"), ("stderr", "two\n")}
    listed = served.ask("tasks", "list", "--status", "failed", "--limit", "5").json["tasks"]
    assert task_id in [task["id"] for task in listed]
    again = served.ask("tasks", "retry", task_id).json["newTaskId"]
    assert served.ask("tasks", "output", "-f", again).out == "one\n"
    refused = served.ask("tasks", "cancel", task_id)
    assert (refused.code, refused.out) == (1, "")


def test_on_a_terminal_a_task_keeps_its_colours_and_nothing_else(served: Shell) -> None:
    shown = served.shown("tasks", "run", "printf", r"\033[32mgreen\033[0m \033]0;title\007\n")
    assert "\x1b[32mgreen\x1b[0m \\x1b]0;title\\x07" in shown


@pytest.mark.parametrize("what", ["submit", "run"])
def test_without_a_daemon_it_is_3(place: Path, what: str) -> None:
    assert Shell({"POPPO_SOCKET": at(place / "none")}).ask("tasks", what, "true").code == 3
