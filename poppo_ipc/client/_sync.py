"""The client for programs without an event loop, above all command-line tools: a blocking socket of its own.

The same engine as the other client's, moved from within the caller's wait. Imports no event loop, and the types of
the commands only where they are used: for a short-lived program the imports are most of what a call costs.
"""

from __future__ import annotations

import _thread
import math
import time
from collections.abc import Callable, Iterator
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import attrs

from poppo_ipc.client._call import Call, fresh
from poppo_ipc.client._engine import Engine
from poppo_ipc.client._events import ClientState, Position
from poppo_ipc.client._handshake import final
from poppo_ipc.client._known import Known
from poppo_ipc.client._options import DEFAULT, Default, Options
from poppo_ipc.client._sync_groups import SyncGroups
from poppo_ipc.client._sync_link import SyncLink
from poppo_ipc.client._sync_pipeline import Alone, SyncPipeline
from poppo_ipc.client._sync_streams import SyncEvents, SyncItems
from poppo_ipc.client._token import token_from_environment
from poppo_ipc.client._typed import build_call, result_reader
from poppo_ipc.client._window import WINDOW
from poppo_ipc.errors import (
    CallTimeout,
    ConnectFailed,
    ConnectionClosed,
    PoppoError,
)
from poppo_ipc.transport import OWN_AND_ROOT, Address, connect_blocking
from poppo_ipc.transport._connection import Connection, peer_of

if TYPE_CHECKING:
    from poppo_ipc.commands import CommandSpec

__all__ = ["SyncClient"]

A = TypeVar("A")
R = TypeVar("R")


class SyncClient(Known, SyncGroups):
    """A client of the daemon at `address`, with no event loop: `with SyncClient() as client: client.call("status")`.

    Behaves as `connect` and `Client` do: the same options, errors, reconnects and rules for asking again. Only within
    its methods does anything happen: events are taken in, the server's pings answered and lost connections noticed
    whenever it waits for something.

    Not thread-safe: two threads in it at once get LocalProtocolError. Ctrl-C during a call cancels the command.

    Args: as `connect`. `with` connects; without it the first method does.
    """

    def __init__(
        self,
        address: Address | str | PathLike[str] | None = None,
        *,
        token: str | Default | None = DEFAULT,
        options: Options | None = None,
        **changes: Any,
    ) -> None:
        self._options = attrs.evolve(options or Options(), **changes)
        self._address = Address.default() if address is None else Address.parse(address)
        self._token = token_from_environment() if isinstance(token, Default) else token
        self._engine = Engine(self._options, time.monotonic)
        self._guard = Alone(_thread.allocate_lock())
        self._link: SyncLink | None = None
        self._delays: Iterator[float] | None = None
        self._next_try = -math.inf
        self._closed = False
        super().__init__(self)

    def __repr__(self) -> str:
        return f"<SyncClient of {self._address}, {self.state.value}>"

    # -- what is known ------------------------------------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """How the client stood with its server when it last looked."""
        if self._closed:
            return ClientState.CLOSED
        if self._engine.error is not None:
            return ClientState.FAILED
        if self._link is not None:
            return ClientState.CONNECTED
        return ClientState.CONNECTING if self._last_session is None else ClientState.AWAY

    # -- asking -------------------------------------------------------------------------------------------------

    @overload
    def call(
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
    def call(
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
    def call(
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

    def call(
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
        """Ask the server to run a command, and wait for the answer. Arguments and errors as in `Client.call`."""
        read = None if result is None and type(command) is str else result_reader(command, result)
        call = self._build(command, args, named, timeout=timeout, idempotent=idempotent, key=idempotency_key)
        with self._guard:
            try:
                self._submit(call)
                self._run_until(lambda: call.done)
            finally:
                if not call.done:  # Ctrl-C, or an exception of a signal handler
                    self._engine.abandon(call)
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
    ) -> SyncItems:
        """Ask for a command that answers with items: `for item in client.stream("logs.tail"): …`.

        Sends at once; arguments and errors as in `Client.stream`. Use it as a context manager, or call `close`, to
        cancel the command before its end.
        """
        room = self._options.stream_credit if credit is None else credit
        if room < 1:
            raise ValueError(f"credit has to be at least 1, not {room}")
        call = self._build(command, args, named, timeout=timeout, idempotent=idempotent, credit=room)
        begun = False
        with self._alone():
            try:
                self._submit(call)
                begun = True
            finally:
                if not begun:
                    self._engine.abandon(call)
        return SyncItems(self, call, command, item, room)

    def subscribe(
        self,
        *patterns: str,
        timeout: float | None = None,
        since: Position | None = None,
        buffer: int | None = None,
    ) -> SyncEvents:
        """Ask for events: `for event in client.subscribe("task.*"): …`.

        Returns when the server has agreed, so what happens afterwards is not missed. The iteration gives `Event` and,
        where events are missing, `Gap`, and goes on over reconnects, nothing twice.

        Args:
            patterns: at least one.
            timeout: seconds without an event after which the iteration ends; None waits for ever.
            since: go on from there, for a program that remembers `events.position`.
            buffer: events held while nobody iterates, by default `event_buffer`; over it the oldest are dropped, and
                a `Gap` says how many.

        Raises ValueError for a malformed pattern, else what `call` raises.
        """
        limit = self._options.event_buffer if buffer is None else buffer
        events = SyncEvents(self, patterns, since, limit, timeout)
        events._begin()
        return events

    def pipeline(self, *, window: int = WINDOW) -> SyncPipeline:
        """Many calls in few writes: `with client.pipeline() as p: a = p.call("x"); b = p.call("y")`, then `a.result()`.

        As `Client.pipeline`.
        """
        return SyncPipeline(self, window)

    def ping(self, timeout: float | Default | None = DEFAULT) -> float:
        """Seconds that a sign of life takes there and back. Raises as `Client.ping`."""
        seconds = self._options.timeout if isinstance(timeout, Default) else timeout
        call = Call("ping", None)
        with self._alone():
            self._look()
            began = time.monotonic()
            self._engine.ping(call)
            try:
                self._run_until(lambda: call.done, math.inf if seconds is None else began + seconds)
            finally:
                self._engine.forget_ping(call)
        if not call.done:
            raise CallTimeout(f"The server did not answer a ping within {seconds:g} s")
        call.value()
        return time.monotonic() - began

    # -- opening and closing --------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with self._alone():
            self._ensure_started()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close: running commands are cancelled at the server. Idempotent; takes up to `close_seconds`."""
        if self._closed:
            return
        self._closed = True
        engine, link = self._engine, self._link
        closed = ConnectionClosed("This client was closed")
        try:
            if link is not None:
                engine.cancel_all()
                link.drain(time.monotonic() + self._options.close_seconds)
        finally:
            if engine.session is not None:
                engine.end(closed, heard=time.monotonic(), another=False)
            engine.finish(closed)
            self._link = None
            if link is not None:
                link.close()

    # -- the wait -------------------------------------------------------------------------------------------------

    def _build(self, command: str | CommandSpec[Any, Any], args: Any, named: Any, **options: Any) -> Call:
        return build_call(self._engine, self._options, time.monotonic(), command, args, named, **options)

    def _alone(self) -> Alone:
        return self._guard

    def _submit(self, call: Call) -> None:
        self._look()
        self._engine.submit(call)

    def _look(self) -> None:
        """Take in what came since the last look, the end of the connection above all, before anything is sent."""
        if self._last_session is None or self._engine.error is not None:
            self._ensure_started()
        link = self._link
        if link is not None:
            link.look()
            if link.error is not None:
                self._tend(link)

    def _run_until(self, ready: Callable[[], bool], until: float = math.inf) -> None:
        """Move bytes and time until `ready`, or `until` by `time.monotonic`, or until there is nothing to wait for."""
        engine = self._engine
        while not ready():
            now = time.monotonic()
            if now >= until or engine.error is not None:
                return
            alarm = min(until, engine.alarm)
            link = self._link
            if link is None:
                self._try_again(alarm)
            else:
                link.step(alarm - now)
                if link.error is not None:
                    self._tend(link)
            engine.expire()

    def _tend(self, link: SyncLink) -> None:
        """Deal with the end of the link, where it has come."""
        error = link.error
        if error is None:
            return
        options = self._options
        again = options.reconnect
        if self._engine.answered or link.lasted >= options.good_seconds or self._delays is None:
            self._delays = options.backoff.delays(options.random, time.monotonic)
        if self._engine.session is not None:
            self._engine.end(error, heard=link.heard, another=again)
        self._link = None
        link.close()
        if again:
            self._plan(error)

    def _plan(self, error: PoppoError) -> None:
        """Set the time of the next try, or give up."""
        assert self._delays is not None
        delay = next(self._delays, None)
        if delay is None:
            self._engine.finish(error)
        else:
            self._next_try = time.monotonic() + delay

    def _try_again(self, until: float) -> None:
        """Wait for the time of the next try, and try; at most until `until` by `time.monotonic`."""
        now = time.monotonic()
        if self._next_try > now:
            time.sleep(max(0.0, min(self._next_try, until) - now))
            if time.monotonic() < self._next_try:
                return
        try:
            self._connect(until)
        except PoppoError as error:
            if final(error):
                self._engine.finish(error)
            else:
                self._plan(error)

    def _ensure_started(self) -> None:
        """Make the first session, where there was none. Raises why there is none."""
        if self._engine.error is not None:
            raise fresh(self._engine.error)
        if self._last_session is not None:
            return
        options = self._options
        policy = options.backoff if options.retry_initial else options.initial
        delays = policy.delays(options.random, time.monotonic)
        while True:
            try:
                self._connect(math.inf)
                return
            except PoppoError as error:
                unlisted = isinstance(error, ConnectFailed) and not options.retry_initial
                delay = None if unlisted or final(error) else next(delays, None)
                if delay is None:
                    self._engine.finish(error)
                    raise
            time.sleep(delay)

    def _connect(self, until: float) -> None:
        options = self._options
        trusted = OWN_AND_ROOT if isinstance(options.trusted_uids, Default) else options.trusted_uids
        deadline = min(until, time.monotonic() + options.handshake_seconds)
        left = max(0.0, deadline - time.monotonic())
        sock = connect_blocking(self._address, left, trusted_uids=trusted)
        settled = False
        try:
            link = SyncLink(sock, self._engine, options, self._token, _pid_of(sock))
            self._last_session = link.settle(deadline)
            settled = True
        finally:
            if not settled:
                sock.close()
        self._link = link
        link.begin()
        self._tend(link)


def _pid_of(sock: Connection) -> int | None:
    try:
        return peer_of(sock).pid
    except OSError:  # the peer has gone already; the handshake will tell
        return None
