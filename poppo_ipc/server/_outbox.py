"""What is queued for one client, and what happens when it reads too slowly (WIRE.md section 5).

Answers, events and replays leave in the order in which they were queued. Only live events are ever dropped; a replay
does not count, as its frames are the event log's own and bounded there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from attrs import define, frozen

from poppo_ipc.limits import Overflow

__all__ = ["EventFrame", "Outbox", "Overflowed"]

# Frames are joined up to so many bytes a write: one system call, and a copy that stays in the cache.
_CHUNK_BYTES: Final = 256 * 1024
# Dropped events leave holes, which are swept once there are this many and they are most of the queue.
_SWEEP_FROM: Final = 64

Frame: TypeAlias = bytes | bytearray


class Overflowed(Exception):
    """The policy is to disconnect, and an event did not fit."""


@frozen(eq=False)
class EventFrame:
    """An event as it goes to every client: encoded once. `seq` is None for one that only one client gets."""

    frame: Frame
    seq: int | None


@define(eq=False)
class _Queued:
    """An event's place in one client's queue; `event` is None once it was dropped."""

    event: EventFrame | None


@define(eq=False)
class _Loss:
    count: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, event: EventFrame) -> None:
        self.count += 1
        if event.seq is not None:
            self.first = event.seq if self.first is None else min(self.first, event.seq)
            self.last = event.seq if self.last is None else max(self.last, event.seq)


class Outbox:
    """The queue of one client.

    `limit` is in bytes; `tell_loss(dropped, first_seq, last_seq)` makes the frame of `ipc.events-dropped`.
    """

    __slots__ = (
        "_events", "_holes", "_in_flight", "_limit", "_loss", "_policy", "_queue", "_queued_bytes", "_tell_loss",
        "dropped",
    )  # fmt: skip

    def __init__(self, limit: int, policy: Overflow, tell_loss: Callable[[int, int | None, int | None], Frame]) -> None:
        self._queue: deque[Frame | _Queued | deque[Frame]] = deque()
        self._events: deque[_Queued] = deque()
        self._holes = 0
        self._queued_bytes = 0
        self._in_flight = 0
        self._limit = limit
        self._policy = policy
        self._tell_loss = tell_loss
        self._loss: _Loss | None = None
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._queue) or self._loss is not None

    @property
    def bytes(self) -> int:
        """Bytes that wait for the client: queued, or taken for a write that has not ended."""
        return self._queued_bytes + self._in_flight

    @property
    def full(self) -> bool:
        """Whether the client has as much waiting as it may."""
        return self._queued_bytes + self._in_flight >= self._limit

    def put(self, frame: Frame) -> None:
        """Queue an answer. It is never dropped, so who makes answers looks at `full` first."""
        self._queue.append(frame)
        self._queued_bytes += len(frame)

    def put_first(self, frame: Frame) -> None:
        """Queue ahead of all that is not being written."""
        self._queue.appendleft(frame)
        self._queued_bytes += len(frame)

    def put_replay(self, frames: Iterable[Frame]) -> None:
        """Queue kept events; they stay the event log's and count for nothing here."""
        replay = deque(frames)
        if replay:
            self._queue.append(replay)

    def put_event(self, event: EventFrame) -> None:
        """Queue a live event, or drop one by the policy where it does not fit. Raises Overflowed by the third."""
        size = len(event.frame)
        if self._queued_bytes + self._in_flight + size > self._limit and not self._make_room(size):
            self._lose(event)
            return
        queued = _Queued(event)
        self._queue.append(queued)
        self._events.append(queued)
        self._queued_bytes += size

    def _make_room(self, size: int) -> bool:
        if self._policy is Overflow.DISCONNECT:
            raise Overflowed
        if self._policy is Overflow.DROP_NEWEST:
            return False
        while self._events and self._queued_bytes + self._in_flight + size > self._limit:
            oldest = self._events.popleft()
            event, oldest.event = oldest.event, None
            if event is not None:
                self._queued_bytes -= len(event.frame)
                self._holes += 1
                self._lose(event)
        if self._holes > _SWEEP_FROM and self._holes * 2 > len(self._queue):
            self._queue = deque(
                entry for entry in self._queue if not (isinstance(entry, _Queued) and entry.event is None)
            )
            self._holes = 0
        return self._queued_bytes + self._in_flight + size <= self._limit

    def _lose(self, event: EventFrame) -> None:
        if self._loss is None:
            self._loss = _Loss()
        self._loss.add(event)
        self.dropped += 1

    def take(self) -> Frame:
        """The next piece to write, about 256 KiB at most unless one frame is larger; b"" where there is none.

        What was dropped is told here, where there is room again: ahead of the events that were kept in its place, or
        after them where the newest were dropped.
        """
        frames: list[Frame] = []
        size = 0
        if self._loss is not None and self._policy is Overflow.DROP_OLDEST:
            size += self._take_notice(frames)
        queue = self._queue
        while queue and size < _CHUNK_BYTES:
            entry = queue[0]
            if isinstance(entry, deque):
                frame = entry.popleft()
                if not entry:
                    queue.popleft()
            else:
                queue.popleft()
                if isinstance(entry, _Queued):
                    event = entry.event
                    if event is None:
                        self._holes -= 1
                        continue
                    # Events leave in the order they came, so this is the oldest of them.
                    self._events.popleft()
                    frame = event.frame
                else:
                    frame = entry
                self._queued_bytes -= len(frame)
            frames.append(frame)
            size += len(frame)
        if self._loss is not None and not queue:
            size += self._take_notice(frames)
        self._in_flight += size
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _take_notice(self, frames: list[Frame]) -> int:
        loss, self._loss = self._loss, None
        assert loss is not None
        frame = self._tell_loss(loss.count, loss.first, loss.last)
        frames.append(frame)
        return len(frame)

    def wrote(self, size: int) -> None:
        """So many of the bytes taken have gone out."""
        self._in_flight -= size

    def clear(self) -> None:
        """Let go of everything: the client has gone."""
        self._queue.clear()
        self._events.clear()
        self._queued_bytes = self._in_flight = self._holes = 0
        self._loss = None
