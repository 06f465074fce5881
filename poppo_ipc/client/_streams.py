"""What is iterated over: items, events, changes of state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
from anyio.lowlevel import checkpoint

from poppo_ipc.client._call import Call, fresh
from poppo_ipc.client._engine import Engine
from poppo_ipc.client._events import ClientState, Event, Gap, Position, StateChange
from poppo_ipc.client._patterns import check_patterns
from poppo_ipc.client._subscriptions import Subscription
from poppo_ipc.client._typed import item_reader, result_reader
from poppo_ipc.errors import CallTimeout, ConnectionClosed

if TYPE_CHECKING:
    from poppo_ipc.commands import CommandSpec

__all__ = ["EventStream", "ItemStream", "StateStream"]

_TURN = 16  # what is in the buffer is given out with a checkpoint before each so many of it, not before each one
_STATES = 256  # changes held for a slow listener, far more than a client makes in a day of trouble


class _Signal:
    """Wakes the one task that waits, any number of times."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def wake(self) -> None:
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        # A wake before this is no loss: the caller looks at the state first, and nothing runs in between.
        self._event = anyio.Event()
        await self._event.wait()


class ItemStream:
    """The items of one command. An async context manager, and an async iterator inside."""

    def __init__(
        self,
        engine: Engine,
        build: Callable[[], Call],
        command: str | CommandSpec[Any, Any],
        item: type[Any] | None,
        credit: int,
    ) -> None:
        self._engine = engine
        self._build = build
        self._call: Call | None = None
        self._signal = _Signal()
        self._read_item = item_reader(command, item)
        self._read_result = result_reader(command, None)
        self._credit = credit
        self._taken = 0

    @property
    def result(self) -> Any:
        """The closing result, once the iteration is over. Raises RuntimeError before."""
        call = self._call
        if call is None or not call.done or call.error is not None or call.items:
            raise RuntimeError("the stream has no result yet: iterate to its end first")
        return call.result if self._read_result is None else self._read_result(call.result)

    async def __aenter__(self) -> Self:
        if self._call is not None:
            raise RuntimeError("a stream can be entered once")
        await checkpoint()
        self._call = call = self._build()
        call.wake = self._signal.wake
        self._engine.submit(call)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._call is not None and not self._call.done:
            self._engine.abandon(self._call)
            self._call.error = ConnectionClosed("The stream was left before its end")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        call = self._call
        if call is None or call.items is None:
            raise RuntimeError("enter the stream first: async with client.stream(...) as items")
        if call.items:
            await checkpoint()
        while not call.items:
            if call.done:
                if call.error is not None:
                    raise fresh(call.error)
                raise StopAsyncIteration
            await self._signal.wait()
        item = call.items.popleft()
        self._taken += 1
        if self._taken * 2 >= self._credit:
            # Half of what was granted, not one by one: a message for each item would double the traffic.
            self._engine.grant(call, self._taken)
            self._taken = 0
        return item if self._read_item is None else self._read_item(item)


class EventStream:
    """The events of one subscription. An async context manager, and an async iterator of `Event` and `Gap` inside.

    What waits in the buffer is given out with a checkpoint at every 16th: only there, and where the buffer is empty,
    do other tasks run and is a cancellation noticed.
    """

    def __init__(
        self, engine: Engine, patterns: tuple[str, ...], since: Position | None, limit: int, timeout: float | None
    ) -> None:
        self._engine = engine
        self._signal = _Signal()
        self._timeout = timeout
        self._subscription = Subscription(check_patterns(patterns), limit, since, self._signal.wake)
        self._entered = False
        self._run = 0  # taken since the last checkpoint

    @property
    def patterns(self) -> tuple[str, ...]:
        """What was asked for."""
        return self._subscription.patterns

    @property
    def position(self) -> Position | None:
        """Where to go on from after what was received so far; None where the server does not number."""
        return self._subscription.position

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a subscription can be entered once")
        self._entered = True
        subscription = self._subscription
        await checkpoint()
        self._engine.subscribe(subscription)
        entered = False
        try:
            with anyio.move_on_after(self._timeout):
                while not (subscription.ready or subscription.over):
                    await self._signal.wait()
            if subscription.error is not None:
                raise fresh(subscription.error)
            if not subscription.ready:
                raise CallTimeout(f"The subscription was not made within {self._timeout:g} s")
            entered = True
        finally:
            if not entered:
                self._engine.unsubscribe(subscription)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._engine.unsubscribe(self._subscription)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event | Gap:
        subscription = self._subscription
        buffer = subscription.buffer
        self._run += 1
        if self._run >= _TURN and buffer:
            self._run = 0
            await checkpoint()
        while not buffer:
            if subscription.over:
                if subscription.error is not None:
                    raise fresh(subscription.error)
                raise StopAsyncIteration
            self._run = 0
            await self._signal.wait()
        return buffer.popleft() if subscription.slow_lost == 0 else subscription.take()


class StateStream:
    """The states of a client. An async context manager, and an async iterator of `StateChange` inside.

    Ends after CLOSED or FAILED. Of a listener that falls behind by more than 256 changes the oldest are dropped.
    """

    def __init__(self, listeners: set[StateStream], present: StateChange) -> None:
        self._listeners = listeners
        self._changes: deque[StateChange] = deque([present], maxlen=_STATES)
        self._signal = _Signal()
        self._over = False

    def _push(self, change: StateChange) -> None:
        self._changes.append(change)
        self._signal.wake()

    async def __aenter__(self) -> Self:
        await checkpoint()
        self._listeners.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listeners.discard(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StateChange:
        if self._over and not self._changes:
            raise StopAsyncIteration
        if self._changes:
            await checkpoint()
        while not self._changes:
            await self._signal.wait()
        change = self._changes.popleft()
        self._over = change.state in (ClientState.CLOSED, ClientState.FAILED)
        return change
