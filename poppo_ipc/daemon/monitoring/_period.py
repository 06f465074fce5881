"""How far back: `30s`, `5m`, `1h`, `1d` as seconds."""

from __future__ import annotations

import re
from typing import Final

from poppo_ipc.errors import InvalidArgs

__all__ = ["PERIOD_CHOICES", "parse_period"]

#: What an error offers; any number with one of these units is taken.
PERIOD_CHOICES: Final = ("30s", "5m", "1h", "1d")
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PERIOD: Final = re.compile(r"([0-9]{1,9})([smhd])")


def parse_period(text: str, *, field: str = "period", longest: float | None = None) -> float:
    """The period in seconds; it is at least one second.

    Args:
        text: a whole number and `s`, `m`, `h` or `d`.
        field: the name of the argument, for the error.
        longest: the most seconds that can be asked for; None for no bound.

    Raises InvalidArgs, with `choices` in its details.
    """
    found = _PERIOD.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found is not None else 0.0
    if seconds < 1:
        raise _invalid(field, f"expected a number above 0 and s, m, h or d, such as {', '.join(PERIOD_CHOICES)}")
    if longest is not None and seconds > longest:
        raise _invalid(field, f"only the last {longest:g} seconds are kept; ask for less")
    return seconds


def _invalid(field: str, problem: str) -> InvalidArgs:
    error = InvalidArgs.of(field, problem)
    error.details = {**(error.details or {}), "choices": list(PERIOD_CHOICES)}
    return error
