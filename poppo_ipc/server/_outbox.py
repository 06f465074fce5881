"""What is queued for one client, and what happens when it reads too slowly (WIRE.md section 5).

Answers, events and replays leave in the order in which they were queued. Only live events are ever dropped. A replay
drops none of them, however long it is; but the client is not read from until it has been sent.
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
        "_events", "_first", "_holes", "_in_flight", "_limit", "_loss", "_policy", "_queue", "_queued_bytes",
        "_replay_bytes", "_replaying", "_tell_loss", "dropped",
    )  # fmt: skip

    def __init__(self, limit: int, policy: Overflow, tell_loss: Callable[[int, int | None, int | None], Frame]) -> None:
        self._queue: deque[Frame | _Queued | deque[Frame]] = deque()
        self._first: list[Frame] = []
        self._events: deque[_Queued] = deque()
        self._holes = 0
        self._queued_bytes = 0
        self._in_flight = 0
        self._replay_bytes = 0  # queued or in flight
        self._replaying = False  # whether what is in flight is of a replay
        self._limit = limit
        self._policy = policy
        self._tell_loss = tell_loss
        self._loss: _Loss | None = None
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._queue) or bool(self._first) or self._loss is not None

    @property
    def bytes(self) -> int:
        """Bytes that wait for the client: queued, or taken for a write that has not ended."""
        return self._queued_bytes + self._in_flight + self._replay_bytes

    @property
    def full(self) -> bool:
        """Whether the client has as much waiting as it may: it is not read from then."""
        return self._queued_bytes + self._in_flight + self._replay_bytes >= self._limit

    @property
    def crowded(self) -> bool:
        """Whether it is full, or had no room for an event. Only a write changes that."""
        return self.full or self._loss is not None

    def put(self, frame: Frame) -> None:
        """Queue an answer. It is never dropped, so who makes answers looks at `full` first."""
        self._queue.append(frame)
        self._queued_bytes += len(frame)

    def put_first(self, frame: Frame) -> None:
        """Queue ahead of all that is not being written, behind what was put first before."""
        self._first.append(frame)
        self._queued_bytes += len(frame)

    def put_replay(self, frames: Iterable[Frame]) -> None:
        """Queue kept events. They take no room from live ones."""
        replay = deque(frames)
        if replay:
            self._queue.append(replay)
            self._replay_bytes += sum(map(len, replay))

    def put_event(self, event: EventFrame) -> None:
        """Queue a live event, or drop one by the policy where it does not fit. Raises Overflowed by the third."""
        size = len(event.frame)
        if not self._fits(size) and not self._make_room(size):
            self._lose(event)
            return
        if self._loss is not None and self._policy is Overflow.DROP_NEWEST:
            # Where the lost ones would have been.
            self.put(self._notice())
        queued = _Queued(event)
        self._queue.append(queued)
        self._events.append(queued)
        self._queued_bytes += size

    def _fits(self, size: int) -> bool:
        """Whether there is room; an event larger than the whole outbox fits an empty one."""
        waiting = self._queued_bytes + self._in_flight
        return waiting + size <= self._limit or not waiting

    def _make_room(self, size: int) -> bool:
        if self._policy is Overflow.DISCONNECT:
            raise Overflowed
        if self._policy is Overflow.DROP_NEWEST:
            return False
        while self._events and not self._fits(size):
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
        return self._fits(size)

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
        frames, self._first = self._first, []
        size = sum(map(len, frames))
        self._queued_bytes -= size
        self._replaying = False
        if self._loss is not None and self._policy is Overflow.DROP_OLDEST:
            frames.append(self._notice())
            size += len(frames[-1])
        queue = self._queue
        while queue and size < _CHUNK_BYTES:
            entry = queue[0]
            if isinstance(entry, deque):
                if frames:
                    break
                return self._take_replay(entry)
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
            frames.append(self._notice())
            size += len(frames[-1])
        self._in_flight += size
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _take_replay(self, replay: deque[Frame]) -> Frame:
        """A piece of its own, so that what it holds in flight is told from what counts against live events."""
        self._replaying = True
        frames: list[Frame] = []
        size = 0
        while replay and size < _CHUNK_BYTES:
            frames.append(replay.popleft())
            size += len(frames[-1])
        if not replay:
            self._queue.popleft()
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _notice(self) -> Frame:
        loss, self._loss = self._loss, None
        assert loss is not None
        return self._tell_loss(loss.count, loss.first, loss.last)

    def wrote(self, size: int) -> None:
        """So many of the bytes taken have gone out."""
        if self._replaying:
            self._replay_bytes -= size
        else:
            self._in_flight -= size

    def clear(self) -> None:
        """Let go of everything: the client has gone."""
        self._queue.clear()
        self._first.clear()
        self._events.clear()
        self._queued_bytes = self._in_flight = self._replay_bytes = self._holes = 0
        self._loss = None
