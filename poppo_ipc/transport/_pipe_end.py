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

from .._win32.calls import ERROR_BROKEN_PIPE, Overlapped, close_handle
from .._win32.events import Event, wait_any
from .._win32.pipes import error_of, peek, read, settle, write

__all__ = ["CHUNK_BYTES", "LINGER_SECONDS", "PipeEnd"]

CHUNK_BYTES: Final = 65536
"""Most bytes in one write: as many as the pipe's own buffer holds, and as wait here while that is full."""

LINGER_SECONDS: Final = 5.0
"""Seconds that the peer of a closed pipe has to read what waits behind it."""

# The lowest bit of an event keeps the completion of its operation from an I/O completion port.
_UNTOLD: Final = 1
_NO_BYTES: Final = bytearray(1)


class PipeEnd:
    """An end of a connected pipe, owned by this object. Failures of the pipe are OSErrors, with their `winerror`.

    Operations are remembered before they begin: the system writes to their memory, and Ctrl-C may come at any time.
    """

    _handle_open = False  # for __del__, before there is one

    def __init__(self, handle: int) -> None:
        """Takes `handle` over, also where this fails."""
        self.handle = handle
        self._waiting: Overlapped | None = None
        self._writing: Overlapped | None = None
        self._written = b""
        self._ended = False
        self._closed = False
        self._handle_open = True
        try:
            self.readable = Event()
            """Set when the operation of `begin_wait` is over, unless a completion port is told."""
            self.writable = Event()
            """Set when the write is over that `unwritten` speaks of."""
        except BaseException:
            self._close_handle()
            raise

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
            self._writing, self._written = operation, chunk
            try:
                waits = write(self.handle, chunk, operation)
            except OSError:
                # It may look pending still, and nothing will end it.
                self._writing, self._written = None, b""
                raise
            if not waits:
                self._writing, self._written = None, b""
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

        Once it is over, a completion port is `told`, if it did not fail at once: None then. Else it sets `readable`,
        and one that is under way already is returned again.
        """
        if told:
            operation = Overlapped()
        elif self._waiting is not None and self._waiting.pending:
            return self._waiting
        else:
            operation = self._untold(self.readable)
        self._waiting = operation
        try:
            read(self.handle, _NO_BYTES, 0, operation)
        except OSError:
            self._waiting = None  # it may look pending still
            return None  # pull() says why
        return operation

    def close(self) -> None:
        """Close this end, and give up the operation of `begin_wait`. Idempotent.

        Where a write still waits for room, a thread closes it once the peer has made that: not every system lets the
        peer read it afterwards. That ends with this process, after `LINGER_SECONDS`, and, unless the handle belongs to
        a completion port, with the thread that wrote: Windows gives up what a thread began when that ends.
        """
        if self._closed:
            return
        self._closed = True
        if self._writing is not None and self._writing.pending:
            self._settle(self._waiting)
            thread = threading.Thread(target=self._linger, name="poppo_ipc closes a pipe", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # There are no more threads to be had, or the interpreter ends: then the write cannot be waited for.
                self._give_up()
        else:
            self._give_up()

    def _linger(self) -> None:
        wait_any([self.writable], LINGER_SECONDS)
        self._give_up()

    def _give_up(self) -> None:
        self._settle(self._waiting)
        self._settle(self._writing)
        self._close_handle()

    def _settle(self, operation: Overlapped | None) -> None:
        if operation is not None and operation.pending:
            settle(self.handle, operation)

    def _close_handle(self) -> None:
        # In this order: closed twice, the number may be another's by then.
        self._handle_open = False
        close_handle(self.handle)

    def __del__(self) -> None:
        # Nobody waits for a forgotten end, but the system would still write to the memory of its operations. A thread
        # that lingers has not forgotten it; a close() that Ctrl-C cut short has.
        if self._handle_open:
            self._give_up()

    @staticmethod
    def _untold(event: Event) -> Overlapped:
        operation = Overlapped()
        operation.hEvent = event.handle | _UNTOLD
        return operation
