"""How many tasks there are in which state, kept in memory so that asking costs nothing."""

from __future__ import annotations

from collections import Counter
from typing import Final

from poppo_ipc.commands.standard import TaskCounts

__all__ = ["STATES", "Counts"]

STATES: Final = ("pending", "running", "completed", "failed", "cancelled")


class Counts:
    """Tasks by queue, project and state."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str | None, str]] = Counter()

    def add(self, queue: str, project: str | None, state: str, number: int = 1) -> None:
        """So many more tasks (fewer, where it is negative) in a state."""
        key = (queue, project, state)
        self._counts[key] += number
        if not self._counts[key]:
            del self._counts[key]

    def move(self, queue: str, project: str | None, before: str, after: str) -> None:
        """A task went from one state to another."""
        self.add(queue, project, before, -1)
        self.add(queue, project, after)

    def of_queue(self, queue: str | None) -> dict[str, int]:
        """The tasks of a queue by state, each state named; of all queues for None."""
        found = dict.fromkeys(STATES, 0)
        for (name, _, state), number in self._counts.items():
            if queue is None or name == queue:
                found[state] += number
        return found

    def of_project(self, project: str) -> TaskCounts:
        """The tasks of a project by state."""
        found = dict.fromkeys(STATES, 0)
        for (_, name, state), number in self._counts.items():
            if name == project:
                found[state] += number
        return TaskCounts(**found)

    @property
    def queues(self) -> set[str]:
        """The queues that have tasks."""
        return {queue for queue, _, _ in self._counts}
