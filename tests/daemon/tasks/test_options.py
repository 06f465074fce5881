"""What can be chosen about tasks."""

from __future__ import annotations

from typing import Any

import pytest

from poppo_ipc.daemon.tasks import Retry, TaskOptions


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_the_delay_before_another_attempt_grows_with_chance_and_to_its_cap(chance: float) -> None:
    retry = Retry(base=2.0, factor=3.0, cap=50.0, random=lambda: chance)
    share = 0.5 + chance / 2
    assert [retry.delay(attempt) for attempt in (1, 2, 3, 4, 5)] == [
        2.0 * share, 6.0 * share, 18.0 * share, 50.0 * share, 50.0 * share,
    ]  # fmt: skip
    assert retry.delay(10_000) == 50.0 * share


@pytest.mark.parametrize(
    "wrong",
    [{"base": -1.0}, {"factor": 0.5}, {"cap": -1.0}],
)
def test_delays_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Retry(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"max_attempts": 0}, {"output_bytes": 0}, {"keep_seconds": -1.0}, {"keep_count": 0}],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        TaskOptions(**wrong)
