"""How attempts at tasks end, in the store: for good, to be tried again, or by the death of the daemon."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from attrs import define, evolve

from poppo_ipc.commands.standard import TASK_CANCEL
from poppo_ipc.daemon.store import Row, Transaction, error_json
from poppo_ipc.daemon.tasks import _rows as rows
from poppo_ipc.daemon.tasks._output import Unsaved
from poppo_ipc.daemon.workers import Ending, Job, JobOutcome
from poppo_ipc.errors import Conflict

__all__ = ["AttemptEnd", "cancelled", "not_cancelled", "recover", "task_event"]

# Goes into events, lists and logs, where a line is what one wants to read.
_LONGEST_ERROR: Final = 2000


@define(eq=False)
class AttemptEnd:
    """The end of one attempt, ready to be stored, with the last of its output."""

    project: str | None
    job: Job
    worker_id: str
    outcome: JobOutcome
    unsaved: Unsaved
    result: str | None
    due_ms: int
    """When the task is due again, should it be tried again."""
    now: int

    @classmethod
    def of(
        cls,
        project: str | None,
        job: Job,
        worker_id: str,
        outcome: JobOutcome,
        unsaved: Unsaved,
        due_ms: int,
        now: int,
    ) -> AttemptEnd:
        """A result that is no JSON fails the attempt: it could not be stored, however often that is tried."""
        result = None
        if outcome.error is not None:
            outcome = evolve(outcome, error=outcome.error[:_LONGEST_ERROR])
        if outcome.result is not None:
            try:
                result = msgspec.json.encode(outcome.result).decode()
            except Exception as error:
                text = f"The result is no JSON: {error}"[:_LONGEST_ERROR]
                outcome = evolve(outcome, ending=Ending.FAILED, result=None, error=text)
        return cls(project, job, worker_id, outcome, unsaved, result, due_ms, now)

    def store(self, transaction: Transaction) -> str:
        """Store it with its event; gives the state of the task from here on."""
        self.unsaved.store(transaction)
        if self.outcome.ending is Ending.COMPLETED:
            self._store_completed(transaction)
            state = "completed"
        else:
            row = rows.get(transaction, self.job.task_id)
            assert row is not None
            state = self._store_failure(transaction, row)
        rows.touch_project(transaction, self.project, self.now)
        return state

    def _store_completed(self, transaction: Transaction) -> None:
        job, now = self.job, self.now
        # Most tasks complete, and nobody wanted them stopped: without a look at the row.
        if not rows.complete(transaction, job.task_id, self.result, now):
            _deny_cancelled(transaction, job.task_id, "completed")
            rows.finish(transaction, job.task_id, "completed", result=self.result, now=now)
        rows.end_attempt(transaction, job.task_id, job.attempt, Ending.COMPLETED.value, None, now)
        event = {
            "taskId": job.task_id,
            "type": job.type,
            "projectId": self.project,
            "workerId": self.worker_id,
            "attempt": job.attempt,
            "durationMs": round(self.outcome.duration * 1000, 3),
        }
        transaction.publish("task.completed", event)

    def _store_failure(self, transaction: Transaction, row: Row) -> str:
        task_id, ending, now = self.job.task_id, self.outcome.ending, self.now
        cancelled = ending is Ending.CANCELLED or bool(row["unwanted"])
        spent = ending is not Ending.INTERRUPTED
        again = not cancelled and (not spent or row["attempt"] < row["max_attempts"])
        error = "cancelled" if cancelled else self.outcome.error or ending.value
        rows.end_attempt(transaction, task_id, self.job.attempt, ending.value, error, now)
        transaction.publish("task.failed", {**task_event(row), "error": error, "willRetry": again})
        if again:
            rows.put_back(transaction, task_id, due_ms=self.due_ms, error=error, spent=spent)
            return "pending"
        state = "cancelled" if cancelled else "failed"
        rows.finish(transaction, task_id, state, result=self.result, error=error, now=now)
        return state


def recover(transaction: Transaction, now: int) -> None:
    """What ran when the daemon died is tried again, or has failed; what was to be stopped is cancelled."""
    for row in transaction.execute("SELECT * FROM tasks WHERE status = 'running' ORDER BY number").fetchall():
        error = "cancelled" if row["unwanted"] else "the daemon died while the task ran"
        again = not row["unwanted"] and row["attempt"] < row["max_attempts"]
        rows.end_attempt(transaction, row["id"], row["attempt"], Ending.INTERRUPTED.value, error, now)
        if again:
            rows.put_back(transaction, row["id"], due_ms=now, error=error)
        else:
            state = "cancelled" if row["unwanted"] else "failed"
            rows.finish(transaction, row["id"], state, error=error, now=now)
        transaction.publish("task.failed", {**task_event(row), "error": error, "willRetry": again})


def cancelled(task_id: str) -> dict[str, str]:
    """The answer of who cancelled a task."""
    return {"message": f"Task {task_id} cancelled"}


def not_cancelled(task_id: str, state: str) -> Conflict:
    """The error of who wanted to cancel a task that has ended."""
    return Conflict(f"Task {task_id} is {state} already")


def _deny_cancelled(transaction: Transaction, task_id: str, state: str) -> None:
    """The task has ended otherwise than those who cancel it were to be told: so say the answers stored for them."""
    error = error_json(not_cancelled(task_id, state))
    transaction.correct_answers(TASK_CANCEL.name, msgspec.json.encode(cancelled(task_id)), error)


def task_event(row: Row) -> dict[str, Any]:
    """The data that every event of a task has."""
    return {
        "taskId": row["id"],
        "type": row["type"],
        "projectId": row["project_id"],
        "workerId": row["worker_id"],
        "attempt": row["attempt"],
    }
