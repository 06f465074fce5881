"""How long things took: any number of times in a bounded room. Pure."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

__all__ = ["Spread"]

#: Each bucket ends where it began times this: a percentile is off by 1 % at the most.
_STEP: Final = 1.02
_LOG_STEP: Final = math.log(_STEP)
_LEAST: Final = 1e-9


class Spread:
    """Times in seconds, counted in buckets that grow by 2 %; the least, the greatest and the mean are exact."""

    def __init__(self) -> None:
        self.count = 0
        self.least = math.inf
        self.greatest = 0.0
        self._total = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self._total += seconds
        self.least = min(self.least, seconds)
        self.greatest = max(self.greatest, seconds)
        self._buckets[_bucket(seconds)] += 1

    @property
    def mean(self) -> float | None:
        """The mean; None of nothing."""
        return self._total / self.count if self.count else None

    def percentile(self, share: float) -> float | None:
        """What `share` of them, from 0 to 1, are not above; None of nothing."""
        wanted = share * self.count
        counted = 0
        for bucket in sorted(self._buckets):
            counted += self._buckets[bucket]
            if counted >= wanted:
                middle = math.exp((bucket + 0.5) * _LOG_STEP)
                return min(max(middle, self.least), self.greatest)
        return None

    def histogram(self, rows: int) -> list[tuple[float, float, int]]:
        """At most `rows` of (from, to, count), which grow by the same factor each and hold all but the highest 0.1 %.

        Those are in the last one, which ends at the greatest.
        """
        if not self.count:
            return []
        first = _bucket(self.least)
        last = _bucket(self.percentile(0.999) or 0.0)
        size = max(1, math.ceil((last - first + 1) / rows))
        counts = [0] * math.ceil((last - first + 1) / size)
        for bucket, count in self._buckets.items():
            counts[min((bucket - first) // size, len(counts) - 1)] += count
        edges = [math.exp((first + at * size) * _LOG_STEP) for at in range(len(counts) + 1)]
        edges[0], edges[-1] = self.least, max(self.greatest, edges[-2])
        return list(zip(edges, edges[1:], counts, strict=False))


def _bucket(seconds: float) -> int:
    return math.floor(math.log(max(seconds, _LEAST)) / _LOG_STEP)
