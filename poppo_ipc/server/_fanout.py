"""Events, from who publishes to everybody who asked: encoded once, matched by an index, sent a tick at a time.

What is published in a tick is kept aside, joined once at the end of the tick for all clients who get the same of it,
and written to each of them in one go. So publishing costs the same for any number of clients, and a client costs one
write a tick for any number of events. Where the ticks before had one event each, the next goes out at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from time import time as _time
from typing import Any, Final, Protocol

from attrs import frozen
from msgspec import UNSET

from poppo_ipc.protocol import PROTOCOL_VERSION, Event, PatternIndex, encode
from poppo_ipc.server._eventlog import EventLog
from poppo_ipc.server._lowlevel import ParkingLot, checkpoint
from poppo_ipc.server._outbox import Batch, EventFrame

__all__ = ["Fanout", "Listener", "Subscription", "encode_event"]

_MAX_CACHED_NAMES: Final = 4096
# A tick's events are handed over early when there are so many bytes of them: what a socket takes is not much more.
_TICK_BYTES: Final = 64 * 1024
# The same when they go to so many different sets of clients: what has to be looked through for one client is bounded.
_TICK_ROUTES: Final = 16
# At the most so many events are sent at once, without the tick's end, before it is looked at again how many come.
_MAX_AT_ONCE: Final = 32


class Listener(Hashable, Protocol):
    """A client, as the fan-out sees it. Hashable, and equal to itself alone."""

    def write_events(self, batch: Batch) -> None:
        """Send events at once if nothing else waits for the client, or queue them and have them flushed."""

    def write_event(self, batch: Batch) -> None:
        """The same for a lone event, which may wait for an answer that is due."""

    def queue_events(self, batch: Batch) -> None:
        """Queue events and have them flushed; what does not fit is the client's own affair."""

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
    # By position: to name the arguments takes as long again.
    message = Event(name, data, PROTOCOL_VERSION, int(_time() * 1000), UNSET if seq is None else seq)
    return EventFrame(encode(message, limit), seq, name)


# The clients that get an event. Names with the same clients have the same one; it is never changed.
_Route = frozenset[Listener]


class Fanout:
    """Who gets which event. Everything here happens at once, without waiting, so nothing comes between.

    `frame_bytes` bounds an event's frame.
    """

    def __init__(self, log: EventLog, frame_bytes: int) -> None:
        self.log = log
        self.coming: list[EventFrame] = []
        """Events of this tick that are not handed to their clients yet. Always the same list."""
        self._coming_routes: list[_Route] = []
        self._coming_bytes = 0
        self._routes_in_tick: list[_Route] = []
        self._caught_up: dict[Listener, int] = {}  # how many of `coming` it has queued already
        self._frame_bytes = frame_bytes
        self._broadcast: dict[Listener, None] = {}
        self._index: PatternIndex[Listener] = PatternIndex()
        self._routes: dict[str, _Route] = {}
        self._same_routes: dict[_Route, _Route] = {}
        self._dirty: dict[Listener, None] = {}
        self._flusher = ParkingLot()
        self._at_once = 0  # so many events go out at once
        self._lone_run = 0
        self._handing_over = False

    # -- who listens --------------------------------------------------------------------------------------------

    def add_broadcast(self, listener: Listener) -> None:
        """An original client: it gets everything."""
        self._broadcast[listener] = None
        self._forget_routes()

    def remove_broadcast(self, listener: Listener) -> None:
        """It no longer does, or never did."""
        if self._broadcast.pop(listener, True) is None:
            self._forget_routes()

    def subscribe(self, subscription: Subscription) -> None:
        """Everything published from here on that matches goes to the subscriber."""
        for pattern in subscription.patterns:
            self._index.add(pattern, subscription.listener)
        self._forget_routes()

    def unsubscribe(self, subscription: Subscription) -> None:
        """The opposite of `subscribe`, once for each."""
        for pattern in subscription.patterns:
            self._index.remove(pattern, subscription.listener)
        self._forget_routes()

    def forget(self, listener: Listener, subscriptions: Iterable[Subscription]) -> None:
        """The client gets nothing that is published from here on; what is queued for it is its own to flush."""
        self.catch_up(listener)
        self.remove_broadcast(listener)
        for subscription in subscriptions:
            self.unsubscribe(subscription)
        self._dirty.pop(listener, None)

    def _forget_routes(self) -> None:
        self._routes.clear()
        self._same_routes.clear()

    # -- events -------------------------------------------------------------------------------------------------

    def publish(self, name: str, data: Any) -> int:
        """Number, keep and send an event; gives its `seq`. What `encode_event` raises leaves all as it was."""
        seq = self.log.seq + 1
        self.emit(encode_event(name, data, self._frame_bytes, seq))
        return seq

    def emit(self, event: EventFrame) -> None:
        """Keep and send an event that has its number already: one more than the last one's."""
        self.log.append(event)
        route = self._routes.get(event.name)
        if route is None:
            route = self._route(event.name)
        if not route:
            return
        coming = self.coming
        if not coming:
            # Not from within a handing over: a client may still have to get what came before.
            if self._at_once and not self._handing_over:
                self._at_once -= 1
                self._send_at_once(route, event)
                return
            self._wake()
            self._routes_in_tick.append(route)
        elif route is not self._coming_routes[-1] and not any(route is each for each in self._routes_in_tick):
            self._routes_in_tick.append(route)
        coming.append(event)
        self._coming_routes.append(route)
        self._coming_bytes += len(event.frame)
        many = self._coming_bytes >= _TICK_BYTES or len(self._routes_in_tick) >= _TICK_ROUTES
        if many and not self._handing_over:
            self._hand_over()

    def _route(self, name: str) -> _Route:
        route = frozenset((*self._broadcast, *self._index.match(name)))
        route = self._same_routes.setdefault(route, route)
        if len(self._routes) >= _MAX_CACHED_NAMES:
            self._forget_routes()
        self._routes[name] = route
        return route

    def kept_since(self, epoch: str, seq: int, patterns: Iterable[str]) -> tuple[list[EventFrame], bool, int | None]:
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

    # -- handing over -------------------------------------------------------------------------------------------

    def catch_up(self, listener: Listener) -> None:
        """Queue what this tick has for a client so far, as something else is to be queued behind it."""
        coming = self.coming
        start = self._caught_up.get(listener, 0)
        if start == len(coming):
            return
        routes = [route for route in self._routes_in_tick if listener in route]
        if not routes:
            return
        self._caught_up[listener] = len(coming)
        events = self._events_of(coming, self._coming_routes, start, routes)
        if events:
            listener.queue_events(Batch(events))

    def settle(self) -> None:
        """Queue what this tick has so far for every client, so that all is counted."""
        if self.coming and not self._handing_over:
            for listener, batch in self._shares():
                listener.queue_events(batch)

    def _send_at_once(self, route: _Route, event: EventFrame) -> None:
        batch = Batch((event,))
        self._handing_over = True
        try:
            for listener in route:
                listener.write_event(batch)
        finally:
            self._handing_over = False

    def _hand_over(self) -> None:
        self._handing_over = True
        try:
            for listener, batch in self._shares():
                listener.write_events(batch)
        finally:
            self._handing_over = False

    def _shares(self) -> Iterable[tuple[Listener, Batch]]:
        """Who gets what of this tick's events, which are no longer coming then."""
        events, routes = self.coming[:], self._coming_routes
        distinct, caught_up = self._routes_in_tick, self._caught_up
        self.coming.clear()
        self._coming_routes, self._routes_in_tick, self._caught_up = [], [], {}
        self._coming_bytes = 0
        if len(distinct) == 1 and not caught_up:
            batch = Batch(events)
            return [(listener, batch) for listener in distinct[0]]
        return self._mixed_shares(events, routes, distinct, caught_up)

    def _mixed_shares(
        self, events: list[EventFrame], routes: list[_Route], distinct: list[_Route], caught_up: dict[Listener, int]
    ) -> Iterable[tuple[Listener, Batch]]:
        of_listener: dict[Listener, int] = {}
        for number, route in enumerate(distinct):
            bit = 1 << number
            for listener in route:
                of_listener[listener] = of_listener.get(listener, 0) | bit
        batches: dict[tuple[int, int], Batch | None] = {}
        for listener, bits in of_listener.items():
            share = bits, caught_up.get(listener, 0)
            if share not in batches:
                wanted = [route for number, route in enumerate(distinct) if bits & 1 << number]
                found = self._events_of(events, routes, share[1], wanted)
                batches[share] = Batch(found) if found else None
            batch = batches[share]
            if batch is not None:
                yield listener, batch

    @staticmethod
    def _events_of(
        events: list[EventFrame], routes: list[_Route], start: int, wanted: list[_Route]
    ) -> list[EventFrame]:
        ids = set(map(id, wanted))
        return [event for event, route in zip(events[start:], routes[start:], strict=True) if id(route) in ids]

    # -- flushing -----------------------------------------------------------------------------------------------

    def flush_soon(self, listener: Listener) -> None:
        """Send what is queued for a client in the next tick, with whatever else comes until then."""
        if not self._dirty:
            self._wake()
        self._dirty[listener] = None

    def _wake(self) -> None:
        if self._flusher:
            self._flusher.unpark_all()

    async def run(self) -> None:
        """Hand over and flush, a tick at a time, until cancelled."""
        while True:
            if self.coming or self._dirty:
                await checkpoint()
            else:
                await self._flusher.park()
            if self.coming:
                self._look_at_tick()
                self._hand_over()
            dirty, self._dirty = self._dirty, {}
            for listener in dirty:
                listener.flush()

    def _look_at_tick(self) -> None:
        """Events that come one a tick gain nothing by waiting for its end, and the wake-up costs more than they do."""
        self._lone_run = min(2 * self._lone_run + 1, _MAX_AT_ONCE) if len(self.coming) == 1 else 0
        self._at_once = self._lone_run
