"""The past: what is kept of it, and what a window shows."""

from __future__ import annotations

import pytest

from poppo_ipc.daemon.monitoring._families import Family, Histogram, Kind, Reading
from poppo_ipc.daemon.monitoring._requests import LATENCY_BOUNDS
from poppo_ipc.daemon.monitoring._ring import DEFAULT_TIERS, SampleRing
from poppo_ipc.daemon.monitoring._summary import moment, percentile, period

COUNTER = Family("c", Kind.COUNTER, "", ("requests", "c"))
GAUGE = Family("g", Kind.GAUGE, "", ("process", "g"), scale=1000.0)
HISTOGRAM = Family("h", Kind.HISTOGRAM, "", ("requests", "h"), scale=1000.0)
PER_QUEUE = Family("q", Kind.COUNTER, "", ("queue", "$0", "q.$1", "$1"), ("queue", "state"))


def histogram(*seconds: float) -> Histogram:
    buckets = [0] * (len(LATENCY_BOUNDS) + 1)
    for each in seconds:
        buckets[next((i for i, bound in enumerate(LATENCY_BOUNDS) if each <= bound), -1)] += 1
    return Histogram(tuple(buckets), sum(seconds))


def reading(at: float, count: float = 0.0, gauge: float = 0.0, *seconds: float) -> Reading:
    made = Reading(at)
    made.put(COUNTER, count)
    made.put(GAUGE, gauge)
    made.histograms[HISTOGRAM, ()] = histogram(*seconds)
    return made


def test_counters_become_rates_over_the_window() -> None:
    ring = SampleRing()
    for step in range(13):
        ring.add(reading(step * 5.0, step * 10.0))
    shown = period(ring.window(reading(62.0, 150.0), 30.0, began=0.0))
    # From the sample at 30 s, which counted 60, to now.
    assert shown["requests"]["c"] == {"increase": 90, "perSecond": round(90 / 32, 6)}


def test_a_counter_that_was_set_back_counts_from_nothing() -> None:
    ring = SampleRing()
    ring.add(reading(0.0, 100.0, 0.0, 0.001, 0.001))
    window = ring.window(reading(10.0, 7.0, 0.0, 0.001), 5.0, began=0.0)
    assert window.counters[COUNTER, ()] == 7
    assert window.histograms[HISTOGRAM, ()].count == 1


def test_gauges_become_last_least_greatest_and_average() -> None:
    ring = SampleRing()
    for step, value in enumerate([99.0, 1.0, 5.0, 3.0]):
        ring.add(reading(step * 5.0, 0.0, value))
    shown = period(ring.window(reading(20.0, 0.0, 7.0), 20.0, began=0.0))
    assert shown["process"]["g"] == {"last": 7000, "min": 1000, "max": 7000, "avg": 4000}


def test_histograms_become_percentiles_of_the_window_alone() -> None:
    ring = SampleRing()
    ring.add(reading(0.0, 0.0, 0.0, *[20.0] * 100))
    shown = period(ring.window(reading(10.0, 0.0, 0.0, *[20.0] * 100, *[0.0009] * 100), 5.0, began=0.0))
    assert shown["requests"]["h"]["count"] == 100
    assert 0.5 < shown["requests"]["h"]["p50"] <= 1.0
    assert shown["requests"]["h"]["p99"] <= 1.0
    assert shown["requests"]["h"]["avg"] == pytest.approx(0.9)


def test_before_the_first_sample_a_window_begins_with_the_daemon() -> None:
    window = SampleRing().window(reading(10.0, 40.0), 300.0, began=2.0)
    assert window.seconds == 8.0
    assert window.counters[COUNTER, ()] == 40


def test_a_window_longer_than_the_past_says_how_long_it_is() -> None:
    ring = SampleRing()
    ring.add(reading(100.0, 10.0))
    ring.add(reading(105.0, 20.0))
    window = ring.window(reading(110.0, 30.0), 86400.0, began=0.0)
    assert window.seconds == 10.0
    assert window.counters[COUNTER, ()] == 20


def test_a_day_of_readings_takes_a_bounded_number_of_samples_and_loses_no_extreme() -> None:
    ring = SampleRing()
    steps = 2 * 86400 // 5
    for step in range(steps):
        ring.add(reading(step * 5.0, float(step), 777.0 if step == steps - 10_000 else 1.0))
    assert len(ring) <= sum(count for _, count in DEFAULT_TIERS)
    now = steps * 5.0
    for seconds, slack in ((30, 5), (300, 5), (3600, 60), (86400, 600)):
        window = ring.window(reading(now, float(steps), 1.0), seconds, began=0.0)
        assert seconds <= window.seconds <= seconds + slack
        assert window.counters[COUNTER, ()] == pytest.approx(window.seconds / 5)
    assert window.gauges[GAUGE, ()].high == 777.0
    assert ring.window(reading(now, float(steps), 1.0), 36_000, began=0.0).gauges[GAUGE, ()].high == 1.0


def test_what_does_not_change_is_kept_once() -> None:
    ring = SampleRing()
    ring.add(reading(0.0, 5.0, 0.0, 0.1))
    later = reading(5.0, 5.0, 0.0, 0.1)
    assert later.counters is not ring._kept[0][0].counters
    ring.add(later)
    first, second = ring._kept[0]
    assert first.counters is second.counters
    assert first.histograms[HISTOGRAM, ()] is second.histograms[HISTOGRAM, ()]


def test_labels_are_placed_and_idle_series_left_out_of_a_window() -> None:
    made = reading(5.0)
    made.put(PER_QUEUE, 3.0, "de/fault", "done")
    made.put(PER_QUEUE, 0.0, "idle", "done")
    window = SampleRing().window(made, 5.0, began=0.0)
    assert period(window)["queue"] == {"de/fault": {"q.$1": {"done": {"increase": 3, "perSecond": 0.6}}}}
    assert moment(made)["queue"]["idle"] == {"q.$1": {"done": 0}}


def test_only_the_sections_that_were_asked_for() -> None:
    made = reading(5.0)
    assert set(moment(made, ("requests", "events"))) == {"requests", "events"}
    assert moment(made, ("events",)) == {"events": {}}


@pytest.mark.parametrize(
    ("seconds", "share", "low", "high"),
    [
        ([], 0.5, None, None),
        ([0.003], 0.5, 0.0025, 0.005),
        ([0.003] * 98 + [2.0] * 2, 0.95, 0.0025, 0.005),
        ([0.003] * 98 + [2.0] * 2, 0.99, 1.0, 2.5),
        ([500.0], 0.5, 30.0, 30.0),
        ([0.00001] * 4, 0.5, 0.000025, 0.000025),
    ],
)
def test_percentiles(seconds: list[float], share: float, low: float | None, high: float | None) -> None:
    found = percentile(histogram(*seconds), share)
    if low is None or high is None:
        assert found is None
    else:
        assert found is not None
        assert low <= found <= high
