"""Names for things: short, unique, and in the order in which they were made."""

from __future__ import annotations

import os
import random
import time
from typing import Final

__all__ = ["new_id"]

# Crockford's base 32: no letter that looks like a digit.
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(a + b for a in _DIGITS for b in _DIGITS)
_RANDOM_BITS: Final = 35  # for each millisecond, of which the other 45 bits are good until the year 3084
_SHIFTS: Final = range(70, -1, -10)

# Ids are no secrets, and asking the system for each of its bits would hand Python's lock to another thread.
_random: Final = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_id(kind: str) -> str:
    """A new id that begins with `kind`: `new_id("t")` gives `t-` and 16 letters and digits."""
    number = time.time_ns() // 1_000_000 << _RANDOM_BITS | _random.getrandbits(_RANDOM_BITS)
    return kind + "-" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
