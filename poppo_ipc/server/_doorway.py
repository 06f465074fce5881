"""Waiting for all clients at once, where the system has epoll.

Trio enters a socket anew for each wait, and keeps a dozen frames and books for it meanwhile. Here all sockets stand
in one epoll set of the server's own, entered once, and one task waits for that set. It wakes the tasks of those clients
that have sent something, and does nothing else: each client reads and runs its own requests, in its own nursery. So
requests of many clients cost a fifth less, and an idle client is smaller by more than a KiB.

A client that is alone in sending is better off without that detour: its task waits for its socket itself. Which it is
shows in how many others were woken between two of its own wake-ups.

The set is edge-triggered: it tells of a socket once for what has come. So who waits here has to read until a read comes
back short, or say that it did not (`Door.more_to_read`).
"""

from __future__ import annotations

import select
import sys
from contextlib import suppress
from typing import Final, Self

import trio

from poppo_ipc.server._lowlevel import Sleeper, checkpoint, notify_closing, wait_readable
from poppo_ipc.transport import Stream

__all__ = ["Door", "Doorway"]

# After so many wake-ups in a row that say so, a client goes from one way of waiting to the other: it costs two system
# calls, and should not be undone by the next request.
_SURE: Final = 8
# Wake-ups of all clients between two of one, its own included, up to which it is alone, and over which it is not.
_ALONE: Final = 1
_CROWD: Final = 2
# Sockets that one look at the set tells of.
_AT_ONCE: Final = 256


class Doorway:
    """Where the clients of a server are waited for: `with` it, and `run` it in a task meanwhile.

    `shared` off, each client waits for itself, as it does on a system without epoll.
    """

    def __init__(self, *, shared: bool = True) -> None:
        self.wakes = 0
        """Wake-ups of all clients so far."""
        self._shared = shared and sys.platform == "linux"
        self._doors: dict[int, Door] = {}

    def __enter__(self) -> Self:
        if sys.platform == "linux":
            self._epoll = select.epoll()
        return self

    def __exit__(self, *_: object) -> None:
        if sys.platform == "linux":
            self._epoll.close()

    def open(self, stream: Stream) -> Door:
        """A door for one more client. Close it before the stream."""
        fd = stream.fileno() if self._shared else None
        return Door(self, stream, -1 if fd is None else fd)

    def enter(self, door: Door, fd: int) -> bool:
        """Look out for that socket; what has come already counts too. False where the system has no room for it."""
        if sys.platform == "linux":
            with suppress(OSError):
                self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
                self._doors[fd] = door
                return True
        return False

    def leave(self, fd: int) -> None:
        """Look out for that socket no longer."""
        del self._doors[fd]
        if sys.platform == "linux":
            self._epoll.unregister(fd)

    async def run(self) -> None:
        """Wake the clients that have sent something, until cancelled."""
        if sys.platform == "linux":
            ended = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
            while True:
                await wait_readable(self._epoll)
                found = self._epoll.poll(0, _AT_ONCE)
                company = len(found) > 1
                for fd, events in found:
                    self._doors[fd].knock(company=company, ended=bool(events & ended))
        else:
            await trio.sleep_forever()


class Door:
    """Where one client is waited for, by one task at a time. `fd` is -1 where it cannot be in the common set."""

    __slots__ = (
        "_alone",
        "_doorway",
        "_ended",
        "_fd",
        "_last_wake",
        "_open",
        "_ready",
        "_shared",
        "_sleeper",
        "_streak",
        "_stream",
        "company",
    )  # fmt: skip

    def __init__(self, doorway: Doorway, stream: Stream, fd: int) -> None:
        self._doorway = doorway
        self._stream = stream
        self._fd = fd
        self._sleeper = Sleeper()
        self._ready = False  # something has come since the last read came back short
        self._ended = False  # the other side sends no more: a read tells, after all that it sent
        self._last_wake = 0
        self._streak = 0
        self._alone = False  # a task waits for the socket itself
        self._open = True
        self.company = False
        """Whether others have sent something at the same moment."""
        self._shared = fd >= 0 and doorway.enter(self, fd)

    async def wait(self) -> None:
        """Wait until there may be something to read, or the end; at once after `close`. Others have a turn.

        Wakes without reason at times. Cancellation leaves nothing behind. Raises what `Stream.wait_readable` does where
        the stream has no descriptor.
        """
        if not self._open or (self._ready and self._shared):
            await checkpoint()
        elif self._shared:
            await self._sleeper.sleep()
        else:
            self.company = False
            if self._fd < 0:
                await self._stream.wait_readable()
                return
            await self._wait_alone()
        self._ready = self._ended
        if self._open:
            self._look_around()

    async def _wait_alone(self) -> None:
        # The socket itself: through the stream and anyio it is six frames more.
        self._alone = True
        try:
            await wait_readable(self._fd)
        except trio.ClosedResourceError:
            if self._open:
                raise
        finally:
            self._alone = False

    def more_to_read(self) -> None:
        """A read came back full: there may be more, and nothing else will tell."""
        self._ready = True

    def knock(self, *, company: bool, ended: bool) -> None:
        """Something has come."""
        self.company = company
        self._ready = True
        self._ended = self._ended or ended
        self._sleeper.wake()

    def close(self) -> None:
        """Wait for this client no more, and wake who does. Idempotent."""
        if self._open:
            self._open = False
            if self._shared:
                self._doorway.leave(self._fd)
                self._sleeper.wake()
            elif self._alone:
                notify_closing(self._fd)

    def _look_around(self) -> None:
        """Change to the other way of waiting, where the last wake-ups say that it is the better one."""
        doorway = self._doorway
        doorway.wakes += 1
        between = doorway.wakes - self._last_wake
        self._last_wake = doorway.wakes
        if between <= _ALONE if self._shared else between > _CROWD:
            self._streak += 1
            if self._streak >= _SURE:
                self._change()
        else:
            self._streak = 0

    def _change(self) -> None:
        self._streak = 0
        if self._shared:
            self._doorway.leave(self._fd)
            self._shared = False
        else:
            self._shared = self._doorway.enter(self, self._fd)
