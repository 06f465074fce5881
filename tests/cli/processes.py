"""Programs under test, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from poppo_ipc import Address, SyncClient
from poppo_ipc.cli._gone import wait_until_gone
from poppo_ipc.client._probe import somebody_listens

#: Seconds that nothing here takes, even on a machine that has much else to do.
PATIENCE = 60.0 if sys.platform == "win32" else 30.0
READY = "ready on "
#: What messages call the place that a daemon listens at.
KIND = "pipe" if sys.platform == "win32" else "socket"


def at(socket: Path) -> str:
    """The address of the socket of a test: its path, or on Windows the pipe that is named after it."""
    return f"npipe:{socket.parent.name}-{socket.name}" if sys.platform == "win32" else str(socket)


def told(socket: Path) -> str:
    """That address as programs tell it."""
    return str(Address.parse(at(socket)))


def sleeping(seconds: float) -> list[str]:
    """A program that does nothing for so long."""
    if sys.platform == "win32":
        return [sys.executable, "-c", f"import time; time.sleep({seconds})"]
    return ["sleep", str(seconds)]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment, without what would change how the programs behave."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POPPO_", "LISTEN_"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **(extra or {})}


class Program:
    """A program whose stdout and stderr are one pipe that is read line by line. Killed at the end of the block."""

    def __init__(self, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env=environment(env),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has said so far, as far as it was read."""
        return "\n".join(self.lines)

    def wait_for(self, start: str) -> str:
        """Read up to the line that begins like this; gives the rest of that line."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(start):
                return line[len(start) :].strip()
        raise AssertionError(f"it ended without saying {start!r}:\n{self.output}")

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        """Read all that is left, and give the exit code."""
        rest, _ = self._process.communicate(timeout=PATIENCE)
        self.lines += rest.splitlines()
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


class Serve(Program):
    """`poppo-ipc serve` at `socket`, with its state beside it."""

    def __init__(self, socket: Path, *options: str | Path, env: Mapping[str, str] | None = None) -> None:
        self.socket = at(socket)
        self._path = socket
        self.state = socket.parent / "state"
        place: list[str | Path] = ["--socket", self.socket, "--state-dir", self.state]
        super().__init__(sys.executable, "-m", "poppo_ipc", "serve", *place, *options, env=env)

    def until_ready(self) -> Self:
        address = self.wait_for(READY)
        assert address == str(Address.parse(self.socket)), f"it is ready on {address!r}"
        return self

    def client(self, token: str | None = None) -> SyncClient:
        """A client with the token of the state directory, or with another."""
        own = self.state / "token"
        return SyncClient(self.socket, token=token or (own.read_text().strip() if own.exists() else None))

    @property
    def is_there(self) -> bool:
        """Whether there is a socket, whose owner may be dead, or a pipe, whose owner is not."""
        return somebody_listens(Address.parse(self.socket)) if sys.platform == "win32" else self._path.is_socket()

    def stop(self, token: str | None = None) -> None:
        """End it in order; with the token of the state directory, or with another, where that needs a client."""
        if sys.platform == "win32":
            with self.client(token) as client:
                client.call("daemon.stop")
        else:
            self.send(signal.SIGTERM)
        assert self.wait() == 0, self.output


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a program to its end; gives the exit code and the output."""
    with Program(*command, env=env) as program:
        return program.wait(), program.output


def end_of(address: str) -> None:
    """Wait until no process has the claim on the socket or pipe any more, however it ended."""
    parsed = Address.parse(address)
    if sys.platform == "win32":
        assert wait_until_gone(parsed, PATIENCE)
    else:
        import fcntl

        with open(f"{parsed.name}.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
