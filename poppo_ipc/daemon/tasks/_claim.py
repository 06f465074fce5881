"""A task that a worker is about to get, and what is stored of that."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from attrs import define

from poppo_ipc.daemon.store import Row, Transaction
from poppo_ipc.daemon.tasks import _rows as rows
from poppo_ipc.daemon.tasks._ending import task_event
from poppo_ipc.daemon.tasks._schedule import Waiting
from poppo_ipc.daemon.workers import Job

__all__ = ["Claim", "Claimed"]

#: The task's row as it is stored now, and the path of its project.
Claimed: TypeAlias = tuple[Row, str | None]


@define(eq=False)
class Claim:
    """A task that was picked for a worker, ready to be stored as running."""

    task: Waiting
    worker_id: str
    now: int

    def store(self, transaction: Transaction) -> Claimed | None:
        """Store it with its event; None where the task is not pending any more, as it was cancelled or deleted."""
        task, now = self.task, self.now
        row = rows.claim(transaction, task.id, self.worker_id, now)
        if row is None:
            return None
        rows.touch_project(transaction, task.project, now)
        transaction.publish("task.started", task_event(row))
        return row, rows.project_path(transaction, task.project)

    @staticmethod
    def job(claimed: Claimed) -> Job:
        """What the worker is to run."""
        row, path = claimed
        timeout_ms = row["timeout_ms"]
        return Job(
            task_id=row["id"],
            attempt=row["attempt"],
            type=row["type"],
            payload=msgspec.json.decode(row["payload"]),
            cwd=path,
            timeout=None if timeout_ms is None else timeout_ms / 1000,
        )
