"""Events, from who publishes to everybody who asked: encoded once, matched by an index, sent a tick at a time."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable
from typing import Any, Final, Protocol

from attrs import frozen

from poppo_ipc.protocol import Event, PatternIndex, encode
from poppo_ipc.server._eager import ParkingLot
from poppo_ipc.server._eventlog import EventLog, KeptEvent
from poppo_ipc.server._outbox import EventFrame

__all__ = ["Fanout", "Listener", "Subscription", "encode_event"]

_MAX_CACHED_NAMES: Final = 4096


class Listener(Hashable, Protocol):
    """A client, as the fan-out sees it. Hashable, and equal to itself alone."""

    def deliver(self, event: EventFrame) -> None:
        """Queue an event; what does not fit is the client's own affair."""

    def flush(self) -> None:
        """Send what is queued, as far as that goes without waiting."""


@frozen(eq=False)
class Subscription:
    """What one `events.subscribe` asked for."""

    id: str
    listener: Listener
    patterns: tuple[str, ...]


def encode_event(name: str, data: Any, limit: int, seq: int | None = None) -> EventFrame:
    """The frame of an event. Raises FrameTooLarge over `limit` bytes, TypeError where `data` is not JSON."""
    message = Event(event=name, data=data, timestamp=int(time.time() * 1000))
    if seq is not None:
        message.seq = seq
    return EventFrame(bytes(encode(message, limit)), seq)


class Fanout:
    """Who gets which event. Everything here happens at once, without waiting, so nothing comes between.

    `frame_bytes` bounds an event's frame.
    """

    def __init__(self, log: EventLog, frame_bytes: int) -> None:
        self.log = log
        self._frame_bytes = frame_bytes
        self._broadcast: dict[Listener, None] = {}
        self._index: PatternIndex[Listener] = PatternIndex()
        self._targets: dict[str, tuple[Listener, ...]] = {}
        self._dirty: dict[Listener, None] = {}
        self._flusher = ParkingLot()

    # -- who listens --------------------------------------------------------------------------------------------

    def add_broadcast(self, listener: Listener) -> None:
        """An original client: it gets everything."""
        self._broadcast[listener] = None
        self._targets.clear()

    def remove_broadcast(self, listener: Listener) -> None:
        """It no longer does, or never did."""
        if self._broadcast.pop(listener, True) is None:
            self._targets.clear()

    def subscribe(self, subscription: Subscription) -> None:
        """Everything published from here on that matches goes to the subscriber."""
        for pattern in subscription.patterns:
            self._index.add(pattern, subscription.listener)
        self._targets.clear()

    def unsubscribe(self, subscription: Subscription) -> None:
        """The opposite of `subscribe`, once for each."""
        for pattern in subscription.patterns:
            self._index.remove(pattern, subscription.listener)
        self._targets.clear()

    def forget(self, listener: Listener, subscriptions: Iterable[Subscription]) -> None:
        """The client has gone."""
        self.remove_broadcast(listener)
        for subscription in subscriptions:
            self.unsubscribe(subscription)
        self._dirty.pop(listener, None)

    # -- events -------------------------------------------------------------------------------------------------

    def publish(self, name: str, data: Any) -> int:
        """Number, keep and queue an event; gives its `seq`. What `encode_event` raises leaves all as it was."""
        seq = self.log.seq + 1
        self.emit(name, encode_event(name, data, self._frame_bytes, seq))
        return seq

    def emit(self, name: str, event: EventFrame) -> None:
        """Keep and queue an event that has its number already: one more than the last one's."""
        assert event.seq is not None
        self.log.append(event.seq, name, event.frame)
        for listener in self._listeners(name):
            listener.deliver(event)

    def _listeners(self, name: str) -> tuple[Listener, ...]:
        targets = self._targets.get(name)
        if targets is None:
            found = self._index.match(name)
            targets = (*self._broadcast, *(each for each in found if each not in self._broadcast))
            if len(self._targets) >= _MAX_CACHED_NAMES:
                self._targets.clear()
            self._targets[name] = targets
        return targets

    def kept_since(self, epoch: str, seq: int, patterns: Iterable[str]) -> tuple[list[KeptEvent], bool, int | None]:
        """The kept events after `seq` that match, whether there is a gap, and how many were missed."""
        missed = self.log.since(epoch, seq)
        index: PatternIndex[bool] = PatternIndex()
        for pattern in patterns:
            index.add(pattern, True)
        wanted: dict[str, bool] = {}
        kept = []
        for event in missed.kept:
            match = wanted.get(event.name)
            if match is None:
                match = wanted[event.name] = bool(index.match(event.name))
            if match:
                kept.append(event)
        return kept, missed.gap, missed.missed

    # -- flushing -----------------------------------------------------------------------------------------------

    def flush_soon(self, listener: Listener) -> None:
        """Send what is queued for a client in the next tick, with whatever else comes until then."""
        if not self._dirty:
            self._flusher.unpark_all()
        self._dirty[listener] = None

    async def run(self) -> None:
        """Flush, a tick at a time, until cancelled."""
        while True:
            if not self._dirty:
                await self._flusher.park()
            dirty, self._dirty = self._dirty, {}
            for listener in dirty:
                listener.flush()
