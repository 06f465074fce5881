"""What is told of readings: a moment as it is, a window as rates, ranges and percentiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from poppo_ipc.daemon.monitoring._families import METRIC_TYPES, Histogram, Reading, Series, nest
from poppo_ipc.daemon.monitoring._requests import LATENCY_BOUNDS
from poppo_ipc.daemon.monitoring._ring import Span, Window

__all__ = ["moment", "percentile", "period"]

_PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
Placed = tuple[tuple[str, ...], Any]


def moment(reading: Reading, sections: Sequence[str] = METRIC_TYPES[1:]) -> dict[str, Any]:
    """Counters since the start, gauges as they are, histograms since the start."""

    def values() -> Iterator[Placed]:
        for series, value in {**reading.counters, **reading.gauges}.items():
            yield _place(series), _rounded(value * series[0].scale)
        for series, histogram in reading.histograms.items():
            yield _place(series), _spread(histogram, series[0].scale)

    return nest(_within(values(), sections), sections)


def period(window: Window, sections: Sequence[str] = METRIC_TYPES[1:]) -> dict[str, Any]:
    """Counters as `{increase, perSecond}`, gauges as `{last, min, max, avg}`, histograms as `{count, avg, p50 …}`.

    A command that was not asked for in the window is left out.
    """
    seconds = window.seconds

    def values() -> Iterator[Placed]:
        for series, grown in window.counters.items():
            if grown or not series[1]:
                scaled = grown * series[0].scale
                rate = scaled / seconds if seconds > 0 else 0.0
                yield _place(series), {"increase": _rounded(scaled), "perSecond": _rounded(rate)}
        for series, span in window.gauges.items():
            yield _place(series), _range(span, series[0].scale)
        for series, histogram in window.histograms.items():
            if histogram.count or not series[1]:
                yield _place(series), _spread(histogram, series[0].scale)

    return nest(_within(values(), sections), sections)


def _place(series: Series) -> tuple[str, ...]:
    family, labels = series
    return family.place(labels)


def _within(values: Iterable[Placed], sections: Sequence[str]) -> Iterator[Placed]:
    return ((path, value) for path, value in values if path and path[0] in sections)


def _range(span: Span, scale: float) -> dict[str, float]:
    values = {"last": span.last, "min": span.low, "max": span.high, "avg": span.total / span.count}
    return {name: _rounded(value * scale) for name, value in values.items()}


def _spread(histogram: Histogram, scale: float) -> dict[str, float | None]:
    count = histogram.count
    spread: dict[str, float | None] = {
        "count": count,
        "avg": _rounded(histogram.total / count * scale) if count else None,
    }
    for name, share in _PERCENTILES:
        value = percentile(histogram, share)
        spread[name] = None if value is None else _rounded(value * scale)
    return spread


def percentile(histogram: Histogram, share: float, bounds: Sequence[float] = LATENCY_BOUNDS) -> float | None:
    """What `share` of the values are not above, as far as the buckets tell; None where there are none.

    Within a bucket the values are taken to be spread evenly. Those beyond the last bound count as being on it.
    """
    rank = histogram.count * share
    if not histogram.count:
        return None
    below = 0
    for index, upper in enumerate(bounds):
        inside = histogram.buckets[index]
        if inside and below + inside >= rank:
            lower = bounds[index - 1] if index else 0.0
            return lower + (upper - lower) * (rank - below) / inside
        below += inside
    return bounds[-1]


def _rounded(value: float) -> float:
    """To six decimals, and whole numbers as such: nobody reads the 17th digit of a rate."""
    short = round(value, 6)
    return int(short) if short == int(short) else short
