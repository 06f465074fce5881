"""The events that are kept for clients that come back (capability `replay`, WIRE.md section 4)."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable

from attrs import frozen

from poppo_ipc.server._outbox import EventFrame

__all__ = ["EventLog", "Missed"]


@frozen
class Missed:
    """What a client that comes back has missed: `kept` can be replayed; `gap` says that there was more.

    `missed` counts what is known to be missed, of any name; None where that cannot be known.
    """

    kept: list[EventFrame]
    gap: bool
    missed: int | None


class EventLog:
    """Numbers events and keeps the last of them: at most `events` of them and `size` bytes of their frames.

    `epoch` names the numbering: a new one begins with each log, unless the caller keeps events on disk and gives the
    epoch and the `seq` that the log goes on from.
    """

    def __init__(self, events: int, size: int, *, epoch: str | None = None, seq: int = 0) -> None:
        self.epoch = secrets.token_hex(8) if epoch is None else epoch
        self.seq = seq
        self._max_events = events
        self._max_bytes = size
        self._kept: deque[EventFrame] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def append(self, event: EventFrame) -> None:
        """Keep an event; its `seq` is one more than the last one's."""
        assert event.seq == self.seq + 1
        self.seq += 1
        kept = self._kept
        kept.append(event)
        self._bytes += len(event.frame)
        while len(kept) > self._max_events or self._bytes > self._max_bytes:
            self._bytes -= len(kept.popleft().frame)

    def since(self, epoch: str, seq: int) -> Missed:
        """What came after `seq` of `epoch`.

        In another epoch everything kept came after, and how much of the old one was missed cannot be known. A `seq`
        that was not given out yet cannot be of this log.
        """
        if epoch != self.epoch:
            return Missed(list(self._kept), gap=True, missed=None)
        if seq > self.seq:
            return Missed([], gap=True, missed=None)
        oldest = self.seq - len(self._kept) + 1
        lost = max(0, oldest - seq - 1)
        return Missed(self._after(seq), gap=lost > 0, missed=lost)

    def _after(self, seq: int) -> list[EventFrame]:
        kept = self._kept
        count = min(len(kept), self.seq - seq)
        # From the newer end: a client that was away for a moment wants few of many.
        newest_first = [kept[-each] for each in range(1, count + 1)] if count < len(kept) else list(reversed(kept))
        return newest_first[::-1]

    def restore(self, events: Iterable[EventFrame]) -> None:
        """Take in events of an earlier run, oldest first, whose numbers end at `seq`."""
        for event in events:
            self._kept.append(event)
            self._bytes += len(event.frame)
