"""What can be said of named pipes without Windows: who may use one, and when to try a busy one again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

__all__ = ["FIRST_WAIT", "LONGEST_WAIT", "busy_waits", "descriptor_text", "lock_name"]

FIRST_WAIT: Final = 0.001
"""Most seconds between the first two tries at a pipe whose instances are all taken; doubled from try to try."""

LONGEST_WAIT: Final = 0.05
"""Most seconds that the wait between two tries grows to."""


# A pipe's name may have more characters than a file's, and those here are several for one.
_LOCK_NAME_CHARS: Final = 100


def descriptor_text(sid: str) -> str:
    """The descriptor, as SDDL, of a pipe that the user `sid` and the system may use, and nobody over the network.

    It is protected: nothing is inherited. The owner is named, since Windows would give what an elevated process makes
    to all administrators.
    """
    return f"O:{sid}D:P(D;;GA;;;NU)(A;;GA;;;{sid})(A;;GA;;;SY)"


def busy_waits(chance: random.Random | None = None) -> Iterator[float]:
    """Seconds to wait between tries at a pipe whose instances are all taken, for ever.

    They grow from 1 ms to 50 ms, each by chance between half of that and all of it: a crowd that came at once must not
    come at once again.
    """
    chance = chance or random.Random()
    wait = FIRST_WAIT
    while True:
        yield wait * chance.uniform(0.5, 1.0)
        wait = min(wait * 2, LONGEST_WAIT)


def lock_name(name: str) -> str:
    """A file name, the same for all cases of a pipe's name, and another for each other name.

    Windows has pipes named `a:b` and `con`, but no files.
    """
    lower = name.lower()
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else f"%{ord(c):x}." for c in lower)
    if len(plain) > _LOCK_NAME_CHARS:
        plain = f"{plain[:60]}-{sha256(lower.encode('utf-16-le', 'surrogatepass')).hexdigest()[:32]}"
    return f"pipe-{plain}"
