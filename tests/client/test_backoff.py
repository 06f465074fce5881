"""The waits between tries."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.client import Backoff


def waits(policy: Backoff, randoms: list[float], count: int = 100, step: float = 0.0) -> list[float]:
    """What `policy` gives for these random numbers, with `step` seconds passing besides the waits."""
    clock = [0.0]
    given_out = []
    source = itertools.cycle(randoms)
    for delay in itertools.islice(policy.delays(lambda: next(source), lambda: clock[0]), count):
        given_out.append(delay)
        clock[0] += delay + step
    return given_out


def test_full_jitter_under_a_growing_bound() -> None:
    assert waits(Backoff(), [1.0], 10) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0])
    assert waits(Backoff(), [0.5, 0.0, 0.25], 3) == pytest.approx([0.05, 0.0, 0.1])


def test_attempts_bound_the_number_of_waits() -> None:
    assert len(waits(Backoff(attempts=3), [0.3])) == 3


def test_total_bounds_the_time_and_the_last_try_falls_on_its_end() -> None:
    assert waits(Backoff(start=1, total=5), [1.0]) == pytest.approx([1, 2, 2])
    assert waits(Backoff(start=1, total=5), [1.0], step=1.5) == pytest.approx([1, 2])


@given(st.integers(0, 100_000), st.floats(0.001, 10), st.floats(1, 10), st.floats(0.001, 100))
def test_no_bound_is_over_the_cap_or_overflows(attempt: int, start: float, factor: float, cap: float) -> None:
    policy = Backoff(start=start, factor=factor, cap=cap)
    assert 0 < policy.bound(attempt) <= cap
    assert policy.bound(attempt) <= policy.bound(attempt + 1)


@pytest.mark.parametrize("wrong", [{"start": 0}, {"factor": 0.5}, {"cap": -1}, {"attempts": 0}, {"total": 0}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Backoff(**wrong)  # type: ignore[arg-type]
