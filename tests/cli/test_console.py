"""Ctrl-C and Ctrl-Break on Windows.

Ctrl-C is pressed in a console that the program has to itself. Ctrl-Break cannot be pressed from outside everywhere
(wine's console has no such event), so it is raised within the program, as the C runtime does when it is pressed.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from poppo_ipc import Event, SyncClient

from .processes import PATIENCE, READY, Serve, at, environment
from .program import Shell

HERE = Path(__file__).parent
CTRL_C = HERE / "console.py"
RAISED_SIGBREAK = HERE / "raising.py"
KEYS = pytest.mark.parametrize("key", [CTRL_C, RAISED_SIGBREAK], ids=["ctrl_c", "raised_sigbreak"])


class Console:
    """A console with `poppo-ipc` in it, whose stdout and stderr are one pipe. `key`: the program that presses it."""

    def __init__(self, key: Path, *arguments: str | Path, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(key), *map(str, arguments)],
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

    def press(self) -> None:
        """Press the key."""
        assert self.process.stdin is not None
        self.process.stdin.write("now\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Wait for the end; gives the exit code, and what was said until then."""
        said, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@contextmanager
def console(key: Path, *arguments: str | Path, env: Mapping[str, str]) -> Iterator[Console]:
    """A console for the length of the block."""
    made = Console(key, *arguments, env=env)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


@KEYS
def test_serve_ends_in_order(place: Path, key: Path) -> None:
    address = at(place / "sock")
    options: list[str | Path] = ["--socket", address, "--state-dir", place / "state", "--workers", "0", "--no-auth"]
    with console(key, "serve", *options, env={}) as run:
        run.wait_for(READY)
        with SyncClient(address, token=None, reconnect=False) as client, client.subscribe("daemon.*") as events:
            run.press()
            event = next(iter(events))
            assert isinstance(event, Event)
            assert (event.name, event.data["reason"]) == (
                "daemon.stopping",
                "SIGINT" if key == CTRL_C else "SIGBREAK",
            )
        code, said = run.end()
    assert code == 0, said


@KEYS
def test_a_call_that_waits_ends_quietly(talking: Shell, key: Path) -> None:
    with SyncClient(talking.env["POPPO_SOCKET"], token=None) as client, client.subscribe("hang.began") as events:
        with console(key, "call", "hang", env=talking.env) as run:
            next(iter(events))
            run.press()
            assert run.end() == (130, "")
        assert client.call("cancelled") is True


@KEYS
def test_events_end_quietly(place: Path, key: Path) -> None:
    with Serve(place / "sock", "--workers", "0") as daemon:
        daemon.until_ready()
        env = {"POPPO_SOCKET": daemon.socket, "POPPO_STATE_DIR": str(daemon.state)}
        with daemon.client() as client:
            client.call("queue.pause")
        with console(key, "events", "--since", "0", "queue.*", env=env) as run:
            run.wait_for("{")
            run.press()
            assert run.end() == (130, "")
        daemon.stop()


def test_a_task_is_cancelled(served: Shell) -> None:
    with console(
        CTRL_C, "tasks", "run", sys.executable, "-uc", "import time; print('begun'); time.sleep(600)", env=served.env
    ) as run:
        run.wait_for("begun")
        run.press()
        code, said = run.end()
    assert code == 130
    assert " cancelled" in said
