"""How late the event loop is: the time that a task has to wait for its turn."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

__all__ = ["LoopLag"]

# Half a minute of ticks: a health check that is asked for every few seconds sees each hiccup at least once.
_TICKS: Final = 60


class LoopLag:
    """Measures by a task that sleeps, and looks how much later than asked it runs again.

    Args:
        tick: seconds between two measurements.
        ticks: how many of the last measurements `worst` looks at.
    """

    def __init__(self, tick: float = 0.5, ticks: int = _TICKS) -> None:
        self._tick = tick
        self._recent: deque[float] = deque(maxlen=ticks)
        self._due: float | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        try:
            while True:
                self._due = trio.current_time() + self._tick
                await trio.sleep_until(self._due)
                self._recent.append(max(0.0, trio.current_time() - self._due))
        finally:
            self._due = None

    @property
    def running(self) -> bool:
        """Whether it measures."""
        return self._due is not None

    @property
    def last(self) -> float:
        """The last measurement in seconds, or by how much the next one is late already."""
        return max(self._recent[-1] if self._recent else 0.0, self._overdue())

    @property
    def worst(self) -> float:
        """The greatest of the recent measurements in seconds, the one that is due included."""
        return max(max(self._recent, default=0.0), self._overdue())

    def _overdue(self) -> float:
        return 0.0 if self._due is None else max(0.0, trio.current_time() - self._due)
