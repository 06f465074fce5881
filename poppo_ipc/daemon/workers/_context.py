"""What a running task may ask about itself. Imported by worker processes: the standard library and msgspec only."""

from __future__ import annotations

import msgspec

__all__ = ["TaskContext", "current_task", "set_current"]


class TaskContext(msgspec.Struct, frozen=True):
    """The task that this worker process runs."""

    task_id: str
    attempt: int
    """1 for the first try, 2 for the second, …"""


_current: TaskContext | None = None


def current_task() -> TaskContext:
    """The task that runs in this process, asked from any of its threads.

    Raises:
        LookupError: this process runs no task.
    """
    if _current is None:
        raise LookupError("No task runs in this process: current_task() is for functions that a worker runs")
    return _current


def set_current(context: TaskContext | None) -> None:
    """Say which task runs from now on. For the worker's main loop."""
    global _current
    _current = context
