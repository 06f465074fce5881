"""One client, from welcome to its end: its connection, what is queued for it, and the nursery of all its tasks."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio
from attrs import define

from poppo_ipc.commands import Principal
from poppo_ipc.protocol import SUBSCRIBE, ServerConnection, State
from poppo_ipc.server._doorway import Door
from poppo_ipc.server._fanout import Subscription, encode_event
from poppo_ipc.server._idle import watch_idle
from poppo_ipc.server._lead import Lead
from poppo_ipc.server._outbox import Batch, EventFrame, Outbox, Overflowed
from poppo_ipc.server._running import Running
from poppo_ipc.server._timers import Timer
from poppo_ipc.server._writer import Writer
from poppo_ipc.transport import PeerCredentials, Stream

if TYPE_CHECKING:
    from poppo_ipc.server._server import Server

__all__ = ["Counters", "Session"]

logger = logging.getLogger("poppo_ipc.server")


@define(eq=False)
class Counters:
    """What a session has done so far."""

    commands: int = 0
    """Commands that it sent."""
    errors: int = 0
    """Of these, those answered with an error."""
    events: int = 0
    """Events queued for it."""
    bytes_in: int = 0
    """Bytes that came from it."""


class Session:
    """One client's connection. `server` is whose client it is."""

    def __init__(self, server: Server, stream: Stream, session_id: str) -> None:
        limits = server.limits
        self.server = server
        self.stream = stream
        self.id = session_id
        self.since = self.last_heard = trio.current_time()
        self.watched = limits.idle_seconds < math.inf
        self.principal = server.anonymous(stream.peer)
        self.counters = Counters()
        self.connection = ServerConnection(
            auth_required=server.auth is not None,
            auth_tries=limits.auth_tries,
            capabilities=server.capabilities,
            name=server.name,
            version=server.version,
            frame_bytes=limits.frame_bytes,
            unauthenticated_frame_bytes=limits.unauthenticated_frame_bytes,
            nesting=limits.nesting,
            bad_messages=limits.bad_messages,
        )
        self.outbox = Outbox(
            limits.outbox_bytes, limits.overflow, self._tell_loss, server.fanout.coming, self._catch_up
        )
        self.running = Running(self)
        self.subscriptions: dict[str, Subscription] = {}
        self.over = False
        self.writer: Writer
        self.door: Door
        self._nursery: trio.Nursery
        self._lead: Lead
        self._ended: trio.Event | None = None
        self._auth_timer: Timer | None = None
        self._refused = False
        self._closed = False

    @property
    def peer(self) -> PeerCredentials | None:
        """The client's process, as the kernel tells it."""
        return self.stream.peer

    @property
    def ending(self) -> bool:
        """Whether the connection is over, or the server says no more on it than what is queued."""
        return self.over or self.connection.state is State.CLOSING

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the client to its end, and the commands with an idempotency key that outlive it.

        Cancelled, it is closed at once, without a word. What else is raised is logged, and ends this client alone.
        """
        try:
            async with trio.open_nursery() as self._nursery:
                self.writer = Writer(
                    self.stream, self.outbox, self._nursery, self.server.limits.stall_seconds, self.disconnect
                )
                self._lead = Lead(self, self._nursery)
                self.door = self.server.doorway.open(self.stream)
                self.server.remember(self)
                self._open()
                await self._lead.work()
        except* Exception:
            # In a group with Cancelled, too: that goes on, and what is an error ends here.
            logger.exception("Session %s crashed", self.id, extra={"session": self.id})
        finally:
            self.detach()
            self.running.abandon()
            try:
                await self.close_stream()
            finally:
                self.server.forget(self)

    def _open(self) -> None:
        self.outbox.put(self.connection.welcome())
        if self.connection.auth_required:
            self._auth_timer = self.server.timers.after(self.server.limits.auth_seconds, self._auth_time_is_up)
        else:
            self.server.fanout.add_broadcast(self)
        watch_idle(self)
        # Last, as it may find that the client has gone.
        self.flush()

    def _auth_time_is_up(self) -> None:
        self.disconnect("it did not authenticate in time")

    def _end_auth_time(self) -> None:
        if self._auth_timer is not None:
            self._auth_timer.cancel()
            self._auth_timer = None

    def welcome_in(self, principal: Principal) -> None:
        """The client is authenticated: events flow."""
        self._end_auth_time()
        self.principal = principal
        if SUBSCRIBE in self.connection.capabilities:
            self.server.fanout.remove_broadcast(self)
        else:
            self.server.fanout.add_broadcast(self)

    def disconnect(self, reason: str) -> None:
        """End the connection now. Safe to call from anywhere, any number of times."""
        if not self.over:
            logger.info("Session %s is disconnected: %s", self.id, reason, extra={"session": self.id})
            self.detach()
            self._nursery.start_soon(self.close_stream)

    def gone(self) -> None:
        """The client has ended the connection, or it broke."""
        if not self.over:
            self.connection.receive_eof()
            self.detach()

    async def close_stream(self) -> None:
        """Close the connection, within `flush_seconds`. Shielded from cancellation. Once closed, it does nothing."""
        if not self._closed:
            with trio.move_on_after(self.server.limits.flush_seconds, shield=True):
                # Wakes whoever reads or writes.
                await self.stream.aclose()
            self._closed = True

    def detach(self) -> None:
        """The connection has gone: cancel what runs for it, except what was begun with a key. Does not close it."""
        if self.over:
            return
        self.over = True
        self.connection.closed()
        self.door.close()
        self.writer.stop()
        self._end_auth_time()
        self._end_events()
        self._lead.stop()
        self.running.client_gone()
        if self._ended is not None:
            self._ended.set()

    def _end_events(self) -> None:
        self.server.fanout.forget(self, self.subscriptions.values())
        self.subscriptions.clear()

    async def finish(self) -> None:
        """Say no more after what is queued, and wait until the client has read it and gone, or the time is up.

        Takes `flush_seconds` at most. What the client still sends is read and thrown away: closing over unread input
        would reset the connection under what it has yet to read.
        """
        with trio.move_on_after(self.server.limits.flush_seconds):
            await self._say_no_more()
            # Where the client cannot be told, all that is left is to close, over which it still reads what was sent.
            if self.stream.half_closes and not self.over:
                self._ended = self._ended or trio.Event()
                await self._ended.wait()
        self.disconnect("the server is done with it")

    async def _say_no_more(self) -> None:
        self.connection.end()
        self._end_events()
        await self._lead.until_all_begun()
        await self.writer.end()

    def end_soon(self) -> None:
        """End the connection once what is queued has gone out, and what was asked before and needs no waiting."""
        if not self._refused and not self.over:
            self._refused = True
            self._end_events()
            self._nursery.start_soon(self.finish)

    # -- writing ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what is queued, as far as that goes without waiting; a task sees to the rest."""
        if not self.over:
            self.writer.flush()

    def flush_soon(self) -> None:
        """An answer is ready: the last one out goes at once, others wait a tick for company."""
        if self.running:
            self.server.fanout.flush_soon(self)
        else:
            self.flush()

    def ping(self) -> None:
        """Ask the client whether it is there: its pong counts as being heard."""
        self.outbox.put_first(self.connection.ping(f"ping-{self.id}"))
        self.flush()

    @property
    def hears_events(self) -> bool:
        """Whether the client is far enough to be sent an event."""
        return self.connection.state is State.READY

    def deliver(self, event: EventFrame) -> None:
        """Queue an event of this client's own, or do what the policy says where it does not fit."""
        if self.over:
            return
        self.counters.events += 1
        try:
            self.outbox.put_event(event)
        except Overflowed:
            self.disconnect("its outbox is full")
            return
        self._flush_events()

    def write_events(self, batch: Batch) -> None:
        """Send events at once if nothing else waits, or queue them and have them flushed."""
        if self.over:
            return
        self.counters.events += len(batch.events)
        left = self.writer.write_past(batch)
        if left:
            self._queue_events(left, len(batch.data) if left is batch.events else sum(len(each.frame) for each in left))

    def write_event(self, batch: Batch) -> None:
        """The same for a lone event, which waits for the answer where one is due: they leave together."""
        if self.running:
            self.queue_events(batch)
        else:
            self.write_events(batch)

    def queue_events(self, batch: Batch) -> None:
        """Queue events and have them flushed, or do what the policy says where they do not fit."""
        if not self.over:
            self.counters.events += len(batch.events)
            self._queue_events(batch.events, len(batch.data))

    def _queue_events(self, events: Sequence[EventFrame], size: int) -> None:
        try:
            self.outbox.put_events(events, size)
        except Overflowed:
            self.disconnect("its outbox is full")
            return
        self._flush_events()

    def _flush_events(self) -> None:
        if self.writer.blocked:
            # What is queued goes out behind what is left over; a task sees to it.
            self.writer.flush()
        else:
            self.server.fanout.flush_soon(self)

    def _catch_up(self) -> None:
        self.server.fanout.catch_up(self)

    def _tell_loss(self, dropped: int, first_seq: int | None, last_seq: int | None) -> bytes:
        data = {"dropped": dropped, "firstSeq": first_seq, "lastSeq": last_seq}
        return encode_event("ipc.events-dropped", data, self.server.limits.frame_bytes).frame
