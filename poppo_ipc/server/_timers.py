"""All deadlines of a server in one heap and one task.

A cancel scope per request would cost more than most requests do; a timer that never fires costs a push here.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import Final

import trio

__all__ = ["Timer", "Timers"]

_COMPACT_FROM: Final = 256


class Timer:
    """One deadline: `cancel` it when it no longer matters."""

    __slots__ = ("_timers", "callback", "deadline")

    def __init__(self, timers: Timers, deadline: float, callback: Callable[[], None]) -> None:
        self._timers = timers
        self.deadline = deadline
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Never call back; harmless when it has."""
        if self.callback is not None:
            self.callback = None
            self._timers.one_less()


class Timers:
    """Calls back at given times on Trio's clock, from the one task that runs `run`."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0
        self._sleep = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        """Have `callback` called at `deadline` (seconds on Trio's clock). It must not raise or block."""
        timer = Timer(self, deadline, callback)
        heapq.heappush(self._heap, (deadline, next(self._order), timer))
        if deadline < self._sleep.deadline:
            self._sleep.deadline = deadline
        return timer

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """The same, `seconds` from now."""
        return self.at(trio.current_time() + seconds, callback)

    def one_less(self) -> None:
        """A timer was cancelled: it is dropped with the others once they are half of the heap."""
        self._cancelled += 1
        if self._cancelled > _COMPACT_FROM and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def run(self) -> None:
        """Call back until cancelled."""
        while True:
            self._fire(trio.current_time())
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf) as self._sleep:
                await trio.sleep_forever()

    def _fire(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._cancelled -= 1
            else:
                callback()
