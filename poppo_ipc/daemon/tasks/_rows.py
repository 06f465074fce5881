"""The rows of a task: every statement that the queue needs, in one place."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
from attrs import frozen

from poppo_ipc.daemon.store import Row, Transaction

__all__ = [
    "NewTask",
    "claim",
    "delete_tasks",
    "end_attempt",
    "finish",
    "insert",
    "project_path",
    "put_back",
    "set_paused",
]


@frozen(kw_only=True)
class NewTask:
    """A task about to be stored."""

    id: str
    number: int
    type: str
    project: str | None
    queue: str
    payload: Any
    priority: int
    timeout_ms: int | None
    max_attempts: int
    due_ms: int
    created_ms: int
    retry_of: str | None = None
    submit_key: str | None = None


def insert(transaction: Transaction, task: NewTask) -> None:
    """Store a new task, pending."""
    transaction.execute(
        "INSERT INTO tasks (id, number, type, status, project_id, queue, payload, priority, timeout_ms, max_attempts,"
        " attempt, due_ms, created_ms, retry_of, submit_key) "
        "VALUES (?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
        (
            task.id,
            task.number,
            task.type,
            task.project,
            task.queue,
            msgspec.json.encode(task.payload).decode(),
            task.priority,
            task.timeout_ms,
            task.max_attempts,
            task.due_ms,
            task.created_ms,
            task.retry_of,
            task.submit_key,
        ),
    )


def claim(transaction: Transaction, task_id: str, worker_id: str, now: int) -> Row | None:
    """Mark a pending task as running on a worker, with a new attempt; its row, or None where it is not pending."""
    changed = transaction.execute(
        "UPDATE tasks SET status = 'running', attempt = attempt + 1, started_ms = ?, worker_id = ?, error = NULL "
        "WHERE id = ? AND status = 'pending'",
        (now, worker_id, task_id),
    ).rowcount
    if not changed:
        return None
    row = transaction.one(
        "SELECT *, (SELECT coalesce(max(part), 0) FROM output WHERE task_id = id) AS part FROM tasks WHERE id = ?",
        (task_id,),
    )
    assert row is not None
    transaction.execute(
        "INSERT OR REPLACE INTO attempts (task_id, attempt, worker_id, started_ms) VALUES (?, ?, ?, ?)",
        (task_id, row["attempt"], worker_id, now),
    )
    return row


def end_attempt(transaction: Transaction, task_id: str, attempt: int, ending: str, error: str | None, now: int) -> None:
    """Store how an attempt ended."""
    transaction.execute(
        "UPDATE attempts SET ended_ms = ?, ending = ?, error = ? WHERE task_id = ? AND attempt = ?",
        (now, ending, error, task_id, attempt),
    )


def finish(
    transaction: Transaction, task_id: str, status: str, *, result: Any = None, error: str | None = None, now: int
) -> bool:
    """Store the end of a task that is pending or running; False where it is neither."""
    return bool(
        transaction.execute(
            "UPDATE tasks SET status = ?, completed_ms = ?, result = ?, error = ? "
            "WHERE id = ? AND status IN ('pending', 'running')",
            (status, now, None if result is None else msgspec.json.encode(result).decode(), error, task_id),
        ).rowcount
    )


def put_back(transaction: Transaction, task_id: str, *, due_ms: int, error: str | None, spent: bool = True) -> None:
    """Make a running task pending again; its attempt does not count where it was not `spent`."""
    transaction.execute(
        "UPDATE tasks SET status = 'pending', due_ms = ?, error = ?, worker_id = NULL, attempt = attempt - ? "
        "WHERE id = ? AND status = 'running'",
        (due_ms, error, 0 if spent else 1, task_id),
    )


def set_paused(transaction: Transaction, queue: str, paused: bool) -> None:
    """Store whether a queue is paused; `*` stands for all, those to come included."""
    transaction.execute("INSERT OR REPLACE INTO queues (name, paused) VALUES (?, ?)", (queue, int(paused)))


def project_path(connection: sqlite3.Connection | Transaction, project: str | None) -> str | None:
    """The directory of a project."""
    if project is None:
        return None
    row = connection.execute("SELECT path FROM projects WHERE id = ?", (project,)).fetchone()
    return None if row is None else str(row["path"])


def delete_tasks(transaction: Transaction, where: str, parameters: tuple[Any, ...]) -> list[Row]:
    """Delete tasks that do not run, with their attempts and output; gives id, queue, project and state of each."""
    rows = transaction.execute(
        f"SELECT id, queue, project_id, status FROM tasks WHERE status != 'running' AND ({where})", parameters
    ).fetchall()
    transaction.executemany("DELETE FROM tasks WHERE id = ?", [(row["id"],) for row in rows])
    return rows
