"""The subscriptions of one client, over all its connections: what each is still to get, and what it had already.

A server sends an event once to a client, however many of its subscriptions asked for it, so the client hands it to
each itself. After a reconnect each subscription is made again from its own last event; what is repeated for one may
arrive while another is not there yet or has it already. Each therefore keeps its own account.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from poppo_ipc.client._events import Event, Gap, GapReason, Position
from poppo_ipc.client._session import Session
from poppo_ipc.protocol import Event as EventMessage
from poppo_ipc.protocol import PatternIndex

__all__ = ["DROPPED", "Subscription", "SubscriptionBook"]

DROPPED: Final = "ipc.events-dropped"
_NAMES: Final = 1024  # names whose match is remembered; a server that sends more different ones is matched each time


class Subscription:
    """The patterns of one subscription, its bounded buffer, and which events it had.

    `wake` is called when there is something to take. Numbers up to `_split`, the last event before the subscription
    was (again) made, can only be repeats: of those, what is over `_floor` is taken, each once, in the order in which
    it comes. Numbers after it are live and come in order.
    """

    def __init__(self, patterns: tuple[str, ...], limit: int, since: Position | None, wake: Callable[[], None]) -> None:
        self.patterns = patterns
        self.wake = wake
        self.wire_id: str | None = None
        self.live = False  # made in the present session
        self.ready = False  # made in some session
        self.over = False
        self.error: Exception | None = None
        self._limit = limit
        self.buffer: deque[Event | Gap] = deque()  # what `take` gives, after what it has to say of lost ones
        self.slow_lost: int | None = 0  # dropped since the last `take`; where it is not 0, the buffer is full
        self._epoch = since.epoch if since else None
        self._last = since.seq if since else None
        self._floor = self._split = -1
        self._seen: set[int] = set()

    @property
    def position(self) -> Position | None:
        """Where to go on from; None where the server does not number, or the subscription was never made."""
        if self._epoch is None or self._last is None:
            return None
        return Position(self._epoch, self._last)

    # -- taking ---------------------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self.buffer)

    def take(self) -> Event | Gap:
        """The next of what came, in order. Look first whether there is one."""
        if self.slow_lost != 0:
            missed, self.slow_lost = self.slow_lost, 0
            return Gap(missed, GapReason.SLOW_CONSUMER)
        return self.buffer.popleft()

    # -- what comes -----------------------------------------------------------------------------------------------

    def offer(self, event: Event) -> None:
        """An event that matches; passed over where this subscription had it, or is to get it otherwise."""
        if not self.live:
            return
        seq = event.seq
        if seq is not None:
            if seq > self._split:
                last = self._last
                if last is not None and seq <= last and last > self._split:
                    return
                self._last = seq
            elif seq <= self._floor or seq in self._seen:
                return
            else:
                self._seen.add(seq)
                self._last = max(self._last or 0, seq)
        self._push(event)

    def gap(self, missed: int | None, reason: GapReason) -> None:
        """Events are missing from here."""
        if not self.over:
            self._push(Gap(missed, reason))

    def advance(self, seq: int) -> None:
        """All up to `seq` that was meant for this subscription has come."""
        if self.live and self._last is not None and seq > self._split:
            self._last = max(self._last, seq)

    def _push(self, thing: Event | Gap) -> None:
        buffer = self.buffer
        if not buffer:
            # Who waits does so for the first, and is woken once.
            buffer.append(thing)
            self.wake()
            return
        if len(buffer) >= self._limit:
            oldest = buffer.popleft()
            lost = 1 if isinstance(oldest, Event) else oldest.missed
            self.slow_lost = None if lost is None or self.slow_lost is None else self.slow_lost + lost
        buffer.append(thing)

    # -- sessions -------------------------------------------------------------------------------------------------

    def request(self, session: Session) -> dict[str, Any]:
        """The args of `events.subscribe`, going on from the last event where the server can."""
        args: dict[str, Any] = {"events": list(self.patterns)}
        since = self.position
        if since is not None and session.has_replay:
            args["since"] = {"epoch": since.epoch, "seq": since.seq}
        return args

    def made(self, result: Any, session: Session) -> None:
        """The server's answer to `request`: from here on events are for us."""
        answer = result if isinstance(result, dict) else {}
        wire_id, seq, missed = answer.get("subscriptionId"), answer.get("seq"), answer.get("missed")
        self.wire_id = wire_id if isinstance(wire_id, str) else None
        since = self.position
        again = self.ready or since is not None
        self._seen = set()
        if not session.has_replay or session.epoch is None or type(seq) is not int:
            self._epoch = self._last = None
            self._floor = self._split = -1
            if again:
                self.gap(None, GapReason.NO_REPLAY)
        else:
            self._resume(since, session.epoch, seq)
            if answer.get("gap") is True:
                same = since is not None and since.epoch == session.epoch
                known = missed if type(missed) is int else None
                self.gap(known, GapReason.EXPIRED if same else GapReason.RESTARTED)
        self.ready = True
        self.live = not self.over
        self.wake()

    def _resume(self, since: Position | None, epoch: str, seq: int) -> None:
        self._split = seq
        if since is None:
            self._floor = self._last = seq
        elif since.epoch != epoch:
            # Numbers begin anew, and all that the server kept of them came after what we had.
            self._floor, self._last = -1, 0
        else:
            # A server that lost its last events to a crash may give the same numbers out again.
            self._floor = self._last = min(since.seq, seq)
        self._epoch = epoch

    def made_by_original(self) -> None:
        """An original sends every event to everybody: there is nothing to ask for."""
        self._epoch = self._last = None
        self._floor = self._split = -1
        if self.ready:
            self.gap(None, GapReason.NO_REPLAY)
        self.ready = True
        self.live = not self.over
        self.wake()

    def lost(self) -> None:
        """The session ended."""
        self.live = False
        self.wire_id = None

    def end(self, error: Exception | None) -> None:
        """Nothing comes any more; what is in the buffer can still be taken."""
        if not self.over:
            self.over = True
            self.live = False
            self.error = error
            self.wake()


class SubscriptionBook:
    """All subscriptions of a client."""

    def __init__(self) -> None:
        self._all: dict[Subscription, None] = {}  # a dict, since the order of making is kept
        self._index: PatternIndex[Subscription] = PatternIndex()
        self._matched: dict[str, tuple[Subscription, ...]] = {}
        self._highest = -1  # the highest number that came in this session

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def add(self, subscription: Subscription) -> None:
        """Hand it what matches from now on."""
        self._all[subscription] = None
        for pattern in subscription.patterns:
            self._index.add(pattern, subscription)
        self._matched.clear()

    def remove(self, subscription: Subscription) -> None:
        """Hand it nothing more. Idempotent."""
        if subscription in self._all:
            del self._all[subscription]
            for pattern in subscription.patterns:
                self._index.remove(pattern, subscription)
            self._matched.clear()

    def deliver(self, message: EventMessage) -> None:
        """Hand an event to each subscription that asked for it."""
        if not self._all:
            return
        if message.event == DROPPED:
            self._tell_dropped(message.data)
            return
        matched = self._matched.get(message.event)
        if matched is None:
            matched = self._match(message.event)
        seq = message.seq if isinstance(message.seq, int) else None
        if matched:
            event = Event(message.event, message.data, seq, message.timestamp)
            for subscription in matched:
                subscription.offer(event)
        if seq is not None and seq > self._highest:
            self._highest = seq

    def lost(self) -> None:
        """The session ended."""
        # Only now, not event by event: what came for one tells the others that nothing before it was for them.
        for subscription in self._all:
            subscription.advance(self._highest)
            subscription.lost()
        self._highest = -1

    def _match(self, name: str) -> tuple[Subscription, ...]:
        found = self._index.match(name)
        matched = tuple(each for each in self._all if each in found)
        if len(self._matched) >= _NAMES:
            self._matched.clear()
        self._matched[name] = matched
        return matched

    def _tell_dropped(self, data: Any) -> None:
        dropped = data.get("dropped") if isinstance(data, dict) else None
        missed = dropped if type(dropped) is int else None
        for subscription in self._all:
            if subscription.live:
                subscription.gap(missed, GapReason.SERVER_DROPPED)
