"""One client: its connection and the tasks that serve it, all in one nursery.

One task at a time leads: it reads, and runs each command at once in its own turn. When a handler waits, another task
takes the lead (see `_eager.py`), so that reading goes on; commands begin in the order in which they came.
"""

from __future__ import annotations

import contextvars
import logging
import math
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
import trio
from attrs import define

from poppo_ipc.commands import Principal
from poppo_ipc.protocol import SUBSCRIBE, Cancel, Command, Credit, Ping, Received, Refusal, ServerConnection, State
from poppo_ipc.server._dispatch import execute, is_failure
from poppo_ipc.server._eager import ParkingLot, checkpoint, run_eagerly
from poppo_ipc.server._fanout import Subscription, encode_event
from poppo_ipc.server._handshake import authenticate
from poppo_ipc.server._idle import watch_idle
from poppo_ipc.server._outbox import EventFrame, Frame, Outbox, Overflowed
from poppo_ipc.server._request import Request
from poppo_ipc.server._running import Running
from poppo_ipc.server._timers import Timer
from poppo_ipc.server._writer import Writer
from poppo_ipc.transport import PeerCredentials, Stream

if TYPE_CHECKING:
    from poppo_ipc.server._server import Server

__all__ = ["Counters", "Session"]

logger = logging.getLogger("poppo_ipc.server")

_READ_BYTES: Final = 64 * 1024
# Commands that one task runs without ever waiting before it lets the others have a turn.
_TURN: Final = 64
# Tasks of a client that are kept for the next handlers that wait, as many as it may have running at the most: to make
# one anew for each took a quarter of the time of a stored submit. They go with the client.
_BENCH: Final = 256


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
        self.outbox = Outbox(limits.outbox_bytes, limits.overflow, self._tell_loss)
        self.running = Running(self)
        self.subscriptions: dict[str, Subscription] = {}
        self.over = False
        self.ended = trio.Event()
        self._nursery: trio.Nursery
        self.writer: Writer
        self._inbox: deque[Command] = deque()
        self._inbox_empty: trio.Event | None = None
        self._unstarted: Request | None = None
        self._auth_timer: Timer | None = None
        self._bench = ParkingLot()
        self._bench_size = min(_BENCH, limits.running_per_client)
        self._turn = 0
        self._taken = 0
        self._starting: Request | None = None
        self._refused = False

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

        Cancelled, it is closed at once, without a word.
        """
        try:
            async with trio.open_nursery() as self._nursery:
                self.writer = Writer(
                    self.stream, self.outbox, self._nursery, self.server.limits.stall_seconds, self.disconnect
                )
                self._open()
                await self._work()
        finally:
            self._detach()
            self.running.abandon()
            await self._close_stream()

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
            self._detach()
            self._nursery.start_soon(self._close_stream)

    async def _close_stream(self) -> None:
        with trio.move_on_after(self.server.limits.flush_seconds, shield=True):
            # Wakes whoever reads or writes.
            await self.stream.aclose()

    def _detach(self) -> None:
        """The connection has gone: cancel what runs for it, except what was begun with a key."""
        if self.over:
            return
        self.over = True
        self.connection.closed()
        self.writer.stop()
        self._end_auth_time()
        self._end_events()
        self._inbox.clear()
        self._tell_inbox_empty()
        self.running.client_gone()
        self._bench.unpark_all()
        self.ended.set()

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
            await self.ended.wait()
        self.disconnect("the server is done with it")

    async def _say_no_more(self) -> None:
        self.connection.end()
        self._end_events()
        while self._inbox and not self.over:
            if self._inbox_empty is None:
                self._inbox_empty = trio.Event()
            await self._inbox_empty.wait()
        await self.writer.end()

    def _tell_inbox_empty(self) -> None:
        if self._inbox_empty is not None:
            self._inbox_empty.set()
            self._inbox_empty = None

    # -- the tasks ----------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Lead while this task may; then wait on the bench for the lead to come round."""
        try:
            while await self._lead():
                if self.over or len(self._bench) >= self._bench_size:
                    return
                await self._bench.park()
                if self.over:
                    return
        except BaseException:
            # The nursery ends with this task: from now on nothing may be started in it.
            self._detach()
            raise

    def _hand_over(self) -> None:
        """The handler that this task runs has to wait: let another task lead."""
        if self._starting is not None and self._starting.deadline != math.inf:
            self.running.arm(self._starting)
        self._turn += 1
        self.flush()
        if self._bench:
            self._bench.unpark()
        else:
            self._nursery.start_soon(self._work)

    async def _lead(self) -> bool:
        """Read and run commands; True when the lead has gone to another task, False at the end of the connection.

        One cancel scope serves all the commands that this task runs, as long as none of them is cancelled.
        """
        while True:
            request: Request | None = None
            turn = self._turn
            try:
                with trio.CancelScope() as scope:
                    while not scope.cancel_called:
                        request = None
                        request = await self._next()
                        if self.over:
                            return False
                        if request is not None:
                            request.scope = scope
                            await self._run(request)
                            if turn != self._turn:
                                break
            except BaseException as error:
                # What is left of a cancelled handler's exceptions once the scope has taken its own.
                if request is None or request.reason is None or not is_failure(error):
                    raise
                self.running.settle(request, error=error)
            if request is not None and not request.done:
                self.running.settle(request, error=request.reason)
            if turn != self._turn:
                self._flush_soon()
                return True

    async def _next(self) -> Request | None:
        """The next request that has to be run; None where there was one that is answered already, or the end."""
        if not self._inbox:
            await self._read()
        elif self.outbox.full:
            await self.writer.room()
        elif self._taken >= _TURN:
            self._taken = 0
            self.flush()
            await checkpoint()
        while self._unstarted:
            await checkpoint()
        if self.over or not self._inbox:
            return None
        self._taken += 1
        request = self.running.begin(self._inbox.popleft())
        if request is None or self.server.eager:
            return request
        # The next one waits until it has begun: commands begin in the order in which they came.
        self._unstarted = request
        self._nursery.start_soon(self._run_alone)
        return None

    async def _run(self, request: Request) -> None:
        self._starting = request
        try:
            result = await run_eagerly(execute(request), contextvars.copy_context(), self._hand_over)
        except BaseException as error:
            if not is_failure(error):
                raise
            self.running.settle(request, error=error)
        else:
            self.running.settle(request, result=result)

    async def _run_alone(self) -> None:
        """A task for one command: how all are run where the fast path is off."""
        assert self._unstarted is not None
        request, self._unstarted = self._unstarted, None
        if request.deadline != math.inf:
            self.running.arm(request)
        try:
            with trio.CancelScope() as request.scope:
                if request.reason is None:
                    self.running.settle(request, result=await execute(request))
        except BaseException as error:
            if (request.done and request.reason is None) or not is_failure(error):
                raise
            self.running.settle(request, error=error)
        if not request.done:
            self.running.settle(request, error=request.reason)
        self._flush_soon()

    # -- reading ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Wait for bytes, and take in what they hold. At the end of the connection `over` is set."""
        self._taken = 0
        self._tell_inbox_empty()
        self.flush()
        if self.outbox.full:
            await self.writer.room()
        try:
            await self.stream.wait_readable()
            data = self.stream.receive_nowait(_READ_BYTES)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            data = b""
        if data is None or self.over:
            return
        if not data:
            self.connection.receive_eof()
            self._detach()
            # Now, and not when the last of its commands has ended.
            await self._close_stream()
            return
        self.last_heard = trio.current_time()
        self.counters.bytes_in += len(data)
        await self._take_in(self.connection.receive_data(data))

    async def _take_in(self, batch: list[Received]) -> None:
        while batch:
            for received in batch:
                if self.over:
                    return
                if type(received) is Command:
                    self._inbox.append(received)
                else:
                    self._take_in_other(received)
            batch = []
            if self.connection.paused and not self.over:
                batch = await authenticate(self)

    def _take_in_other(self, received: Received) -> None:
        match received:
            case Refusal():
                self.refuse(received)
            case Ping():
                self.outbox.put_first(self.connection.pong(received))
                self.flush()
            case Cancel():
                self.running.cancel(received.id, self._inbox)
            case Credit():
                self.running.credit(received.id, received.credit, self._inbox)

    def refuse(self, refusal: Refusal) -> None:
        """Tell the client what it should not have sent, and end the connection where that is fatal."""
        if refusal.reply is not None:
            self.outbox.put(refusal.reply)
        if refusal.fatal:
            logger.info("Session %s is refused: %s", self.id, refusal.error, extra={"session": self.id})
            self.end_soon()
        self.flush()

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

    def _flush_soon(self) -> None:
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
        """Queue an event, or do what the policy says where it does not fit."""
        if self.over:
            return
        try:
            self.outbox.put_event(event)
        except Overflowed:
            self.disconnect("its outbox is full")
            return
        self.counters.events += 1
        self.server.fanout.flush_soon(self)

    def _tell_loss(self, dropped: int, first_seq: int | None, last_seq: int | None) -> Frame:
        data = {"dropped": dropped, "firstSeq": first_seq, "lastSeq": last_seq}
        return encode_event("ipc.events-dropped", data, self.server.limits.frame_bytes).frame
