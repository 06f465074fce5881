"""Readings of the past, finer for the near past than for the far one."""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define, field, frozen

from poppo_ipc.daemon.monitoring._families import Histogram, Reading, Series

__all__ = ["DEFAULT_TIERS", "Span", "SampleRing", "Stretch", "Window"]

#: (seconds that one sample stands for, how many are kept): with a reading every 5 s, ten minutes of these, two hours
#: by the minute and a day by ten minutes. 384 samples: a few MiB at the most.
DEFAULT_TIERS: Final = ((0.0, 120), (60.0, 120), (600.0, 144))


@define
class Span:
    """What a gauge was over a stretch of time."""

    last: float
    low: float
    high: float
    total: float
    count: int

    @classmethod
    def of(cls, value: float) -> Span:
        """That of one reading."""
        return cls(value, value, value, value, 1)

    def then(self, later: Span) -> Span:
        """The span of both; `self` came first."""
        return Span(
            later.last,
            min(self.low, later.low),
            max(self.high, later.high),
            self.total + later.total,
            self.count + later.count,
        )


@define(eq=False)
class Stretch:
    """One sample: counters and histograms as they were at its end, gauges over the whole of it."""

    begin: float
    end: float
    counters: dict[Series, float]
    histograms: dict[Series, Histogram]
    gauges: dict[Series, Span] = field(factory=dict)

    @classmethod
    def of(cls, reading: Reading) -> Stretch:
        """That of one reading."""
        gauges = {series: Span.of(value) for series, value in reading.gauges.items()}
        return cls(reading.at, reading.at, reading.counters, reading.histograms, gauges)

    def then(self, later: Stretch) -> Stretch:
        """The stretch of both; `self` came first."""
        return Stretch(self.begin, later.end, later.counters, later.histograms, _joined(self.gauges, later.gauges))


@frozen(eq=False)
class Window:
    """From the end of one sample to a reading."""

    seconds: float
    counters: dict[Series, float]
    """By how much each counter grew."""
    histograms: dict[Series, Histogram]
    gauges: dict[Series, Span]


class SampleRing:
    """Keeps samples in tiers; what falls out of one is merged into the next, coarser one.

    Args:
        tiers: seconds that one sample of a tier stands for, and how many it keeps. In the first, each is a reading.
    """

    def __init__(self, tiers: tuple[tuple[float, int], ...] = DEFAULT_TIERS) -> None:
        self._tiers = tiers
        self._kept: list[deque[Stretch]] = [deque() for _ in tiers]

    def __len__(self) -> int:
        return sum(map(len, self._kept))

    def add(self, reading: Reading) -> None:
        """Keep a reading; each is later than the one before."""
        before = next((kept[-1] for kept in self._kept if kept), None)
        self._push(0, Stretch.of(reading if before is None else _sharing(reading, before)))

    def _push(self, tier: int, sample: Stretch) -> None:
        if tier == len(self._tiers):
            return
        seconds, capacity = self._tiers[tier]
        kept = self._kept[tier]
        if kept and sample.end - kept[-1].begin < seconds:
            kept[-1] = kept[-1].then(sample)
            return
        kept.append(sample)
        if len(kept) > capacity:
            self._push(tier + 1, kept.popleft())

    def window(self, reading: Reading, seconds: float, began: float) -> Window:
        """The last `seconds` before a reading, or what there is of them.

        It begins at the end of a sample, so it may be longer by what the sample stands for. `began` is the time at
        which all counters were 0, for a window that begins before the first sample.
        """
        base: Stretch | None = None
        gauges: dict[Series, Span] = {}
        for kept in reversed(self._kept):
            for sample in kept:
                if base is None or sample.end <= reading.at - seconds:
                    base, gauges = sample, {}
                else:
                    gauges = _joined(gauges, sample.gauges)
        counters = {} if base is None else base.counters
        histograms = {} if base is None else base.histograms
        return Window(
            seconds=max(0.0, reading.at - (began if base is None else base.end)),
            counters={series: _grown(value, counters.get(series, 0.0)) for series, value in reading.counters.items()},
            histograms={
                series: value.minus(histograms[series]) if series in histograms else value
                for series, value in reading.histograms.items()
            },
            gauges=_joined(gauges, Stretch.of(reading).gauges),
        )


def _grown(now: float, before: float) -> float:
    # Less than before: it was set back, and has grown to this since.
    return now - before if now >= before else now


def _joined(first: dict[Series, Span], later: dict[Series, Span]) -> dict[Series, Span]:
    joined = dict(first)
    for series, span in later.items():
        joined[series] = joined[series].then(span) if series in joined else span
    return joined


def _sharing(reading: Reading, before: Stretch) -> Reading:
    """The reading with what has not changed taken from the sample before: most commands are not in use."""
    if reading.counters == before.counters:
        reading.counters = before.counters
    for series, value in reading.histograms.items():
        known = before.histograms.get(series)
        if known == value:
            reading.histograms[series] = known
    return reading
