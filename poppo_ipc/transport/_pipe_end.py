"""One end of a named pipe, free of event loops: reads and writes that never wait, and operations to wait for.

Two things keep bytes safe. What waits for bytes to come is a read of no bytes, which can take none along when it is
given up. What is written is copied into a buffer of this object's own and never given up: of a write that is, the
system does not tell how much the peer has got.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import threading
from typing import Final

from ._win32 import (
    ERROR_BROKEN_PIPE,
    Event,
    Overlapped,
    close_handle,
    error_of,
    peek,
    read,
    settle,
    wait_any,
    write,
)

__all__ = ["CHUNK_BYTES", "LINGER_SECONDS", "PipeEnd"]

CHUNK_BYTES: Final = 65536
"""Most bytes in one write: as many as the pipe's own buffer holds, and as wait here while that is full."""

LINGER_SECONDS: Final = 5.0
"""Seconds that the peer of a closed pipe has to read what waits behind it."""

# The lowest bit of an event keeps the completion of its operation from an I/O completion port.
_UNTOLD: Final = 1
_NO_BYTES: Final = bytearray(1)


class PipeEnd:
    """An end of a connected pipe, owned by this object. Failures of the pipe are OSErrors, with their `winerror`."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.readable = Event()
        """Set when the operation of `begin_wait` is over, unless a completion port is told."""
        self.writable = Event()
        """Set when the write is over that `unwritten` speaks of."""
        self._writing: Overlapped | None = None
        self._written = b""
        self._ended = False
        self._closed = False

    def pull(self, max_bytes: int) -> bytes | None:
        """What is there now, at most `max_bytes` bytes; None if nothing is, `b""` once the peer has closed."""
        if self._ended:
            return b""
        operation = self._untold(self.readable)
        try:
            there = min(peek(self.handle), max_bytes)
            if not there:
                return None
            buffer = bytearray(there)
            if read(self.handle, buffer, there, operation):
                # Never so far, since the bytes are there and nobody else reads.
                settle(self.handle, operation)
        except OSError as error:
            if error.winerror != ERROR_BROKEN_PIPE:
                raise
            self._ended = True
            return b""
        got = operation.InternalHigh
        return bytes(buffer if got == there else buffer[:got]) or None

    def push(self, data: bytes | bytearray | memoryview) -> int:
        """Take over as much of `data` as there is room for: what the pipe's buffer takes, and one write behind that."""
        taken = 0
        while taken < len(data) and not self.unwritten():
            chunk = bytes(data[taken : taken + CHUNK_BYTES])
            operation = self._untold(self.writable)
            if write(self.handle, chunk, operation):
                self._writing, self._written = operation, chunk
            taken += len(chunk)
        return taken

    def unwritten(self) -> bool:
        """Whether bytes that were taken over still wait for room in the pipe. Raises why they never will get it."""
        operation = self._writing
        if operation is None:
            return False
        if operation.pending:
            return True
        self._writing, self._written = None, b""
        if error := error_of(operation):
            raise ctypes.WinError(error)
        return False

    def begin_wait(self, *, told: bool) -> Overlapped | None:
        """Begin an operation that is over once `pull` would not return None; at once where that is so now.

        Once it is over, a completion port is `told`, if it did not fail at once: None then. Else it sets `readable`.
        """
        operation = Overlapped() if told else self._untold(self.readable)
        try:
            read(self.handle, _NO_BYTES, 0, operation)
        except OSError:
            return None  # pull() says why
        return operation

    def close(self, waiting: Overlapped | None = None) -> None:
        """Close this end, and give up `waiting`. Idempotent.

        Where a write still waits for room, a thread closes it once the peer has made that: not every system lets the
        peer read it afterwards. That ends with this process, and after `LINGER_SECONDS`.
        """
        if self._closed:
            return
        self._closed = True
        if waiting is not None and waiting.pending:
            settle(self.handle, waiting)
        if self._writing is not None and self._writing.pending:
            threading.Thread(target=self._linger, name="poppo_ipc closes a pipe", daemon=True).start()
        else:
            self._close_handle()

    def _linger(self) -> None:
        wait_any([self.writable], LINGER_SECONDS)
        self._give_up()

    def _give_up(self) -> None:
        if self._writing is not None and self._writing.pending:
            settle(self.handle, self._writing)
        self._close_handle()

    def _close_handle(self) -> None:
        close_handle(self.handle)

    def __del__(self) -> None:
        # Nobody waits for a forgotten end, but the system would still write to the memory of its operation.
        if not self._closed:
            self._closed = True
            self._give_up()

    @staticmethod
    def _untold(event: Event) -> Overlapped:
        operation = Overlapped()
        operation.hEvent = event.handle | _UNTOLD
        return operation
