"""The output of all tasks that run, and those who read along."""

from __future__ import annotations

from collections.abc import Iterable

from poppo_ipc.daemon.store import Row, Store, Transaction
from poppo_ipc.daemon.tasks._output import Follower, StreamName, TaskPrint, Unsaved

__all__ = ["Printing"]


class Printing:
    """What running tasks print, on its way to the store and to followers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._prints: dict[str, TaskPrint] = {}
        self._followers: dict[str, list[Follower]] = {}

    def begin(self, row: Row, limit: int) -> None:
        """An attempt has begun; `limit` bounds the bytes kept of the task."""
        task_id = row["id"]
        # The task's own list, which outlives the attempt.
        followers = self._followers.setdefault(task_id, [])
        self._prints[task_id] = TaskPrint(
            task_id, row["attempt"], limit, followers, end=row["output_end"], kept=row["output_bytes"]
        )

    def write(self, task_id: str, stream: StreamName, data: bytes) -> None:
        """Take what a task printed."""
        printed = self._prints.get(task_id)
        if printed is not None:
            printed.write(stream, data)

    def finish(self, task_id: str) -> Unsaved:
        """The attempt prints no more; gives what is still to be stored, to be stored with the end of it."""
        printed = self._prints[task_id]
        printed.finish()
        return printed.unsaved()

    def end(self, task_id: str, *, task: bool = True) -> None:
        """The attempt has ended, and all of its output is stored; with `task` the task has, too."""
        self._prints.pop(task_id, None)
        if task:
            for follower in self._followers.pop(task_id, ()):
                follower.end()

    async def flush(self, task_ids: Iterable[str]) -> None:
        """Store what these tasks have printed so far. Raises StoreError; it is stored with the next flush then."""
        printing = [self._prints[task_id] for task_id in task_ids if task_id in self._prints]
        unsaved = [(printed, printed.unsaved()) for printed in printing if printed.pending]

        def change(transaction: Transaction) -> list[int]:
            return [parts.store(transaction) for _, parts in unsaved]

        def after(ends: list[int]) -> None:
            for (printed, _), end in zip(unsaved, ends, strict=True):
                printed.saved(end)

        if unsaved:
            await self._store.write(change, after)

    def follow(self, task_id: str) -> Follower:
        """Read along with a task that has not ended."""
        follower = Follower()
        self._followers.setdefault(task_id, []).append(follower)
        return follower

    def unfollow(self, task_id: str, follower: Follower) -> None:
        """Read along no longer."""
        followers = self._followers.get(task_id)
        if followers is not None and follower in followers:
            followers.remove(follower)
            if not followers and task_id not in self._prints:
                del self._followers[task_id]
