"""The client for event loops: one task group, one connection at a time, any number of calls.

On Trio and asyncio alike. A call costs no task and no lock: it is written at once where that is possible, and its
caller waits for one event.
"""

# ruff: noqa: ASYNC109
# `timeout` is no scope around the caller's code: it goes to the server with the command.
from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import anyio

from poppo_ipc.client._call import Call, fresh
from poppo_ipc.client._engine import Engine
from poppo_ipc.client._events import ClientState, Position, StateChange
from poppo_ipc.client._groups import Groups
from poppo_ipc.client._handshake import final
from poppo_ipc.client._known import Known
from poppo_ipc.client._link import Link
from poppo_ipc.client._options import DEFAULT, Default, Options
from poppo_ipc.client._pipeline import Pipeline
from poppo_ipc.client._streams import EventStream, ItemStream, StateStream
from poppo_ipc.client._typed import build_call, result_reader
from poppo_ipc.client._window import WINDOW
from poppo_ipc.errors import CallTimeout, ConnectFailed, ConnectionClosed, ConnectionLost, PoppoError
from poppo_ipc.transport import OWN_AND_ROOT, Address, Stream
from poppo_ipc.transport import connect as connect_stream

if TYPE_CHECKING:
    from poppo_ipc.commands import CommandSpec

__all__ = ["Client"]

A = TypeVar("A")
R = TypeVar("R")


class Client(Known, Groups):
    """A connection to a daemon that outlives the single connection. Made by `connect`.

    All methods belong to the event loop's thread; any number of tasks may call at once. Where a connection is lost,
    calls that can be asked again without harm are, the others end with `OutcomeUnknown`; calls made meanwhile wait.
    """

    def __init__(self, address: Address, token: str | None, options: Options) -> None:
        self._address = address
        self._token = token
        self._options = options
        self._engine = Engine(options, anyio.current_time)
        self._engine.rearm = self._rearm
        self._event = type(anyio.Event())  # of this event loop: `anyio.Event()` looks it up anew each time
        self._alarm = anyio.Event()
        self._first = anyio.Event()
        self._scope = anyio.CancelScope()
        self._link: Link | None = None
        self._closing = False
        self._change = StateChange(ClientState.CONNECTING)
        self._listeners: set[StateStream] = set()
        policy = options.backoff if options.retry_initial else options.initial
        self._delays = policy.delays(options.random, anyio.current_time)
        self._good = False  # whether the delays are those of `backoff` already
        super().__init__(self)

    def __repr__(self) -> str:
        return f"<Client of {self._address}, {self.state.value}>"

    # -- what is known ------------------------------------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """How the client stands with its server."""
        return self._change.state

    def state_changes(self) -> StateStream:
        """The changes of `state` from now on, beginning with the present one: `async with … as changes`."""
        return StateStream(self._listeners, self._change)

    # -- asking -------------------------------------------------------------------------------------------------

    @overload
    async def call(
        self,
        command: CommandSpec[A, R],
        args: A | None = None,
        /,
        *,
        timeout: float | Default | None = DEFAULT,
        idempotent: bool | None = None,
        idempotency_key: str | None = None,
    ) -> R: ...

    @overload
    async def call(
        self,
        command: str,
        args: Any = None,
        /,
        *,
        result: type[R],
        timeout: float | Default | None = DEFAULT,
        idempotent: bool | None = None,
        idempotency_key: str | None = None,
        **named: Any,
    ) -> R: ...

    @overload
    async def call(
        self,
        command: str,
        args: Any = None,
        /,
        *,
        timeout: float | Default | None = DEFAULT,
        idempotent: bool | None = None,
        idempotency_key: str | None = None,
        **named: Any,
    ) -> Any: ...

    async def call(
        self,
        command: str | CommandSpec[Any, Any],
        args: Any = None,
        /,
        *,
        result: type[Any] | None = None,
        timeout: float | Default | None = DEFAULT,
        idempotent: bool | None = None,
        idempotency_key: str | None = None,
        **named: Any,
    ) -> Any:
        """Ask the server to run a command, and wait for the answer.

        Args:
            command: its name, or a `CommandSpec`, which also tells the types.
            args: the args as one object: a mapping with the wire's names, or an attrs instance.
            result: the type to read the answer as; by default that of the spec, or plain JSON.
            timeout: seconds, waiting for a connection included; None for no limit.
            idempotent: whether asking twice does no more than asking once; by default what the spec says.
            idempotency_key: a key of your own, up to 128 characters, that the server runs once.
            named: the args by name. Those that share a name with an option go into `args`.

        Raises:
            CommandError: the server answered with an error; the subclass and `code` say which.
            CallTimeout: there was no answer in time. Details `{"sent": False}` say that it never went out.
            OutcomeUnknown: the connection was lost, and the command may have run.
            ConnectionLost, ConnectionClosed: there is no connection any more; the command did not run.
            AuthenticationError, VersionMismatch, …: why there will be no connection.
            RemoteProtocolError: the answer is not of the type asked for; the command did run.
            FrameTooLarge, TypeError, ValueError: the args cannot be sent. Nothing was.

        When cancelled, the server is told to cancel the command, without waiting.
        """
        engine = self._engine
        read = None if result is None and type(command) is str else result_reader(command, result)
        now = anyio.current_time()
        call = build_call(
            engine,
            self._options,
            now,
            command,
            args,
            named,
            timeout=timeout,
            idempotent=idempotent,
            key=idempotency_key,
        )
        answered = self._event()
        call.wake = answered.set
        engine.submit(call, now=now)
        try:
            await answered.wait()
        finally:
            if not call.done:
                engine.abandon(call)
        value = call.value()
        return value if read is None else read(value)

    def stream(
        self,
        command: str | CommandSpec[Any, Any],
        args: Any = None,
        /,
        *,
        item: type[Any] | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
        credit: int | None = None,
        **named: Any,
    ) -> ItemStream:
        """Ask for a command that answers with items: `async with client.stream("logs.tail") as items`.

        Iterate to get the items; afterwards `items.result` is the closing result. Leaving the block early cancels the
        command at the server. The server sends at most `credit` items ahead (by default `stream_credit`).

        Args as in `call`, but no time limit by default; `item` is the type to read an item as. Entering sends; the
        errors of `call` come out of the iteration. A stream whose connection is lost is asked for again only where it
        is idempotent and no item came yet; else `OutcomeUnknown`, or `ConnectionLost` where asking again is safe.

        Against a server without streams there are no items, only the result.
        """
        room = self._options.stream_credit if credit is None else credit
        if room < 1:
            raise ValueError(f"credit has to be at least 1, not {room}")

        def build() -> Call:
            now = anyio.current_time()
            return build_call(
                self._engine, self._options, now, command, args, named,
                timeout=timeout, idempotent=idempotent, credit=room,
            )  # fmt: skip

        return ItemStream(self._engine, build, command, item, room)

    def subscribe(
        self,
        *patterns: str,
        since: Position | None = None,
        buffer: int | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> EventStream:
        """Ask for events: `async with client.subscribe("task.*") as events: async for event in events`.

        `*` stands for one segment of a name, `**` for any number. Entering waits until the server has agreed, so what
        happens afterwards is not missed. The iteration gives `Event` and, where events are missing, `Gap`; it goes on
        over reconnects, nothing twice.

        Args:
            patterns: at least one.
            since: go on from there, for a program that remembers `events.position`.
            buffer: events held for a slow consumer, by default `event_buffer`. Over it the oldest are dropped and a
                `Gap` says how many; calls and other subscriptions are not held up.
            timeout: seconds for the server to agree.

        Raises ValueError for a malformed pattern; entering raises what `call` raises.
        """
        seconds = self._options.timeout if isinstance(timeout, Default) else timeout
        limit = self._options.event_buffer if buffer is None else buffer
        return EventStream(self._engine, patterns, since, limit, seconds)

    def pipeline(self, *, window: int = WINDOW) -> Pipeline:
        """Many calls in few writes: `async with client.pipeline() as p: a = p.call("x"); b = p.call("y")`.

        They go out at the end of the block, which waits for all answers; then `a.result()` gives its result or raises
        its error. Nothing is sent where the block raises.

        At the most `window` of them, by default 64, are open at a time; the next ones follow as answers come. A
        server refuses with `Busy` what is over its bound of commands that run at once for one client, which is 64
        where nobody changed it.

        When cancelled, what is open is cancelled at the server, without waiting, and the rest is never sent.
        """
        return Pipeline(self._engine, self._options, window)

    async def ping(self, timeout: float | Default | None = DEFAULT) -> float:
        """Seconds that a sign of life takes there and back.

        Raises CallTimeout, ConnectionLost where there is no connection just now, LocalProtocolError where the server
        has no ping.
        """
        seconds = self._options.timeout if isinstance(timeout, Default) else timeout
        answered = anyio.Event()
        call = Call("ping", None, wake=answered.set)
        began = anyio.current_time()
        self._engine.ping(call)
        try:
            with anyio.move_on_after(seconds):
                await answered.wait()
        finally:
            self._engine.forget_ping(call)
        if not call.done:
            raise CallTimeout(f"The server did not answer a ping within {seconds:g} s")
        call.value()
        return anyio.current_time() - began

    async def aclose(self) -> None:
        """Close: running commands are cancelled at the server, who waits gets ConnectionClosed. Idempotent.

        Takes up to `close_seconds` to send what is queued, cancelled or not; then closes without.
        """
        if self._closing:
            return
        self._closing = True
        engine, link = self._engine, self._link
        engine.cancel_all()
        if link is not None:
            with anyio.move_on_after(self._options.close_seconds, shield=True):
                await link.drain()
        closed = ConnectionClosed("This client was closed")
        if engine.session is not None:
            engine.end(closed, heard=anyio.current_time(), another=False)
        engine.finish(closed)
        self._tell(StateChange(ClientState.CLOSED))
        self._scope.cancel()

    # -- sessions -------------------------------------------------------------------------------------------------

    async def _started(self) -> None:
        await self._first.wait()
        if self._engine.error is not None:
            raise fresh(self._engine.error)

    async def _manage(self) -> None:
        """Make one session after the other until there can be none."""
        with self._scope:
            delay: float | None = 0.0
            while delay is not None:
                await anyio.sleep(delay)
                try:
                    delay = await self._one_session()
                except PoppoError as error:
                    delay = self._missed(error)

    async def _one_session(self) -> float | None:
        """Connect, and carry the session to its end. Returns as `_ended`; raises why none came about."""
        stream = await self._dial()
        try:
            link = Link(stream, self._engine, self._options, self._token)
            self._last_session = await link.settle()
            self._link = link
            began = anyio.current_time()
            error = await link.run(self._begun)
            return self._ended(error, link.heard, anyio.current_time() - began)
        finally:
            self._link = None
            with anyio.move_on_after(self._options.close_seconds, shield=True):
                await stream.aclose()

    def _missed(self, error: PoppoError) -> float | None:
        """No session came about. Seconds until the next try, or None where there is none."""
        unlisted = isinstance(error, ConnectFailed) and not self._first.is_set() and not self._options.retry_initial
        delay = None if unlisted or final(error) else next(self._delays, None)
        if delay is None:
            self._engine.finish(error)
        self._tell_of_end(error, delay)
        return delay

    def _ended(self, error: PoppoError, heard: float, lasted: float) -> float | None:
        """The session is over after `lasted` seconds. Seconds until the next try, or None where there is none.

        All at once, with no other task in between: who is woken by this sees the new state.
        """
        if self._closing:
            return None
        options = self._options
        if self._engine.answered or lasted >= options.good_seconds or not self._good:
            self._delays = options.backoff.delays(options.random, anyio.current_time)
            self._good = True
        delay = next(self._delays, None) if options.reconnect else None
        self._engine.end(error, heard=heard, another=delay is not None)
        self._tell_of_end(error, delay)
        return delay

    def _tell_of_end(self, error: PoppoError, delay: float | None) -> None:
        if delay is None:
            self._tell(StateChange(ClientState.FAILED, error))
            self._first.set()
        else:
            state = ClientState.AWAY if self._first.is_set() else ClientState.CONNECTING
            self._tell(StateChange(state, error, delay))

    async def _dial(self) -> Stream:
        options = self._options
        trusted = OWN_AND_ROOT if isinstance(options.trusted_uids, Default) else options.trusted_uids
        with anyio.move_on_after(options.handshake_seconds):
            return await connect_stream(self._address, trusted_uids=trusted)
        raise ConnectionLost(
            f"{self._address} took no connection within {options.handshake_seconds:g} s",
            remedy="try again",
            timed_out=True,
        )

    def _begun(self) -> None:
        self._tell(StateChange(ClientState.CONNECTED))
        self._first.set()

    def _tell(self, change: StateChange) -> None:
        if self._change.state is not ClientState.CLOSED:
            self._change = change
            for listener in self._listeners:
                listener._push(change)

    # -- time -----------------------------------------------------------------------------------------------------

    def _rearm(self) -> None:
        self._alarm.set()

    async def _watch_deadlines(self) -> None:
        """End calls whose time is over: one task for all of them."""
        while True:
            self._alarm = anyio.Event()
            with anyio.CancelScope(deadline=self._engine.next_alarm()):
                await self._alarm.wait()
            self._engine.expire()
