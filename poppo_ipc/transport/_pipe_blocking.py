"""Named pipes without an event loop, for the synchronous client."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import time
from collections.abc import Collection
from typing import Final, Self

from .._win32.events import Event, wait_any
from .._win32.pipes import flush
from ._address import Address
from ._borders import too_busy
from ._peer import PeerCredentials
from ._pipe_end import PipeEnd
from ._pipe_open import open_end, trusted_server
from ._pipe_rules import busy_waits

__all__ = ["BlockingPipe", "connect_pipe_blocking"]

# Ctrl-C is dealt with between two waits, never within one: no longer than a person takes for at once.
_SLICE: Final = 0.05


class BlockingPipe:
    """A client's end of a pipe with the calls of a blocking socket. Not inherited by children; for one thread.

    Methods raise what those of `socket.socket` do: OSError, TimeoutError, and BlockingIOError when they may not wait.
    """

    def __init__(self, end: PipeEnd, peer: PeerCredentials) -> None:
        self.peer = peer
        """The process at the other end."""
        self._end = end
        self._timeout: float | None = None
        self._closed = False

    def setblocking(self, flag: bool, /) -> None:
        """Whether `recv` and `send` wait."""
        self._timeout = None if flag else 0.0

    def settimeout(self, value: float | None, /) -> None:
        """How many seconds `recv`, `send` and `sendall` wait until they raise TimeoutError; None: for ever."""
        self._timeout = value

    def gettimeout(self) -> float | None:
        """What was set; 0 where nothing waits."""
        return self._timeout

    def recv(self, bufsize: int, /) -> bytes:
        """At least one byte and at most `bufsize`; `b""` once the server has closed."""
        deadline = self._deadline()
        while True:
            self._check_open()
            data = self._end.pull(bufsize)
            if data is not None:
                return data
            self._wait_until(deadline, writing=False)

    def send(self, data: bytes | bytearray | memoryview, /) -> int:
        """Hand over a part of `data`; how many bytes that was."""
        deadline = self._deadline()
        while True:
            self._check_open()
            sent = self._end.push(data)
            if sent or not data:
                return sent
            self._wait_until(deadline, writing=True)

    def sendall(self, data: bytes | bytearray | memoryview, /) -> None:
        """Hand over all of `data`. Raised in the middle, an error leaves open how much was sent."""
        view = memoryview(data).cast("B")
        deadline = self._deadline()
        while view:
            self._check_open()
            sent = self._end.push(view)
            view = view[sent:]
            if view and not sent:
                self._wait_until(deadline, writing=True)

    def wait(self, writing: bool, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds until something can be read, or written where `writing`. Ctrl-C ends it."""
        return self._wait(True, writing, timeout)

    def unsent(self) -> bool:
        """Whether bytes that were handed over have not reached the system yet. Raises OSError if they never will."""
        return not self._closed and self._end.unwritten()

    def flush(self) -> None:
        """Wait, for ever if need be, until the server has read all that was sent, or has gone. From any thread."""
        self._check_open()
        flush(self._end.handle)

    def close(self) -> None:
        """Close. Idempotent. What was sent still arrives.

        The last 64 KiB of it do only if the server makes room for them within 5 s, and as long as this process lives
        and the thread that sent them: Windows gives up what a thread began when that ends.
        """
        if not self._closed:
            self._closed = True
            self._end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise OSError("The connection is closed")

    def _deadline(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _wait_until(self, deadline: float | None, *, writing: bool) -> None:
        if self._timeout == 0.0:
            raise BlockingIOError
        left = None if deadline is None else deadline - time.monotonic()
        if (left is not None and left <= 0) or not self._wait(not writing, writing, left):
            raise TimeoutError("timed out")

    def _wait(self, reading: bool, writing: bool, timeout: float | None) -> bool:
        self._check_open()
        events = []
        if reading:
            coming = self._end.begin_wait(told=False)
            if coming is None or not coming.pending:
                return True
            events.append(self._end.readable)
        if writing:
            try:
                if not self._end.unwritten():
                    return True
            except OSError:
                return True  # send() says so
            events.append(self._end.writable)
        return _wait_in_slices(events, timeout)


def _wait_in_slices(events: list[Event], timeout: float | None) -> bool:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _SLICE if deadline is None else deadline - time.monotonic()
        if wait_any(events, min(_SLICE, max(0.0, left))) is not None:
            return True
        if deadline is not None and left <= _SLICE:
            return False


def connect_pipe_blocking(
    address: Address, deadline: float | None, trusted_uids: Collection[int | str] | None
) -> BlockingPipe:
    """`connect_blocking` for named pipes, until `deadline` by `time.monotonic`."""
    waits = busy_waits()
    while (end := open_end(address)) is None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise too_busy(address)
        wait = next(waits)
        time.sleep(wait if left is None else min(wait, left))
    try:
        return BlockingPipe(end, trusted_server(end.handle, address, trusted_uids))
    except BaseException:
        end.close()
        raise
