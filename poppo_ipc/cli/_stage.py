"""What the demo plays on: a private directory, a token, and a daemon in a process of its own that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio

from poppo_ipc.cli._steps import Mismatch
from poppo_ipc.client._beside import forget
from poppo_ipc.client._probe import somebody_listens
from poppo_ipc.errors import AddressError
from poppo_ipc.server import generate_token
from poppo_ipc.transport import Address, AddressKind, check_path_length

__all__ = ["KILLED", "KILLING", "DaemonProcess", "Stage", "stage"]

_READY = "ready on "
#: Lines of the daemon's stderr that are kept, to say why it did not start.
_KEPT_LINES = 20
#: Seconds that a killed process may take to be gone, before the demo may be interrupted in its wait.
_KILL_SECONDS = 5.0

if sys.platform == "win32":
    _APART: Any = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    #: How a process is killed, and the exit code of that.
    KILLING, KILLED = "TerminateProcess", 1
else:
    _APART: Any = {"start_new_session": True}
    #: How a process is killed, and the exit code of that.
    KILLING, KILLED = "SIGKILL", -signal.SIGKILL


class DaemonProcess:
    """One run of the demo's daemon. Its stderr is read for as long as it runs, so it never waits for us."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._settled = trio.Event()
        self._ready = False

    @classmethod
    async def start(cls, nursery: trio.Nursery, address: Address, token_file: Path, state_dir: Path) -> DaemonProcess:
        """Start it, and wait until clients can connect. Raises Mismatch with what it said if it ends before."""
        command = [sys.executable, "-m", "poppo_ipc.cli._demo_daemon"]
        command += ["--socket", str(address), "--token-file", str(token_file), "--state-dir", str(state_dir)]
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # Ctrl-C is for the demo, which sees to the daemon's end.
            **_APART,
        )
        self = cls(process)
        nursery.start_soon(self._read_lines)
        try:
            await self._settled.wait()
        except BaseException:
            await self.kill()
            raise
        if not self._ready:
            await self.kill()
            raise Mismatch("the daemon's start", f"{_READY}{address}", self.last_words)
        return self

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The end of what it said on stderr."""
        return " / ".join(self._lines) or "nothing"

    async def kill(self) -> int:
        """End it at once; gives the exit code. Without effect on one that has ended."""
        self._process.kill()
        # What is killed has to be collected, and is gone in no time, unless the system does not let go of it.
        with trio.move_on_after(_KILL_SECONDS, shield=True):
            await self._process.wait()
            if self._process.stdin is not None:
                await self._process.stdin.aclose()
        return await self.wait()

    async def wait(self) -> int:
        """Wait for its end; gives the exit code."""
        return await self._process.wait()

    async def _read_lines(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        rest = b""
        async with stderr:
            async for chunk in stderr:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(line.decode(errors="replace"))
        self._take(rest.decode(errors="replace"))
        self._settled.set()

    def _take(self, line: str) -> None:
        if line.strip():
            self._lines.append(line.strip())
        if line.startswith(_READY):
            self._ready = True
            self._settled.set()


class Stage:
    """The place, and the daemon that runs there at the moment."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.directory = directory
        self.address = _address(directory)
        self.token_file = directory / "token"
        self.state_dir = directory / "state"
        self.token = generate_token(self.token_file)
        self.daemon: DaemonProcess | None = None
        self.project = ""
        self._nursery = nursery

    async def start_daemon(self) -> DaemonProcess:
        """Start the daemon; the one before has to be gone."""
        self.daemon = await DaemonProcess.start(self._nursery, self.address, self.token_file, self.state_dir)
        return self.daemon

    @property
    def what(self) -> str:
        """What kind of thing is at the address."""
        return "socket" if self.address.kind is AddressKind.UNIX else "pipe"

    def has_socket(self) -> bool:
        """Whether there is something at the address, dead or alive; of a pipe only what is alive is there."""
        if self.address.kind is AddressKind.UNIX:
            return os.path.lexists(self.address.name)
        return somebody_listens(self.address)

    @property
    def running(self) -> DaemonProcess:
        """The daemon. Raises RuntimeError where there is none."""
        if self.daemon is None:
            raise RuntimeError("no daemon was started")
        return self.daemon


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """A stage for the length of the block. At its end, however that comes, nothing is left: no process and no file."""
    with _private_directory() as directory:
        async with trio.open_nursery() as nursery:
            made = Stage(directory, nursery)
            try:
                yield made
            finally:
                if made.daemon is not None:
                    await made.daemon.kill()
                forget(made.address)
                nursery.cancel_scope.cancel()


def _address(directory: Path) -> Address:
    """Of the stage in this directory, whose name no other has."""
    if os.name == "posix":
        return Address(AddressKind.UNIX, str(directory / "demo.sock"))
    return Address(AddressKind.PIPE, directory.name)


@contextmanager
def _private_directory() -> Iterator[Path]:
    """A new directory, for its owner alone, whose path leaves room for a socket's name."""
    parents = [None, "/tmp"] if os.name == "posix" else [None]
    for parent in parents:
        # Windows deletes no file that a process has open, and those that were killed are gone only a moment later.
        with tempfile.TemporaryDirectory(
            prefix="poppo-demo-", dir=parent, ignore_cleanup_errors=os.name == "nt"
        ) as name:
            try:
                if os.name == "posix":
                    check_path_length(Path(name) / "demo.sock")
            except AddressError:
                if parent == parents[-1]:
                    raise
                continue
            yield Path(name)
            return
