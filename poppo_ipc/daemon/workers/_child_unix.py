"""A worker on Unix: a guardian that the daemon starts and reaps, whose fork is the worker (see `_guardian`).

The guardian ends as the worker does. Only the guardian signals the worker, as only for the parent of a process its
number is safe to use; the daemon gives it orders.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what Windows lacks

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import socket
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import trio

from poppo_ipc.daemon.workers import _guardian as guardian
from poppo_ipc.daemon.workers import _platform_unix as platform
from poppo_ipc.daemon.workers._child import STREAMS, StreamName, package_root

__all__ = ["UnixChild"]

_READ_BYTES: Final = 65536

#: Run as a file: as a module it would load the whole package first.
_PROGRAM: Final = str(Path(guardian.__file__).resolve())


class UnixChild:
    """See `Child`."""

    acknowledges = False

    def __init__(self, python: str) -> None:
        with ExitStack() as undo:
            with ExitStack() as theirs:
                # All are closed on exec: of the processes that are started later none holds our ends.
                self._socket, its_socket = socket.socketpair()
                undo.callback(self._socket.close)
                theirs.callback(its_socket.close)
                self._lifeline, its_lifeline = socket.socketpair()
                undo.callback(self._lifeline.close)
                theirs.callback(its_lifeline.close)
                self._pipes: dict[StreamName, int] = {}
                writing = []
                for stream in STREAMS:
                    reader, writer = os.pipe()
                    undo.callback(os.close, reader)
                    theirs.callback(os.close, writer)
                    os.set_blocking(reader, False)
                    self._pipes[stream] = reader
                    writing.append(writer)
                fds = [its_socket.fileno(), its_lifeline.fileno()]
                self._popen = subprocess.Popen(
                    [python, "-P", _PROGRAM, *map(str, fds), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=writing[0],
                    stderr=writing[1],
                    pass_fds=fds,
                    start_new_session=True,
                    env=_environment(),
                )
            undo.callback(self._popen.wait)
            undo.callback(self._popen.kill)  # no task has begun: there is nothing that could be left
            self._handle = platform.open_exit_handle(self._popen.pid)
            undo.pop_all()
        self._socket.setblocking(False)
        self._lifeline.setblocking(False)
        self._greeted = False
        self._watching = trio.CancelScope()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        return self._popen.returncode

    async def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)

    async def wait_message(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)

    def receive(self) -> bytes:
        return self._socket.recv(_READ_BYTES)

    def wake(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)

    async def wait_output(self, stream: StreamName) -> None:
        await trio.lowlevel.wait_readable(self._pipes[stream])

    def read(self, stream: StreamName) -> bytes:
        fd = self._pipes.get(stream)  # closed in the same moment, the number may be another file's
        return b"" if fd is None else os.read(fd, _READ_BYTES)

    def family(self) -> list[int] | None:
        return None

    def greeted(self) -> None:
        self._greeted = True

    async def sweep(self) -> bool:
        return True  # the worker has swept before it said that it is done

    async def wait_exited(self) -> None:
        await trio.lowlevel.wait_readable(self._lifeline)  # the guardian says nothing else

    async def wait_gone(self) -> None:
        # Where the system has no handle of a process, its closing wakes nobody.
        with self._watching:
            await platform.wait_exit(self._popen.pid, self._handle)
            return
        raise trio.ClosedResourceError

    def terminate(self) -> None:
        self._order(guardian.TERMINATE)

    def kill(self) -> None:
        if self._greeted:
            self._order(guardian.KILL)
        else:
            # No guardian may be there yet to take orders, and no task was given that could have left anything.
            # A worker that is just coming up dies with its parent.
            platform.kill_group(self._popen.pid)

    def _order(self, order: bytes) -> None:
        with suppress(OSError):  # the guardian is gone, or about to go
            platform.resume(self._popen.pid)
            self._lifeline.send(order)

    def reap(self) -> None:
        self._popen.wait()

    def close(self) -> None:
        self._watching.cancel()
        for end in (self._socket, self._lifeline):
            trio.lowlevel.notify_closing(end)
            end.close()
        for fd in (*self._pipes.values(), self._handle):
            if fd >= 0:
                trio.lowlevel.notify_closing(fd)
                os.close(fd)
        self._pipes.clear()


def _environment() -> dict[str, str]:
    """The daemon's, with this package importable from the start. The worker puts `PYTHONPATH` back by the setup."""
    root = package_root()
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root if not known else f"{root}{os.pathsep}{known}"}
