"""Times as the state keeps them, Unix milliseconds, and as commands give them, datetimes in UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

__all__ = ["as_datetime", "as_ms", "now_ms"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_ms() -> int:
    """Now."""
    return time.time_ns() // 1_000_000


def as_datetime(milliseconds: int | None) -> datetime | None:
    """The datetime of a stored time."""
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)


def as_ms(moment: datetime) -> int:
    """The stored form of a datetime with a time zone."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
