"""Ctrl-C and Ctrl-Break on Windows, pressed in a console that a program has to itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from poppo_ipc import SyncClient

from .processes import PATIENCE, READY, Serve, at, environment
from .program import PROGRAM, Shell

CONSOLE = Path(__file__).with_name("console.py")
KEYS = ["CTRL_C", "CTRL_BREAK"]


class Console:
    """A console and the program in it, whose stdout and stderr are one pipe."""

    def __init__(self, *command: str | Path, env: Mapping[str, str]) -> None:
        assert sys.platform == "win32"
        self.process = subprocess.Popen(
            [sys.executable, str(CONSOLE), *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env=environment(env),
            creationflags=subprocess.CREATE_NO_WINDOW,
        )

    def wait_for(self, start: str) -> None:
        """Read up to the line that begins like this."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return
        raise AssertionError(f"it ended without saying {start!r}")

    def press(self, key: str) -> None:
        """Press a key."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{key}\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Wait for the end; gives the exit code, and what was said until then."""
        said, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@contextmanager
def console(*command: str | Path, env: Mapping[str, str]) -> Iterator[Console]:
    """A console for the length of the block."""
    made = Console(*command, env=env)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


@pytest.mark.parametrize("key", KEYS)
def test_serve_ends_in_order(place: Path, key: str) -> None:
    address = at(place / "sock")
    command = [*PROGRAM, "serve", "--socket", address, "--state-dir", place / "state", "--workers", "0", "--no-auth"]
    with console(*command, env={}) as run:
        run.wait_for(READY)
        with SyncClient(address, token=None, reconnect=False) as client, client.subscribe("daemon.*") as events:
            run.press(key)
            event = next(iter(events))
            assert (event.name, event.data["reason"]) == (
                "daemon.stopping",
                "SIGINT" if key == "CTRL_C" else "SIGBREAK",
            )
        code, said = run.end()
    assert code == 0, said


@pytest.mark.parametrize("key", KEYS)
def test_a_call_that_waits_ends_quietly(talking: Shell, key: str) -> None:
    with SyncClient(talking.env["POPPO_SOCKET"], token=None) as client, client.subscribe("hang.began") as events:
        with console(*PROGRAM, "call", "hang", env=talking.env) as run:
            next(iter(events))
            run.press(key)
            assert run.end() == (130, "")
        assert client.call("cancelled") is True


@pytest.mark.parametrize("key", KEYS)
def test_events_end_quietly(place: Path, key: str) -> None:
    with Serve(place / "sock", "--workers", "0") as daemon:
        daemon.until_ready()
        env = {"POPPO_SOCKET": daemon.socket, "POPPO_STATE_DIR": str(daemon.state)}
        with console(*PROGRAM, "events", "queue.*", env=env) as run:
            with daemon.client() as client:
                while not client.call("daemon.metrics")["ipc"]["subscriptions"]:
                    pass
                client.call("queue.pause")
            run.wait_for("{")
            run.press(key)
            assert run.end() == (130, "")
        daemon.stop()


def test_a_task_is_cancelled(served: Shell) -> None:
    with console(*PROGRAM, "tasks", "run", sys.executable, "-uc", "print('begun'); input()", env=served.env) as run:
        run.wait_for("begun")
        run.press("CTRL_C")
        code, said = run.end()
    assert code == 130
    assert " cancelled" in said
