"""Periods as people write them."""

from __future__ import annotations

import pytest

from poppo_ipc.daemon.monitoring import parse_period
from poppo_ipc.errors import InvalidArgs


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("1h", 3600), ("1d", 86400), ("007s", 7)])
def test_number_and_unit(text: str, seconds: float) -> None:
    assert parse_period(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "0s", "1w", "1.5h", "5m\n", "٣s", "1" * 10 + "s"])
def test_others_are_refused_with_the_choices(text: str) -> None:
    with pytest.raises(InvalidArgs) as caught:
        parse_period(text)
    assert caught.value.details is not None
    assert caught.value.details["field"] == "period"
    assert caught.value.details["choices"] == ["30s", "5m", "1h", "1d"]


def test_longer_than_what_is_kept() -> None:
    assert parse_period("1d", longest=86400) == 86400
    with pytest.raises(InvalidArgs, match="last 86400 seconds"):
        parse_period("2d", field="since", longest=86400)
