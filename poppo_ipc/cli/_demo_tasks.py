"""What the demo's workers run. A worker imports this module, so it has nothing in it but the tasks."""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["fragile", "report"]


def report(title: str, lines: int) -> dict[str, int]:
    """Print some lines, a moment apart, and give their number."""
    for number in range(1, lines + 1):
        print(f"{title}: line {number} of {lines}", flush=True)
        time.sleep(0.02)  # so that who watches sees them come
    return {"lines": lines}


def fragile(started: str) -> str:
    """At first, print by which process it is run and wait to be killed; a second time, end well.

    The file `started` is how it knows.
    """
    mark = Path(started)
    if not mark.exists():
        mark.touch()
        print(os.getpid(), flush=True)
        time.sleep(60)  # it is killed long before
    return "ended well"
