"""What is iterated over without an event loop: items and events."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from poppo_ipc.client._call import Call, fresh
from poppo_ipc.client._events import Event, Gap, Position
from poppo_ipc.client._patterns import check_patterns
from poppo_ipc.client._subscriptions import Subscription
from poppo_ipc.client._typed import item_reader, result_reader
from poppo_ipc.errors import CallTimeout, ConnectionClosed

if TYPE_CHECKING:
    from poppo_ipc.client._sync import SyncClient
    from poppo_ipc.commands import CommandSpec

__all__ = ["SyncEvents", "SyncItems"]


class SyncItems:
    """The items of one command: an iterator, and a context manager that cancels the command at its end."""

    def __init__(
        self,
        client: SyncClient,
        call: Call,
        command: str | CommandSpec[Any, Any],
        item: type[Any] | None,
        credit: int,
    ) -> None:
        self._client = client
        self._call = call
        self._read_item = item_reader(command, item)
        self._read_result = result_reader(command, None)
        self._credit = credit
        self._taken = 0

    @property
    def result(self) -> Any:
        """The closing result, once the iteration is over. Raises RuntimeError before."""
        call = self._call
        if not call.done or call.error is not None or call.items:
            raise RuntimeError("the stream has no result yet: iterate to its end first")
        return call.result if self._read_result is None else self._read_result(call.result)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        call, client = self._call, self._client
        assert call.items is not None
        with client._alone():
            if not call.items:
                client._run_until(lambda: bool(call.items) or call.done)
            if not call.items:
                if call.error is not None:
                    raise fresh(call.error)
                raise StopIteration
            item = call.items.popleft()
            self._taken += 1
            if self._taken * 2 >= self._credit:
                client._engine.grant(call, self._taken)
                self._taken = 0
        return item if self._read_item is None else self._read_item(item)

    def close(self) -> None:
        """Cancel the command, where it still runs. Idempotent."""
        if not self._call.done:
            with self._client._alone():
                self._client._engine.abandon(self._call)
                self._call.error = ConnectionClosed("The stream was left before its end")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class SyncEvents:
    """The events of one subscription: an iterator of `Event` and `Gap`, and a context manager that ends it."""

    def __init__(
        self,
        client: SyncClient,
        patterns: tuple[str, ...],
        since: Position | None,
        limit: int,
        timeout: float | None,
    ) -> None:
        self._client = client
        self._timeout = timeout
        self._subscription = Subscription(check_patterns(patterns), limit, since, _nobody)

    @property
    def patterns(self) -> tuple[str, ...]:
        """What was asked for."""
        return self._subscription.patterns

    @property
    def position(self) -> Position | None:
        """Where to go on from after what was received so far; None where the server does not number."""
        return self._subscription.position

    def _begin(self) -> None:
        client, subscription = self._client, self._subscription
        seconds = client._options.timeout
        with client._alone():
            client._look()
            client._engine.subscribe(subscription)
            entered = False
            try:
                until = math.inf if seconds is None else time.monotonic() + seconds
                client._run_until(lambda: subscription.ready or subscription.over, until)
                if subscription.error is not None:
                    raise fresh(subscription.error)
                if not subscription.ready:
                    raise CallTimeout(f"The subscription was not made within {seconds:g} s")
                entered = True
            finally:
                if not entered:
                    client._engine.unsubscribe(subscription)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event | Gap:
        subscription, client = self._subscription, self._client
        with client._alone():
            if not subscription:
                until = math.inf if self._timeout is None else time.monotonic() + self._timeout
                client._run_until(lambda: bool(subscription) or subscription.over, until)
            if subscription:
                return subscription.take()
            if subscription.error is not None:
                raise fresh(subscription.error)
            raise StopIteration

    def close(self) -> None:
        """End the subscription. Idempotent."""
        with self._client._alone():
            self._client._engine.unsubscribe(self._subscription)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _nobody() -> None:
    pass
