"""The tasks of one client: one at a time leads, which reads what the client sends and runs its commands.

Each command begins at once, in the turn of the task that leads (see `_lowlevel.py`), in the order in which they came.
When a handler waits, its task stays with it and another takes the lead, so that reading goes on.
"""

from __future__ import annotations

import contextvars
import logging
import math
from typing import TYPE_CHECKING, Final

import anyio
import trio

from poppo_ipc.protocol import Cancel, Command, Credit, Ping, Received, Refusal
from poppo_ipc.server._dispatch import execute, is_failure
from poppo_ipc.server._handshake import authenticate
from poppo_ipc.server._lowlevel import ParkingLot, Waiting, begin, checkpoint, rest
from poppo_ipc.server._request import Request

if TYPE_CHECKING:
    from poppo_ipc.server._session import Session

__all__ = ["Lead"]

logger = logging.getLogger("poppo_ipc.server")

_READ_BYTES: Final = 64 * 1024
# Commands that one task runs without ever waiting before it lets the others have a turn.
_TURN: Final = 64
# Tasks of a client that are kept for the next handlers that wait, as many as it may have running at the most: to make
# one anew for each took a quarter of the time of a stored submit. They go with the client.
_BENCH: Final = 256


class Lead:
    """The lead of `session`, whose tasks run in `nursery`."""

    __slots__ = ("_bench", "_bench_size", "_inbox", "_inbox_empty", "_nursery", "_session", "_unstarted")

    def __init__(self, session: Session, nursery: trio.Nursery) -> None:
        self._session = session
        self._nursery = nursery
        # What was read and has not begun. The next one stands last, once all that was read is in.
        self._inbox: list[Command] = []
        self._inbox_empty: trio.Event | None = None
        self._unstarted: Request | None = None
        self._bench: ParkingLot | None = None
        self._bench_size = min(_BENCH, session.server.limits.running_per_client)

    async def work(self) -> None:
        """Lead while this task may; then wait for the lead to come round. Ends with the connection.

        Run once for a client, by the task that serves it; the others are started by themselves. One cancel scope serves
        all the commands that this task runs, as long as none of them is stopped.
        """
        session = self._session
        running = session.running
        try:
            # Answers of the task that led before.
            session.flush()
            while True:
                request: Request | None = None
                waiting: Waiting[object] | None = None
                try:
                    with trio.CancelScope() as scope:
                        while request is None:
                            if not self._inbox:
                                self._tell_inbox_empty()
                                if session.door.company and session.outbox:
                                    # With those of the others who asked at this moment: it takes fewer wake-ups.
                                    session.server.fanout.flush_soon(session)
                                else:
                                    session.flush()
                                if session.outbox.full:
                                    await session.writer.room()
                                try:
                                    await session.door.wait()
                                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                                    session.gone()
                                else:
                                    self._read()
                                while session.connection.paused and not session.over:
                                    self._take_in(await authenticate(session))
                            elif session.outbox.full:
                                await session.writer.room()
                            elif self._unstarted is None:
                                session.flush()
                                await checkpoint()
                            while self._unstarted:
                                await checkpoint()
                            if session.over:
                                # Now, and not when the last of its commands has ended.
                                await session.close_stream()
                                return
                            request, waiting = self._run(scope)
                        if waiting is not None:
                            self._hand_over(request)
                            try:
                                result = await rest(waiting)
                            except BaseException as error:
                                if not is_failure(error):
                                    raise
                                running.settle(request, error=error)
                            else:
                                running.settle(request, result=result)
                except BaseException as error:
                    # What is left of a cancelled handler's exceptions once the scope has taken its own.
                    if request is None or request.reason is None or not is_failure(error):
                        raise
                    running.settle(request, error=error)
                assert request is not None
                if not request.done:
                    running.settle(request, error=request.reason)
                if waiting is not None:
                    session.flush_soon()
                    if not await self._lead_again():
                        return
                    session.flush()
                else:
                    await checkpoint()
        except BaseException:
            # The nursery ends with this task: from now on nothing may be started in it.
            session.detach()
            raise

    async def _lead_again(self) -> bool:
        """Wait on the bench for the lead; False where this task is not needed any more."""
        if self._bench is None:
            self._bench = ParkingLot()
        if self._session.over or len(self._bench) >= self._bench_size:
            return False
        await self._bench.park()
        return not self._session.over

    def stop(self) -> None:
        """The connection is over: begin nothing more, and let go of the tasks that are kept."""
        self._inbox.clear()
        self._tell_inbox_empty()
        if self._bench is not None:
            self._bench.unpark_all()

    async def until_all_begun(self) -> None:
        """Wait until what the client has sent so far has begun, or the connection is over."""
        while self._inbox and not self._session.over:
            if self._inbox_empty is None:
                self._inbox_empty = trio.Event()
            await self._inbox_empty.wait()

    def _tell_inbox_empty(self) -> None:
        if self._inbox_empty is not None:
            self._inbox_empty.set()
            self._inbox_empty = None

    # -- running ------------------------------------------------------------------------------------------------

    def _run(self, scope: trio.CancelScope) -> tuple[Request | None, Waiting[object] | None]:
        """Run commands for a turn.

        Gives the one that has to wait and what it waits in; or one alone that was stopped in its own turn, so that the
        scope serves no other; or nothing, where there are no more, the others are to have their turn, or the client
        has as many answers waiting as it may.
        """
        session = self._session
        inbox, outbox, running, eager = self._inbox, session.outbox, session.running, session.server.eager
        for _ in range(_TURN):
            if not inbox or outbox.full:
                break
            request = running.begin(inbox.pop())
            if request is None:
                continue
            if not eager:
                # The next one waits until it has begun: commands begin in the order in which they came.
                self._unstarted = request
                self._nursery.start_soon(self._run_alone)
                break
            request.scope = scope
            try:
                result = begin(execute(request), contextvars.copy_context())
            except BaseException as error:
                if not is_failure(error):
                    raise
                running.settle(request, error=error)
            else:
                if type(result) is Waiting:
                    return request, result
                running.settle(request, result=result)
            if request.reason is not None:
                return request, None
        return None, None

    def _hand_over(self, request: Request) -> None:
        """The handler that this task runs has to wait: let another task lead."""
        if request.deadline != math.inf:
            self._session.running.arm(request)
        if self._bench:
            self._bench.unpark()
        else:
            self._nursery.start_soon(self.work)

    async def _run_alone(self) -> None:
        """A task for one command: how all are run where the fast path is off."""
        assert self._unstarted is not None
        request, self._unstarted = self._unstarted, None
        running = self._session.running
        if request.deadline != math.inf:
            running.arm(request)
        try:
            with trio.CancelScope() as request.scope:
                if request.reason is None:
                    running.settle(request, result=await execute(request))
        except BaseException as error:
            if (request.done and request.reason is None) or not is_failure(error):
                raise
            running.settle(request, error=error)
        if not request.done:
            running.settle(request, error=request.reason)
        self._session.flush_soon()

    # -- reading ------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take in what has come."""
        session = self._session
        try:
            data = session.stream.receive_nowait(_READ_BYTES)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            data = b""
        if data is None or session.over:
            return
        if not data:
            session.gone()
            return
        if session.watched:
            session.last_heard = trio.current_time()
        session.counters.bytes_in += len(data)
        if len(data) == _READ_BYTES:
            session.door.more_to_read()
        self._take_in(session.connection.receive_data(data))

    def _take_in(self, batch: list[Received]) -> None:
        """Queue commands, and do at once what else the client said."""
        session, inbox = self._session, self._inbox
        inbox.reverse()
        for received in batch:
            if session.over:
                return
            if type(received) is Command:
                inbox.append(received)
            else:
                self._take_in_other(received)
        inbox.reverse()

    def _take_in_other(self, received: Received) -> None:
        session = self._session
        match received:
            case Refusal():
                self._refuse(received)
            case Ping():
                session.outbox.put_first(session.connection.pong(received))
                session.flush()
            case Cancel():
                session.running.cancel(received.id, self._inbox)
            case Credit():
                session.running.credit(received.id, received.credit, self._inbox)

    def _refuse(self, refusal: Refusal) -> None:
        """Tell the client what it should not have sent, and end the connection where that is fatal."""
        session = self._session
        if refusal.reply is not None:
            session.outbox.put(refusal.reply)
        if refusal.fatal:
            logger.info("Session %s is refused: %s", session.id, refusal.error, extra={"session": session.id})
            session.end_soon()
        session.flush()
