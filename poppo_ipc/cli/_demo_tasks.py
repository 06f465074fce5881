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
        time.sleep(0.02)
    return {"lines": lines}


def fragile(started: str) -> str:
    """At first, wait to be killed; a second time, end well.

    It opens the pipe `started`, to tell that it runs and by which process, and the pipe is gone the second time.
    """
    pipe = Path(started)
    if pipe.exists():
        pipe.write_text(f"{os.getpid()}\n")
        time.sleep(60)
    return "ended well"
