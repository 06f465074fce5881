"""The wire of a fake daemon: streams that read along, and do to single frames what the fault plan says."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.lowlevel
import msgspec
import trio

from poppo_ipc.protocol import FrameDecoder, frame
from poppo_ipc.testing._book import Book
from poppo_ipc.testing._faults import Cut, FaultPlan
from poppo_ipc.testing._schemas import BUILT_IN
from poppo_ipc.transport import Address, Listener, PeerCredentials, Stream, accept_retrying
from poppo_ipc.transport._polled import PolledStream

__all__ = ["TappedListener", "TappedStream"]

logger = logging.getLogger("poppo_ipc.testing")

_MAX_BYTES: Final = 2**32 - 1


class _Head(msgspec.Struct):
    """As much of a message as is needed to know it."""

    type: str = ""
    id: Any = None
    command: Any = None
    args: Any = None


_head: Final = msgspec.json.Decoder(_Head)


class TappedListener(Listener):
    """A listener whose streams are tapped; `inner` stays its owner's to close."""

    def __init__(self, inner: Listener, book: Book, plan: FaultPlan, nursery: trio.Nursery) -> None:
        self.streams: set[TappedStream] = set()
        self._inner = inner
        self._book = book
        self._plan = plan
        self._nursery = nursery

    @property
    def address(self) -> Address:
        return self._inner.address

    async def accept(self) -> Stream:
        inner = await accept_retrying(self._inner)
        assert isinstance(inner, PolledStream)
        stream = TappedStream(inner, self._book, self._plan, self._nursery, self.streams.discard)
        self.streams.add(stream)
        return stream

    def still_bound(self) -> bool:
        return self._inner.still_bound()

    def heal(self) -> bool:
        return self._inner.heal()

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()


class TappedStream(Stream):
    """The server's end of one connection.

    What the server sends is taken whole and passed on frame by frame; what does not go out at once goes from a task of
    its own, so that the server need not know.
    """

    def __init__(
        self,
        inner: PolledStream,
        book: Book,
        plan: FaultPlan,
        nursery: trio.Nursery,
        on_closed: Callable[[TappedStream], None],
    ) -> None:
        self._inner = inner
        self._book = book
        self._plan = plan
        self._nursery = nursery
        self._on_closed = on_closed
        self._asked: dict[str, tuple[str, Any]] = {}
        self._subscribed = False
        self._incoming = FrameDecoder()
        self._outgoing = FrameDecoder()
        self._rest = bytearray()
        self._close_after_rest = False
        self._pumping = False
        self._pumped = trio.Event()
        self._dropped = False

    @property
    def peer(self) -> PeerCredentials:
        return self._inner.peer

    @property
    def address(self) -> Address:
        return self._inner.address

    @property
    def half_closes(self) -> bool:
        return self._inner.half_closes

    # -- receiving ------------------------------------------------------------------------------------------------

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._inner.receive(max_bytes)
        self._hear(data)
        return data

    def receive_nowait(self, max_bytes: int = 65536) -> bytes | None:
        data = self._inner.receive_nowait(max_bytes)
        if data:
            self._hear(data)
        return data

    async def wait_readable(self) -> None:
        await self._inner.wait_readable()

    def _hear(self, data: bytes) -> None:
        self._incoming.feed(data)
        for payload in self._incoming.drain(_MAX_BYTES):
            head = _read(payload)
            if head is None or head.type != "command" or not isinstance(head.command, str):
                continue
            args = head.args if isinstance(head.args, dict) else {}
            self._asked[str(head.id)] = (head.command, args)
            if head.command not in BUILT_IN and head.command not in self._book.schemas.commands:
                self._book.unknown(head.command, args)

    # -- sending --------------------------------------------------------------------------------------------------

    async def send(self, item: bytes | bytearray | memoryview) -> None:
        await anyio.lowlevel.checkpoint()
        while not self.send_nowait(item):
            await self.wait_writable()

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        if self._dropped or self._close_after_rest:
            raise anyio.BrokenResourceError("the connection was dropped by a fault")
        if self._rest:
            return 0
        self._outgoing.feed(bytes(data))
        for payload in self._outgoing.drain(_MAX_BYTES):
            cut = self._cut(bytes(payload))
            self._rest += cut.data
            if cut.close:
                self._close_after_rest = True
                break
        self._push()
        return len(data)

    async def wait_writable(self) -> None:
        while self._rest and not self._dropped:
            await self._pumped.wait()
        await self._inner.wait_writable()

    async def send_eof(self) -> None:
        while self._rest and not self._dropped:
            await self._pumped.wait()
        await self._inner.send_eof()

    async def aclose(self) -> None:
        self._forget()
        await self._inner.aclose()

    def drop(self) -> None:
        """Close the connection under the server, at once."""
        self._forget()
        self._inner.close_nowait()

    def tell_loss(self, event: bytes) -> None:
        """Send a client that subscribed a frame that the server knows nothing of, behind what is on its way."""
        if self._subscribed and not self._dropped:
            self._rest += event
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it has gone
                self._push()

    def _forget(self) -> None:
        self._dropped = True
        self._rest.clear()
        self._wake()
        self._on_closed(self)

    # -- frames ---------------------------------------------------------------------------------------------------

    def _cut(self, payload: bytes) -> Cut:
        whole = frame(payload)
        head = _read(payload)
        if head is None:
            return Cut(whole)
        if head.type == "welcome":
            return self._plan.on_welcome(whole)
        if head.type not in ("response", "error") or str(head.id) not in self._asked:
            return self._plan.on_other(whole)
        command, args = self._asked.pop(str(head.id))
        if command == "events.subscribe" and head.type == "response":
            self._subscribed = True
            self._book.subscribed(tuple(map(str, args.get("events", ()))))
        return self._plan.on_reply(whole, command, built_in=command in BUILT_IN)

    def _push(self) -> None:
        """Pass on what goes out at once."""
        slow = self._plan.byte_seconds is not None
        try:
            while self._rest:
                sent = self._inner.send_nowait(self._rest[:1] if slow else self._rest)
                del self._rest[:sent]
                if slow or not sent:
                    break
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._rest.clear()
            self._wake()
            raise
        if self._rest:
            if not self._pumping:
                self._pumping = True
                self._nursery.start_soon(self._pump)
        elif self._close_after_rest:
            self.drop()
        else:
            self._wake()

    async def _pump(self) -> None:
        try:
            while self._rest:
                if self._plan.byte_seconds is None:
                    await self._inner.wait_writable()
                else:
                    await trio.sleep(self._plan.byte_seconds)
                self._push()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            logger.debug("the client has gone before it had all")
        finally:
            self._pumping = False
            self._wake()

    def _wake(self) -> None:
        self._pumped.set()
        self._pumped = trio.Event()


def _read(payload: bytes | bytearray) -> _Head | None:
    try:
        return _head.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
