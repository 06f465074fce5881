"""The server: one nursery, in which it accepts clients and gives each a nursery of its own."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import anyio
import trio

from poppo_ipc._version import __version__
from poppo_ipc.commands import Command, EventDeclaration, Principal, Router
from poppo_ipc.errors import Busy, DeclarationError, PoppoError, ShuttingDown
from poppo_ipc.limits import Limits
from poppo_ipc.protocol import ALL_CAPABILITIES, CHALLENGE
from poppo_ipc.server._answers import Answers
from poppo_ipc.server._auth import Authenticator, TokenAuth
from poppo_ipc.server._builtin import builtin_router
from poppo_ipc.server._dispatch import Dispatcher
from poppo_ipc.server._doorway import Doorway
from poppo_ipc.server._eventlog import EventLog
from poppo_ipc.server._fanout import Fanout, encode_event
from poppo_ipc.server._lowlevel import checkpoint
from poppo_ipc.server._outbox import EventFrame
from poppo_ipc.server._refusal import close, turn_away
from poppo_ipc.server._session import Session
from poppo_ipc.server._statistics import ServerStatistics, SessionInfo, session_info
from poppo_ipc.server._timers import Timers
from poppo_ipc.transport import (
    OWN_AND_ROOT,
    Address,
    Listener,
    PeerCredentials,
    Stream,
    accept_retrying,
    listen,
)

__all__ = ["OWN_USERS", "Observer", "Publisher", "Server"]

logger = logging.getLogger("poppo_ipc.server")

#: The daemon's own user and root: who may connect by default.
OWN_USERS: Final = "own"
_THREADS: Final = 40


class Publisher(Protocol):
    """Stores an event, `data` ready for JSON, has it sent by `Server.emit`, and gives its number."""

    async def __call__(self, event: str, data: Any) -> int: ...


#: Is told of each command that was answered: its name ("" where there is no such command), the seconds from its
#: arrival to its answer, and the code of its error or None. Called for every command: it is quick, and raises nothing.
Observer = Callable[[str, float, str | None], None]


class Server:
    """Serves a router's commands and events to clients on this machine.

    Args:
        router: the commands and events. It is closed to further declarations.
        address: where to listen; by default `Address.default()`. A listener that is open already, as from socket
            activation, can be given in its place.
        auth: an `Authenticator`, or a token as a string; None serves whoever may connect, without a token.
        limits: every bound.
        name, version: what clients are told in `welcome`.
        allow_uids: the users whose processes may connect, on Windows their SIDs as text; `OWN_USERS` for the server's
            own and root (there: the system itself), None for all.
        capabilities: the extensions to offer.
        log, answers: where events and answers are kept; in memory by default.
        publisher: stores an event before it is sent, and has it sent by `emit`; without one it is sent at once.
        observer: is told of each command that was answered.
        drain: what else is to come to its end when the server stops: awaited with the grace in seconds, while the
            clients still hear its events.
        eager: run handlers in the reader's turn until they wait (`_lowlevel.py`), and wait for all clients at once
            (`_doorway.py`); off, each command gets a task, and each client is waited for alone.

    Raises DeclarationError for what cannot work. One server serves once; several can run in one process.
    """

    def __init__(
        self,
        router: Router,
        *,
        address: Address | str | os.PathLike[str] | Listener | None = None,
        auth: Authenticator | str | None = None,
        limits: Limits | None = None,
        name: str = "poppo_ipc",
        version: str = __version__,
        allow_uids: Collection[int | str] | str | None = OWN_USERS,
        capabilities: tuple[str, ...] = ALL_CAPABILITIES,
        log: EventLog | None = None,
        answers: Answers | None = None,
        publisher: Publisher | None = None,
        observer: Observer | None = None,
        drain: Callable[[float], Awaitable[None]] | None = None,
        eager: bool = True,
    ) -> None:
        self.limits = Limits() if limits is None else limits
        self.auth: Authenticator | None = TokenAuth.from_secret(auth) if isinstance(auth, str) else auth
        self.name = name
        self.version = version
        self.eager = eager
        self.observer = observer
        self._drain = drain
        self._publisher = publisher
        self.capabilities = capabilities if self.auth is not None else tuple(c for c in capabilities if c != CHALLENGE)
        self.timers = Timers()
        self.doorway = Doorway(shared=eager)
        kept = EventLog(self.limits.kept_events, self.limits.kept_event_bytes) if log is None else log
        self.fanout = Fanout(kept, self.limits.frame_bytes)
        # Not by its truth: no answers kept yet is no reason to take others.
        if answers is None:
            answers = Answers(self.limits.kept_answers, self.limits.kept_answer_bytes, self.limits.kept_answer_seconds)
        self.answers = answers
        self.threads = trio.CapacityLimiter(_THREADS)
        self.running = 0
        self.stopping = False
        self._address = address
        self._allow_uids = _uids(allow_uids)
        self._everything = self._gather(router)
        self._events = dict(self._everything.events)
        self.dispatcher = Dispatcher(dict(self._everything.commands), self._everything, self.limits.running_per_client)
        self._sessions: dict[str, Session] = {}
        self._places = 0  # taken by sessions, those that are about to begin among them
        self._listener: Listener | None = None
        self._accepting = trio.CancelScope()
        self._served = False
        self._idle: trio.Event | None = None
        self._stopped = trio.Event()
        self._stop_requested = trio.Event()
        self._stop_grace = 0.0
        self._stop_reason = ""

    def _gather(self, router: Router) -> Router:
        everything = Router()
        everything.include(router)
        everything.include(builtin_router(everything, {"name": self.name, "version": self.version}))
        return everything

    # -- life ---------------------------------------------------------------------------------------------------

    async def serve(self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`; `await nursery.start(server.serve)` gives the bound address once clients can connect.

        Cancelled, it ends at once: clients are closed without a word, and what they had running is cancelled; the
        socket is removed either way. Raises what `poppo_ipc.transport.listen` raises, and PoppoError where this
        server has served before.
        """
        if self._served:
            raise PoppoError("This server has served already; make a new one")
        self._served = True
        listener = await self._listen()
        self._listener = listener
        try:
            with self.doorway:
                async with trio.open_nursery() as services:
                    services.start_soon(self.doorway.run)
                    services.start_soon(self.timers.run)
                    services.start_soon(self.fanout.run)
                    async with trio.open_nursery() as clients:
                        clients.start_soon(self._accept, listener, clients)
                        task_status.started(listener.address)
                        logger.info("Serving on %s", listener.address)
                        await self._stop_requested.wait()
                        await self._wind_down(listener, clients)
                    services.cancel_scope.cancel()
        finally:
            self.stopping = True
            with trio.move_on_after(self.limits.flush_seconds, shield=True):
                await listener.aclose()
            self._stopped.set()
            logger.info("Stopped serving on %s", listener.address)

    async def _listen(self) -> Listener:
        address = self._address
        if isinstance(address, Listener):
            return address
        return await listen(Address.default() if address is None else Address.parse(address))

    async def stop(self, grace: float | None = None, *, reason: str = "requested") -> None:
        """Stop gracefully (WIRE.md section 8) and wait until that is done.

        Tells `daemon.stopping` with `reason`, takes no new clients and commands, lets running ones finish for `grace`
        seconds (by default `limits.grace_seconds`), cancels the rest, flushes, closes. Called again, it waits too.
        Cancelled, the stopping goes on.
        """
        self.stop_soon(grace, reason=reason)
        await self._stopped.wait()

    def stop_soon(self, grace: float | None = None, *, reason: str = "requested") -> None:
        """Begin to stop, and do not wait. A second time it changes nothing."""
        if not self._served:
            raise PoppoError("This server does not serve yet; there is nothing to stop")
        if not self._stop_requested.is_set():
            self._stop_grace = self.limits.grace_seconds if grace is None else grace
            self._stop_reason = reason
            self._stop_requested.set()

    async def _wind_down(self, listener: Listener, clients: trio.Nursery) -> None:
        with trio.move_on_after(self.limits.flush_seconds):
            try:
                await self.publish("daemon.stopping", {"pid": os.getpid(), "reason": self._stop_reason})
            except Exception:
                logger.exception("daemon.stopping could not be told")
        self.stopping = True
        self._accepting.cancel()
        with trio.move_on_after(self.limits.flush_seconds, shield=True):
            await listener.aclose()
        async with trio.open_nursery() as ending:
            if self._drain is not None:
                ending.start_soon(self._drain, self._stop_grace)
            with trio.move_on_after(self._stop_grace):
                await self._all_idle()
            for session in list(self._sessions.values()):
                session.running.shut_down()
            with trio.move_on_after(self.limits.flush_seconds):
                await self._all_idle()
            for session in list(self._sessions.values()):
                session.running.abandon()
        async with trio.open_nursery() as goodbyes:
            for session in list(self._sessions.values()):
                goodbyes.start_soon(session.finish)
        # What still runs now has had its cancellation and its time.
        clients.cancel_scope.cancel()

    async def _all_idle(self) -> None:
        while self.running:
            self._idle = trio.Event()
            await self._idle.wait()

    def one_less_running(self) -> None:
        """A command has ended."""
        self.running -= 1
        if not self.running and self._idle is not None:
            self._idle.set()
            self._idle = None

    # -- clients ------------------------------------------------------------------------------------------------

    async def _accept(self, listener: Listener, clients: trio.Nursery) -> None:
        with self._accepting:
            while True:
                try:
                    stream = await accept_retrying(listener)
                except anyio.ClosedResourceError:
                    return
                self._admit(stream, clients)

    def _admit(self, stream: Stream, clients: trio.Nursery) -> None:
        if not self._may_connect(stream.peer):
            logger.warning("A client was refused before a word: %s may not connect", stream.peer)
            clients.start_soon(close, stream, self.limits)
        elif self.stopping:
            error = ShuttingDown("The server is stopping; try again when it is up")
            clients.start_soon(turn_away, stream, error, self.limits)
        elif self._places >= self.limits.clients:
            limit = self.limits.clients
            busy = Busy(f"All {limit} places are taken; try again later", {"limit": limit})
            clients.start_soon(turn_away, stream, busy, self.limits)
        else:
            self._places += 1
            clients.start_soon(Session(self, stream, secrets.token_hex(8)).run)

    def remember(self, session: Session) -> None:
        """A session has begun."""
        self._sessions[session.id] = session

    def forget(self, session: Session) -> None:
        """A session has ended, or could not begin."""
        self._sessions.pop(session.id, None)
        self._places -= 1

    def _may_connect(self, peer: PeerCredentials | None) -> bool:
        if self._allow_uids is None:
            return True
        return peer is not None and peer.is_one_of(self._allow_uids)

    def anonymous(self, peer: PeerCredentials | None) -> Principal:
        """Who a client is before it authenticates, or where no one has to."""
        return Principal("anonymous", uid=None if peer is None else peer.uid)

    @property
    def sessions(self) -> tuple[SessionInfo, ...]:
        """The clients that are connected."""
        self.fanout.settle()
        now, wall = trio.current_time(), datetime.now(UTC)
        return tuple(
            session_info(session, wall - timedelta(seconds=now - session.since))
            for session in self._sessions.values()
            if not session.over
        )

    def statistics(self) -> ServerStatistics:
        """What the server is doing."""
        return ServerStatistics(
            sessions=sum(not session.over for session in self._sessions.values()),
            running=self.running,
            kept_events=len(self.fanout.log),
            kept_answers=len(self.answers),
            seq=self.fanout.log.seq,
        )

    @property
    def address(self) -> Address:
        """Where it listens. Raises PoppoError before it does."""
        if self._listener is None:
            raise PoppoError("This server does not listen yet")
        return self._listener.address

    @property
    def still_bound(self) -> bool:
        """Whether clients that go to the address come here: nobody deleted the socket or put another there."""
        return self._listener is not None and self._listener.still_bound()

    def heal(self) -> bool:
        """Freshen the socket against cleaners of old files, and put it back where one was quicker; True then.

        Call it now and then. What prevents it is logged: a daemon that cannot be reached still does its work.
        """
        if self._listener is None or self.stopping:
            return False
        try:
            healed = self._listener.heal()
        except (PoppoError, OSError, anyio.ClosedResourceError) as error:
            logger.error("The socket %s is gone and cannot be put back: %s", self._listener.address, error)
            return False
        if healed:
            logger.warning("The socket %s was deleted by another program and has been put back", self._listener.address)
        return healed

    @property
    def commands(self) -> Mapping[str, Command]:
        """All its commands by name, those of the protocol included."""
        return self._everything.commands

    # -- events -------------------------------------------------------------------------------------------------

    async def publish(self, event: str, data: Any = None) -> int:
        """Send an event to every client that asked for it; gives its number, `seq`. Never waits for a client.

        `data` is an object: a dict or an attrs instance (of the declared type, where the event is declared); None
        counts as empty. Raises DeclarationError for a name that is none, FrameTooLarge, and TypeError or ValueError
        where `data` does not fit; nothing was sent then. Cancelled, it was sent.
        """
        if self._publisher is not None:
            return await self._publisher(event, self._event_data(event, data))
        seq = self.publish_nowait(event, data)
        await checkpoint()
        return seq

    def publish_nowait(self, event: str, data: Any = None) -> int:
        """The same from synchronous code in the event loop's thread.

        Raises DeclarationError where the server has a `publisher`: what is stored first has to be waited for.
        """
        if self._publisher is not None:
            raise DeclarationError("This server stores its events before it sends them; await publish()")
        return self.fanout.publish(event, self._event_data(event, data))

    def emit(self, name: str, seq: int, frame: bytes) -> None:
        """Send an event that a `publisher` has stored; `seq` is one more than the last one's."""
        self.fanout.emit(EventFrame(frame, seq, name))

    async def send_to(self, session: SessionInfo | str, event: str, data: Any = None) -> bool:
        """Send an event to one client, whatever it subscribed to; False where it has gone.

        It has no `seq`, and is not kept for replay. Raises as `publish` does.
        """
        session_id = session if isinstance(session, str) else session.id
        frame = encode_event(event, self._event_data(event, data), self.limits.frame_bytes)
        found = self._sessions.get(session_id)
        ready = found is not None and not found.over and found.hears_events
        if found is not None and ready:
            found.deliver(frame)
        await checkpoint()
        return ready

    def _event_data(self, event: str, data: Any) -> Any:
        declaration = self._events.get(event)
        if declaration is None:
            declaration = self._events[event] = EventDeclaration(event)
        return {} if data is None else declaration.encode(data)


def _uids(allow: Collection[int | str] | str | None) -> Collection[int | str] | None:
    if allow is None:
        return None
    if isinstance(allow, str):
        if allow != OWN_USERS:
            raise DeclarationError(f"allow_uids is {allow!r}; give a collection of uids or SIDs, OWN_USERS or None")
        return OWN_AND_ROOT
    return frozenset(allow)
