"""What is queued for one client, and what happens when it reads too slowly (WIRE.md section 5).

Answers, events and replays leave in the order in which they were queued. Only live events are ever dropped. A replay
drops none of them, however long it is; but the client is not read from until it has been sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from attrs import define
from msgspec import Struct

from poppo_ipc.limits import Overflow

__all__ = ["Batch", "EventFrame", "Outbox", "Overflowed"]

# Frames are joined up to so many bytes a write: one system call, and a copy that stays in the cache.
_CHUNK_BYTES: Final = 256 * 1024
# Dropped events leave holes, which are swept once there are this many and they are most of the queue.
_SWEEP_FROM: Final = 64


class Overflowed(Exception):
    """The policy is to disconnect, and an event did not fit."""


class EventFrame(Struct, frozen=True, eq=False, gc=False):
    """An event as it goes to every client: encoded once. `seq` is None for one that only one client gets.

    One object stands in the queues of all who get it, and in the log. A Struct, as that is made in a fraction of the
    time, and since there are many: the garbage collector has not to look at them.
    """

    frame: bytes
    seq: int | None
    name: str


class Batch:
    """Events that go to a client together, at least one, and their frames joined: once for all who get them."""

    __slots__ = ("data", "events")

    def __init__(self, events: Sequence[EventFrame]) -> None:
        self.events = events
        self.data = events[0].frame if len(events) == 1 else b"".join([event.frame for event in events])

    def after(self, sent: int) -> tuple[int, Sequence[EventFrame]]:
        """Where the event ends that the first `sent` bytes of `data` end in, and the events behind it."""
        end = 0
        for number, event in enumerate(self.events):
            if end >= sent:
                return end, self.events[number:]
            end += len(event.frame)
        return end, ()


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

    `limit` is in bytes; `tell_loss(dropped, first_seq, last_seq)` makes the frame of `ipc.events-dropped`. While
    `coming` is not empty there may be events for the client that are published and not queued yet: `catch_up()` then
    queues them with `put_events`, before anything else is queued behind them.
    """

    __slots__ = (
        "_catch_up", "_coming", "_first", "_holes", "_limit", "_loss", "_oldest", "_policy", "_queue",
        "_replay_bytes", "_replaying", "_tell_loss", "bytes", "dropped",
    )  # fmt: skip

    def __init__(
        self,
        limit: int,
        policy: Overflow,
        tell_loss: Callable[[int, int | None, int | None], bytes],
        coming: Collection[object] = (),
        catch_up: Callable[[], None] | None = None,
    ) -> None:
        # An idle client has little more than this: what few need is made when they do.
        self._queue: list[bytes | EventFrame | deque[bytes]] = []
        self._first: list[bytes] | None = None
        self._oldest: deque[EventFrame] | None = None  # the queue's events; kept from a first drop until it is empty
        self._holes = 0  # so many events at the head of the queue are dropped
        self._replay_bytes = 0  # queued or in flight
        self._replaying = False  # whether what is in flight is of a replay
        self._limit = limit
        self._policy = policy
        self._tell_loss = tell_loss
        self._loss: _Loss | None = None
        self._coming = coming
        self._catch_up = catch_up
        self.bytes = 0
        """Bytes that wait for the client: queued, or taken for a write that has not ended."""
        self.dropped = 0
        """Events that were dropped so far."""

    def __bool__(self) -> bool:
        return bool(self._queue) or self._first is not None or self._loss is not None

    @property
    def full(self) -> bool:
        """Whether the client has as much waiting as it may: it is not read from then."""
        return self.bytes >= self._limit

    @property
    def crowded(self) -> bool:
        """Whether it is full, or had no room for an event. Only a write changes that."""
        return self.bytes >= self._limit or self._loss is not None

    # -- queueing -----------------------------------------------------------------------------------------------

    def put(self, frame: bytes) -> None:
        """Queue an answer. It is never dropped, so who makes answers looks at `full` first."""
        if self._coming and self._catch_up is not None:
            self._catch_up()
        self._queue.append(frame)
        self.bytes += len(frame)

    def put_first(self, frame: bytes) -> None:
        """Queue ahead of all that is not being written, behind what was put first before."""
        if self._first is None:
            self._first = []
        self._first.append(frame)
        self.bytes += len(frame)

    def put_replay(self, frames: Iterable[bytes]) -> None:
        """Queue kept events. They take no room from live ones."""
        if self._coming and self._catch_up is not None:
            self._catch_up()
        replay = deque(frames)
        if replay:
            self._queue.append(replay)
            size = sum(map(len, replay))
            self._replay_bytes += size
            self.bytes += size

    def put_event(self, event: EventFrame) -> None:
        """Queue a live event of this client's own; otherwise as `put_events`."""
        if self._coming and self._catch_up is not None:
            self._catch_up()
        self._put_event(event)

    def put_events(self, events: Sequence[EventFrame], size: int) -> None:
        """Queue live events of `size` bytes, or drop some by the policy where they do not fit.

        Raises Overflowed by the third policy; those that fitted are queued.
        """
        if self._loss is None and self.bytes - self._replay_bytes + size <= self._limit:
            self._queue.extend(events)
            self.bytes += size
            if self._oldest is not None:
                self._oldest.extend(events)
        else:
            for event in events:
                self._put_event(event)

    def begun(self, size: int) -> None:
        """So many bytes of something that was written past the queue have yet to go out, ahead of it."""
        self._replaying = False
        self.bytes += size

    def _put_event(self, event: EventFrame) -> None:
        size = len(event.frame)
        if not self._fits(size) and not self._make_room(size):
            self._lose(event)
            return
        if self._loss is not None and self._policy is Overflow.DROP_NEWEST:
            # Where the lost ones would have been.
            self._queue.append(self._notice())
        self._queue.append(event)
        if self._oldest is not None:
            self._oldest.append(event)
        self.bytes += size

    def _fits(self, size: int) -> bool:
        """Whether there is room; an event larger than the whole outbox fits an empty one."""
        waiting = self.bytes - self._replay_bytes
        return waiting + size <= self._limit or not waiting

    def _make_room(self, size: int) -> bool:
        if self._policy is Overflow.DISCONNECT:
            raise Overflowed
        if self._policy is Overflow.DROP_NEWEST:
            return False
        oldest = self._oldest
        if oldest is None:
            oldest = self._oldest = deque(entry for entry in self._queue if isinstance(entry, EventFrame))
        while oldest and not self._fits(size):
            event = oldest.popleft()
            self.bytes -= len(event.frame)
            self._holes += 1
            self._lose(event)
        if self._holes > _SWEEP_FROM and self._holes * 2 > len(self._queue):
            self._sweep()
        return self._fits(size)

    def _sweep(self) -> None:
        kept = []
        for entry in self._queue:
            if self._holes and isinstance(entry, EventFrame):
                self._holes -= 1
            else:
                kept.append(entry)
        self._queue = kept

    def _lose(self, event: EventFrame) -> None:
        if self._loss is None:
            self._loss = _Loss()
        self._loss.add(event)
        self.dropped += 1

    # -- writing ------------------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """The next piece to write, about 256 KiB at most unless one frame is larger; b"" where there is none.

        What was dropped is told here, where there is room again: ahead of the events that were kept in its place, or
        after them where the newest were dropped.
        """
        queue = self._queue
        if (
            self._first is None
            and self._loss is None
            and self._oldest is None
            and not self._replay_bytes
            and self.bytes <= _CHUNK_BYTES
        ):
            # Everything, as nearly always.
            self._replaying = False
            self._queue = []
            # `type() is` is quicker than `isinstance`, and the type checker does not take its word.
            return _joined([entry.frame if type(entry) is EventFrame else entry for entry in queue])  # type: ignore[misc]
        frames, self._first = self._first or [], None
        size = sum(map(len, frames))
        self._replaying = False
        if self._loss is not None and self._policy is Overflow.DROP_OLDEST:
            frames.append(self._notice())
            size += len(frames[-1])
        taken = 0
        replay: deque[bytes] | None = None
        for entry in queue:
            if size >= _CHUNK_BYTES:
                break
            if isinstance(entry, deque):
                replay = entry
                break
            taken += 1
            if isinstance(entry, EventFrame):
                if self._holes:
                    self._holes -= 1
                    continue
                if self._oldest is not None:
                    self._oldest.popleft()
                entry = entry.frame
            frames.append(entry)
            size += len(entry)
        del queue[:taken]
        if replay is not None and not frames:
            frames = self._take_replay(replay)
        if not queue:
            self._oldest = None
            if self._loss is not None and not self._replaying:
                frames.append(self._notice())
        return _joined(frames)

    def _take_replay(self, replay: deque[bytes]) -> list[bytes]:
        """A piece of its own, so that what it holds in flight is told from what counts against live events."""
        self._replaying = True
        frames: list[bytes] = []
        size = 0
        while replay and size < _CHUNK_BYTES:
            frames.append(replay.popleft())
            size += len(frames[-1])
        if not replay:
            del self._queue[0]
        return frames

    def _notice(self) -> bytes:
        loss, self._loss = self._loss, None
        assert loss is not None
        frame = self._tell_loss(loss.count, loss.first, loss.last)
        self.bytes += len(frame)
        return frame

    def wrote(self, size: int) -> None:
        """So many of the bytes taken have gone out."""
        self.bytes -= size
        if self._replaying:
            self._replay_bytes -= size

    def clear(self) -> None:
        """Let go of everything: the client has gone."""
        self._queue = []
        self._first = self._oldest = self._loss = None
        self.bytes = self._replay_bytes = self._holes = 0


def _joined(frames: list[bytes]) -> bytes:
    return frames[0] if len(frames) == 1 else b"".join(frames)
