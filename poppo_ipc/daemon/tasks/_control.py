"""Queues as a whole: pausing, resuming, clearing, and how they have done."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from attrs import define

from poppo_ipc.commands import Context
from poppo_ipc.commands.standard import Percentiles, QueueStats, QueueStatus
from poppo_ipc.daemon.store import Row, Transaction
from poppo_ipc.daemon.tasks import _rows as rows
from poppo_ipc.daemon.tasks._queue import TaskQueue

__all__ = ["QueueControl", "percentile"]

# Tasks deleted with one change, and bytes of their output: some milliseconds, in which nothing else is stored.
_PIECE: Final = 500
_PIECE_OUTPUT: Final = 4 * 1024 * 1024
# Of so many tasks altogether, those that are to go are found with the change that deletes them.
_FEW: Final = 10_000
_OUTDATED: Final = (
    "id IN (SELECT id FROM tasks WHERE completed_ms < ? ORDER BY completed_ms LIMIT ?)"
    " OR id IN (SELECT id FROM tasks WHERE completed_ms IS NOT NULL"
    " ORDER BY completed_ms DESC, rowid DESC LIMIT ? OFFSET ?)"
)


class _TooMany(Exception):
    """More than go with one change."""


@define(eq=False)
class _Clearing:
    """What is to be cleared, by a condition on the tasks' rows, and how far that has come."""

    label: str
    where: str
    parameters: list[Any]
    gone: int = 0
    seen: int = 0
    """The number of the last task that was looked at."""

    def find(self, connection: sqlite3.Connection | Transaction, upto: int) -> tuple[list[Row], bool]:
        """The next piece, and whether there is more."""
        limits = (_PIECE, _PIECE_OUTPUT)
        return rows.find_piece(connection, self.where, self.parameters, (self.seen, upto), limits)

    def delete(self, transaction: Transaction, piece: list[Row]) -> list[Row]:
        """Delete a piece, as far as it is still what was looked for."""
        ids = [row["id"] for row in piece]
        where = f"id IN ({', '.join('?' * len(ids))}) AND ({self.where})"
        return rows.delete_tasks(transaction, where, [*ids, *self.parameters])

    def delete_all(self, transaction: Transaction) -> list[Row]:
        """Delete all of them. Raises _TooMany."""
        piece, more = self.find(transaction, rows.last_number(transaction))
        if more:
            raise _TooMany
        return self.delete(transaction, piece)


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
        """Pause or resume a queue, or all for None, those to come included; told as an event where it changes."""
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
            if rows.set_paused(transaction, rows.ALL_QUEUES if name is None else name, paused):
                transaction.publish("queue.status-changed", data)
            return answer

        def after(answer: dict[str, str]) -> None:
            if paused:
                self._queue.schedule.pause(name)
            else:
                self._queue.schedule.resume(name)
                self._queue.wake()

        return await self._queue.answers.commit(ctx, change, after)

    async def clear(self, ctx: Context | None, name: str | None, status: str | None) -> dict[str, str]:
        """Delete the tasks of a queue, or of all for None, in one state or any; never one that runs. Raises StoreError.

        Few go at once. Many go in pieces, the oldest first, the last with the answer; between the pieces other changes
        are stored, so that workers may take some that were to go, and what is submitted meanwhile stays. Where it does
        not come to its end (it is cancelled, the disk fails, the daemon dies) some are gone and the rest is as it was.
        Asked again, also with the same key, it clears the rest, and counts that alone.
        """
        where, parameters = "1", []  # type: tuple[str, list[Any]]
        if name is not None:
            where, parameters = f"{where} AND queue = ?", [*parameters, name]
        if status is not None:
            where, parameters = f"{where} AND status = ?", [*parameters, status]
        clearing = _Clearing("all" if name is None else name, where, parameters)
        if sum(self._queue.counts.of_queue(None).values()) <= _FEW:
            with suppress(_TooMany):
                return await self._clear_last(ctx, clearing, clearing.delete_all)
        store = self._queue.store
        # A write, so that it comes after all that is on its way to the disk.
        upto = await store.write(rows.last_number)
        while True:
            # Found by a reader: it takes long where few of many tasks are of this queue.
            piece, more = await store.read(lambda connection: clearing.find(connection, upto))
            delete = partial(clearing.delete, piece=piece)
            if not more:
                return await self._clear_last(ctx, clearing, delete)
            deleted = await store.write(delete, self._queue.deleted)
            clearing.gone += len(deleted)
            clearing.seen = piece[-1]["number"]

    async def _clear_last(
        self, ctx: Context | None, clearing: _Clearing, delete: Callable[[Transaction], list[Row]]
    ) -> dict[str, str]:
        cleared: list[Row] = []

        def change(transaction: Transaction) -> dict[str, str]:
            cleared[:] = delete(transaction)
            return {"message": f"Cleared {clearing.gone + len(cleared)} jobs from queue {clearing.label}"}

        return await self._queue.answers.commit(ctx, change, lambda answer: self._queue.deleted(cleared))

    async def stats(self, name: str | None, period: str, seconds: float) -> QueueStats:
        """How a queue, or all for None, has done in the last `seconds`. Raises StoreError."""
        since = self._queue.clock() - int(seconds * 1000)

        def ended(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
            # No time is below 0, though the clock may have been set back.
            found = connection.execute(
                "SELECT status, max(0, started_ms - max(created_ms, due_ms)), max(0, completed_ms - started_ms) "
                "FROM tasks WHERE completed_ms >= ? AND (? IS NULL OR queue = ?)",
                (since, name, name),
            )
            return [(row[0], row[1], row[2]) for row in found]

        done = await self._queue.store.read(ended)
        # Of what was cancelled nothing can be learned of how long it would have taken.
        ran = [(wait, run) for state, wait, run in done if state != "cancelled"]
        waits, times = sorted(wait for wait, _ in ran), sorted(run for _, run in ran)
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
        before = self._queue.clock() - int(options.keep_seconds * 1000)
        gone = 0
        while True:
            # In pieces: nothing else is committed meanwhile.
            deleted = await self._queue.store.write(
                lambda transaction: rows.delete_tasks(
                    transaction, _OUTDATED, (before, _PIECE, _PIECE, options.keep_count)
                ),
                self._queue.deleted,
            )
            gone += len(deleted)
            if not deleted:
                return gone


def percentile(ordered: list[int], share: float) -> float | None:
    """The smallest of the ordered numbers that `share` of them do not exceed (nearest rank); None for none."""
    if not ordered:
        return None
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])


def _percentiles(ordered: list[int]) -> Percentiles:
    return Percentiles(p50=percentile(ordered, 0.50), p95=percentile(ordered, 0.95), p99=percentile(ordered, 0.99))
