"""Counting answers."""

from __future__ import annotations

import pytest

from poppo_ipc.daemon.monitoring._requests import LATENCY_BOUNDS, OTHER, UNKNOWN, RequestMetrics


def test_counts_latency_and_errors_by_command() -> None:
    requests = RequestMetrics(["a", "b"])
    requests.on_answered("a", 0.002, None)
    requests.on_answered("a", 0.004, "NOT_FOUND")
    requests.on_answered("a", 0.004, "NOT_FOUND")
    series = requests.series["a"]
    assert series.count == 3
    assert series.seconds == pytest.approx(0.01)
    assert series.errors == {"NOT_FOUND": 2}
    assert requests.series["b"].count == 0


def test_a_bound_belongs_to_its_own_bucket() -> None:
    requests = RequestMetrics(["a"])
    for seconds in (0.0, LATENCY_BOUNDS[0], LATENCY_BOUNDS[1], LATENCY_BOUNDS[-1], LATENCY_BOUNDS[-1] + 1):
        requests.on_answered("a", seconds, None)
    buckets = requests.series["a"].buckets
    assert buckets[0] == 2
    assert buckets[1] == 1
    assert buckets[-2:] == [1, 1]


def test_names_that_a_client_makes_up_share_one_series() -> None:
    requests = RequestMetrics(["a"])
    for number in range(1000):
        requests.on_answered(f"made-up-{number}", 0.001, "UNKNOWN_COMMAND")
    assert set(requests.series) == {"a", UNKNOWN}
    assert requests.series[UNKNOWN].count == 1000


def test_codes_are_bounded() -> None:
    requests = RequestMetrics(["a"])
    for number in range(100):
        requests.on_answered("a", 0.001, f"CODE_{number}")
    errors = requests.series["a"].errors
    assert len(errors) == 33
    assert errors[OTHER] == 68
    assert sum(errors.values()) == 100


def test_a_command_that_is_made_known_again_keeps_its_counts() -> None:
    requests = RequestMetrics(["a"])
    requests.on_answered("a", 0.001, None)
    requests.know(["a", "b"])
    requests.on_answered("b", 0.001, None)
    assert requests.series["a"].count == requests.series["b"].count == 1
