"""A worker process on Unix: the fork that its guardian makes (see `_guardian`), with a socket, and signals."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what Windows lacks

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import signal
import socket
from types import FrameType
from typing import Final

import msgspec

from poppo_ipc.daemon.workers import _messages as messages
from poppo_ipc.daemon.workers._loop import Loop, Phase, read_message
from poppo_ipc.daemon.workers._platform_unix import restore_signals, sweep_children, tie_to_parent, wait_read

__all__ = ["main"]

_RECEIVE_BYTES: Final = 65536


class _UnixLoop(Loop):
    def __init__(self, fd: int, parent: int) -> None:
        os.set_inheritable(fd, False)
        self._adopts_orphans = tie_to_parent(parent)
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._buffer = bytearray()
        super().__init__()

    def set_up(self) -> None:
        restore_signals()
        self.set_handlers()

    def send(self, message: msgspec.Struct) -> None:
        self._socket.sendall(messages.frame(messages.encode(message)))

    def receive(self) -> messages.Down | None:
        return read_message(self._read, self._buffer)

    def _read(self, count: int) -> bytes:
        return self._socket.recv(max(_RECEIVE_BYTES, count))

    def begin(self) -> None:
        pass  # what a worker has not read of its socket, the daemon is told by the system

    def settle(self, fd: int) -> None:
        wait_read(fd)

    def sweep(self) -> bool:
        return sweep_children(self._adopts_orphans)

    def set_handlers(self) -> None:
        if signal.getsignal(signal.SIGTERM) != self._on_term:
            signal.signal(signal.SIGTERM, self._on_term)
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.pid or self.phase is Phase.IDLE:
            # A fork of this process by a function dies as any process would.
            self.die()
        self.stopping = True
        if self.phase is Phase.FUNCTION:
            # As Ctrl-C does: Trio and asyncio know how to end on that.
            signal.raise_signal(signal.SIGINT)

    def identity(self) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = []
        for fd in (1, 2):
            try:
                status = os.fstat(fd)
                found.append((status.st_dev, status.st_ino))
            except OSError:
                found.append(None)
        return found

    def die(self) -> None:
        """End by SIGTERM, as whoever sent it expects."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def main(fd: int, guardian: int) -> None:
    """Run this process as a worker: `fd` is its control socket, `guardian` the number of its parent."""
    _UnixLoop(fd, guardian).run()
