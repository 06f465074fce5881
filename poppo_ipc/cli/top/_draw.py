"""Figures as short texts, and the past as curves of block characters. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import Final

from poppo_ipc.cli._plain import bytes_text

__all__ = ["age_text", "clock", "count_text", "curve", "percent_text", "rate_text", "size_text", "time_text"]

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_NONE: Final = "-"


def curve(values: Sequence[float | None], width: int, height: int = 1) -> list[str]:
    """The last `width` values as columns, the newest on the right, in `height` lines from the top down.

    The greatest shown one fills the height. Each value has at least the lowest block; a hole is where there was none.
    """
    shown = list(islice(reversed(values), max(0, width)))[::-1]
    top = max((value for value in shown if value is not None), default=0.0)
    steps = [_steps(value, top, height) for value in shown]
    return [
        "".join(_BLOCKS[min(8, max(0, step - row * 8))] for step in steps).rjust(max(0, width))
        for row in range(height - 1, -1, -1)
    ]


def _steps(value: float | None, top: float, height: int) -> int:
    if value is None:
        return 0
    return max(1, round(value / top * height * 8)) if top > 0 else 1


def rate_text(value: float | None) -> str:
    """Something a second."""
    return _NONE if value is None else f"{count_text(value)}/s"


def count_text(value: float | None) -> str:
    """A number in at most six characters."""
    if value is None:
        return _NONE
    for factor, unit in ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")):
        scaled = value / factor
        if abs(scaled) < 999.95 or unit == "G" or (not unit and abs(value) < 10_000):
            if scaled == int(scaled) and not unit:
                return f"{int(scaled)}{unit}"
            return f"{scaled:.0f}{unit}" if abs(scaled) >= 1000 else f"{scaled:.1f}{unit}"
    return _NONE


def time_text(milliseconds: float | None) -> str:
    """A time that something took: `0.42 ms`, `12.3 s`."""
    if milliseconds is None:
        return _NONE
    if milliseconds < 999.5:
        digits = 0 if milliseconds >= 99.95 else 1 if milliseconds >= 9.995 else 2
        return f"{milliseconds:.{digits}f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 100 else age_text(seconds)


def age_text(seconds: float | None) -> str:
    """How long ago, in at most four characters: `5s`, `12m`, `3h`, `40d`."""
    if seconds is None:
        return _NONE
    whole = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= size * (1 if unit == "d" else 2):
            return f"{whole // size}{unit}"
    return f"{whole}s"


def percent_text(value: float | None) -> str:
    """A share of one processor."""
    return _NONE if value is None else f"{value:.0f}%"


def size_text(count: float | None) -> str:
    """A size in few characters: `12.3M`."""
    return _NONE if count is None else bytes_text(count).replace(" ", "").replace("iB", "")


def clock(moment: float | None) -> str:
    """The time of day of a moment in Unix seconds."""
    if moment is None:
        return "        "
    try:
        return time.strftime("%H:%M:%S", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return "--------"
