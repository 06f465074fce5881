"""Names for things: short, unique, and in the order in which they were made."""

from __future__ import annotations

import secrets
import time
from typing import Final

__all__ = ["new_id"]

# Crockford's base 32: no letter that looks like a digit.
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_DIGITS: Final = 9  # milliseconds, good until the year 3084
_RANDOM_DIGITS: Final = 7  # 35 bits for each millisecond


def new_id(kind: str) -> str:
    """A new id that begins with `kind`: `new_id("t")` gives `t-` and 16 letters and digits."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{kind}-{_digits(milliseconds, _TIME_DIGITS)}{_digits(secrets.randbits(35), _RANDOM_DIGITS)}"


def _digits(number: int, width: int) -> str:
    found = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        found.append(_DIGITS[digit])
    return "".join(reversed(found))
