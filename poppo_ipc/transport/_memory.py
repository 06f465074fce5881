"""Streams and listeners within one event loop, for tests and for parts of one program."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import anyio
from anyio import BrokenResourceError, ClosedResourceError, ResourceGuard
from anyio.lowlevel import RunVar, checkpoint

from ..errors import AddressInUse, ConnectFailed
from ._address import Address, AddressKind
from ._contract import Listener, Stream
from ._peer import own_credentials
from ._polled import PolledStream

__all__ = ["PIPE_BYTES", "MemoryListener", "MemoryStream", "connect_memory", "listen_memory", "memory_pair"]

PIPE_BYTES = 65536
"""Bytes on their way in one direction before a sender waits: what a Linux pipe holds."""


class _Signal:
    """Wakes the task that waits, if one does. There is at most one: the stream's guards see to that."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    async def wait(self) -> None:
        event = self._event = anyio.Event()
        try:
            await event.wait()
        finally:
            self._event = None

    def wake(self) -> None:
        if self._event is not None:
            self._event.set()


class _Pipe:
    """One direction: bytes in order, a bound on them, and two ends that close on their own."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.writer_gone = False
        self.reader_gone = False
        self.readable = _Signal()
        self.writable = _Signal()

    @property
    def room(self) -> int:
        return self.capacity - len(self.data)

    def close_writer(self) -> None:
        self.writer_gone = True
        self.readable.wake()
        self.writable.wake()

    def close_reader(self) -> None:
        self.reader_gone = True
        self.readable.wake()
        self.writable.wake()


class MemoryStream(PolledStream):
    """One end of two pipes. Its peer is this very process."""

    def __init__(self, address: Address, incoming: _Pipe, outgoing: _Pipe) -> None:
        super().__init__(address, own_credentials())
        self._in = incoming
        self._out = outgoing

    def _pull(self, max_bytes: int) -> bytes | None:
        if not self._in.data:
            return b"" if self._in.writer_gone else None
        data = bytes(self._in.data[:max_bytes])
        del self._in.data[:max_bytes]
        self._in.writable.wake()
        return data

    def _push(self, data: bytes | bytearray | memoryview) -> int:
        if self._out.reader_gone:
            raise BrokenResourceError
        taken = data[: max(self._out.room, 0)]
        self._out.data += taken
        if taken:
            self._out.readable.wake()
        return len(taken)

    async def _until_readable(self) -> None:
        if self._in.data or self._in.writer_gone:
            await checkpoint()
            return
        await self._in.readable.wait()
        self._check_open()

    async def _until_writable(self) -> None:
        if self._out.room > 0 or self._out.reader_gone:
            await checkpoint()
            return
        await self._out.writable.wait()
        self._check_open()

    def _finish(self) -> None:
        self._out.close_writer()

    def _shut(self) -> None:
        self._out.close_writer()
        self._in.close_reader()


def memory_pair(capacity: int = PIPE_BYTES, address: Address | None = None) -> tuple[Stream, Stream]:
    """Two streams, each the other's peer, in the event loop that runs.

    Args:
        capacity: bytes that may be on their way in one direction before a sender waits, at least 1.
        address: what both streams give as theirs; `memory:pair` by default.

    Raises ValueError if `capacity` is under 1.
    """
    if capacity < 1:
        raise ValueError("capacity must be at least 1")
    return _pair(capacity, Address(AddressKind.MEMORY, "pair") if address is None else address)


def _pair(capacity: int, address: Address) -> tuple[MemoryStream, MemoryStream]:
    there, back = _Pipe(capacity), _Pipe(capacity)
    return MemoryStream(address, back, there), MemoryStream(address, there, back)


class MemoryListener(Listener):
    """A name in the register of the running event loop."""

    def __init__(self, address: Address, backlog: int) -> None:
        self._address = address
        self._backlog = max(backlog, 1)
        self._queue: deque[MemoryStream] = deque()
        self._arrived = _Signal()
        self._room = anyio.Event()
        self._accepting = ResourceGuard("accepting from")
        self._closed = False

    @property
    def address(self) -> Address:
        return self._address

    async def accept(self) -> Stream:
        with self._accepting:
            await checkpoint()
            while not self._closed:
                if self._queue:
                    # No await from here on: a cancellation would lose the client.
                    self._wake_connectors()
                    return self._queue.popleft()
                await self._arrived.wait()
            raise ClosedResourceError

    async def dial(self) -> Stream:
        """The client's end of a new connection; waits while the queue is full. ConnectFailed once closed."""
        while not self._closed:
            if len(self._queue) < self._backlog:
                ours, theirs = _pair(PIPE_BYTES, self._address)
                self._queue.append(theirs)
                self._arrived.wake()
                return ours
            await self._room.wait()
        raise _nobody(self._address)

    def still_bound(self) -> bool:
        return not self._closed

    def heal(self) -> bool:
        if self._closed:
            raise ClosedResourceError
        return False

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            del _register()[self._address.name]
            self._arrived.wake()
            self._wake_connectors()
            while self._queue:
                self._queue.pop().close_nowait()
        await checkpoint()

    def _wake_connectors(self) -> None:
        self._room.set()
        self._room = anyio.Event()


_listeners: RunVar[dict[str, MemoryListener]] = RunVar("poppo_ipc memory listeners")


def _register() -> dict[str, MemoryListener]:
    try:
        return _listeners.get()
    except LookupError:
        fresh: dict[str, MemoryListener] = {}
        _listeners.set(fresh)
        return fresh


def _nobody(address: Address) -> ConnectFailed:
    return ConnectFailed(
        f"Nothing listens at {address} in this event loop",
        remedy="start it there first",
        reason=ConnectFailed.Reason.ABSENT,
    )


async def connect_memory(address: Address, trusted_uids: Collection[int | str] | None) -> Stream:
    """`connect` within one event loop."""
    await checkpoint()
    listener = _register().get(address.name)
    if listener is None:
        raise _nobody(address)
    # The peer is this very process: whom else it trusts does not matter.
    return await listener.dial()


async def listen_memory(address: Address, backlog: int) -> Listener:
    """`listen` within one event loop."""
    await checkpoint()
    register = _register()
    if address.name in register:
        raise AddressInUse(f"This event loop listens at {address} already", pid=own_credentials().pid)
    listener = register[address.name] = MemoryListener(address, backlog)
    return listener
