"""Queues as a whole: pausing, resuming, clearing, and how they have done."""

from __future__ import annotations

import math
import sqlite3
from typing import Any

from poppo_ipc.commands import Context
from poppo_ipc.commands.standard import Percentiles, QueueStats, QueueStatus
from poppo_ipc.daemon._times import now_ms
from poppo_ipc.daemon.store import Transaction
from poppo_ipc.daemon.tasks import _rows as rows
from poppo_ipc.daemon.tasks._queue import ALL_QUEUES, TaskQueue

__all__ = ["QueueControl", "percentile"]


class QueueControl:
    """What can be done to the queues of `queue`."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue

    def status(self, name: str | None = None) -> QueueStatus:
        """The tasks of a queue by state; of all for None, which are paused where all of them are."""
        counts = self._queue.counts.of_queue(name)
        schedule = self._queue.schedule
        return QueueStatus(
            total=sum(counts.values()),
            pending=counts["pending"],
            running=counts["running"],
            completed=counts["completed"],
            failed=counts["failed"],
            paused=schedule.all_paused if name is None else schedule.is_paused(name),
        )

    async def set_paused(self, ctx: Context | None, name: str | None, paused: bool) -> dict[str, str]:
        """Pause or resume a queue, or all for None, those to come included. Stored, and told as an event."""
        label = "all" if name is None else name
        answer = {"message": f"Queue {label} {'paused' if paused else 'resumed'}"}
        status = self.status(name)
        data = {
            "queue": label,
            "status": "paused" if paused else "running",
            "total": status.total,
            "pending": status.pending,
            "running": status.running,
            "completed": status.completed,
            "failed": status.failed,
        }

        def change(transaction: Transaction) -> dict[str, str]:
            if name is None:
                transaction.execute("DELETE FROM queues")
            rows.set_paused(transaction, ALL_QUEUES if name is None else name, paused)
            transaction.publish("queue.status-changed", data)
            return answer

        await self._queue.answers.commit(ctx, change)
        if paused:
            self._queue.schedule.pause(name)
        else:
            self._queue.schedule.resume(name)
            self._queue.wake()
        return answer

    async def clear(self, ctx: Context | None, name: str | None, status: str | None) -> dict[str, str]:
        """Delete the tasks of a queue, or of all for None, in one state or any; never one that runs."""
        label = "all" if name is None else name
        where, parameters = "1", ()  # type: tuple[str, tuple[Any, ...]]
        if name is not None:
            where, parameters = f"{where} AND queue = ?", (*parameters, name)
        if status is not None:
            where, parameters = f"{where} AND status = ?", (*parameters, status)
        cleared: list[Any] = []

        def change(transaction: Transaction) -> dict[str, str]:
            cleared[:] = rows.delete_tasks(transaction, where, parameters)
            return {"message": f"Cleared {len(cleared)} jobs from queue {label}"}

        answer = await self._queue.answers.commit(ctx, change)
        self._queue.deleted(cleared)
        return answer

    async def stats(self, name: str | None, period: str, seconds: float) -> QueueStats:
        """How a queue, or all for None, has done in the last `seconds`. Raises StoreError."""
        since = now_ms() - int(seconds * 1000)

        def ended(connection: sqlite3.Connection) -> list[tuple[str, int | None, int | None]]:
            found = connection.execute(
                "SELECT status, started_ms - max(created_ms, due_ms), completed_ms - started_ms FROM tasks "
                "WHERE completed_ms >= ? AND (? IS NULL OR queue = ?)",
                (since, name, name),
            )
            return [(row[0], row[1], row[2]) for row in found]

        done = await self._queue.store.read(ended)
        waits = sorted(max(0, wait) for _, wait, _ in done if wait is not None)
        times = sorted(run for _, _, run in done if run is not None)
        completed = sum(state == "completed" for state, _, _ in done)
        failed = sum(state == "failed" for state, _, _ in done)
        status = self.status(name)
        return QueueStats(
            queue="all" if name is None else name,
            period=period,
            total=len(done) + status.pending + status.running,
            pending=status.pending,
            running=status.running,
            completed=completed,
            failed=failed,
            throughput=round(completed / (seconds / 60), 3),
            wait_ms=_percentiles(waits),
            run_ms=_percentiles(times),
            failures=failed,
        )

    async def trim(self) -> int:
        """Delete tasks that ended too long ago, or are too many; gives how many went. Raises StoreError."""
        options = self._queue.options
        before = now_ms() - int(options.keep_seconds * 1000)
        excess = (
            "completed_ms IS NOT NULL AND (completed_ms < ? OR completed_ms < (SELECT completed_ms FROM tasks"
            " WHERE completed_ms IS NOT NULL ORDER BY completed_ms DESC LIMIT 1 OFFSET ?))"
            " AND id IN (SELECT id FROM tasks WHERE completed_ms IS NOT NULL ORDER BY completed_ms LIMIT 500)"
        )
        gone = 0
        while True:
            deleted = await self._queue.store.write(
                lambda transaction: rows.delete_tasks(transaction, excess, (before, options.keep_count - 1))
            )
            self._queue.deleted(deleted)
            gone += len(deleted)
            if len(deleted) < 500:
                return gone


def percentile(ordered: list[int], share: float) -> float | None:
    """The smallest of the ordered numbers that `share` of them do not exceed (nearest rank); None for none."""
    if not ordered:
        return None
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])


def _percentiles(ordered: list[int]) -> Percentiles:
    return Percentiles(p50=percentile(ordered, 0.50), p95=percentile(ordered, 0.95), p99=percentile(ordered, 0.99))
