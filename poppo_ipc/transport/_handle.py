"""A socket that tasks wait for, and its safe end."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

__all__ = ["Handle"]

_Wait = Callable[[socket.socket], Awaitable[None]]


class Handle:
    """A non-blocking socket, owned by this object, that at most one task per direction waits for.

    anyio's asyncio backend keeps its books by file descriptor number. A waiter that was woken by a close but has not
    run yet would strike out the entry of a stranger that got the same number in between, and that stranger would
    sleep for ever. So the number is given back only when the last waiter has left.
    """

    __slots__ = ("_closed", "_waiters", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._waiters = 0
        self._closed = False

    def readable(self) -> Awaitable[None]:
        """Wait until a read would not block. Raises ClosedResourceError once closed."""
        return self._wait(anyio.wait_readable)

    def writable(self) -> Awaitable[None]:
        """Wait until a write would not block. Raises ClosedResourceError once closed."""
        return self._wait(anyio.wait_writable)

    def close(self) -> None:
        """Close the socket and wake its waiters with ClosedResourceError. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._waiters:
            # The peer is told now, whenever the waiters come to run.
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
            anyio.notify_closing(self.sock)
        self._close_if_left()

    async def _wait(self, wait: _Wait) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        self._waiters += 1
        try:
            await wait(self.sock)
        finally:
            self._waiters -= 1
            self._close_if_left()

    def _close_if_left(self) -> None:
        if self._closed and not self._waiters:
            self.sock.close()
