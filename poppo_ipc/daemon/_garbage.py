"""The garbage collector, as suits a process that is a daemon and nothing else."""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["spare_garbage_collector"]

# New objects, and then collections of the younger generation, from one collection to the next.
_THRESHOLDS: Final = (20_000, 20, 20)


def spare_garbage_collector() -> None:
    """Have Python look for cycles more seldom, and never again among the objects that there are now.

    For the program that runs a daemon, once that is ready: it changes the whole process, so a library must not. What a
    command allocates is kept (events, answers, tasks) or freed by its last reference. Looking through all that is kept
    for cycles, with every 700 new objects, took a quarter of the time that it takes to submit a task.
    """
    gc.freeze()  # with no collection before it, which would take some tens of milliseconds of the start
    gc.set_threshold(*_THRESHOLDS)
