"""The rows of a task: every statement that the queue needs, in one place."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from attrs import define

from poppo_ipc.daemon.store import Row, Transaction
from poppo_ipc.daemon.tasks._schedule import Waiting
from poppo_ipc.errors import Conflict, NotFound

__all__ = [
    "ALL_QUEUES",
    "NewTask",
    "claim",
    "complete",
    "delete_tasks",
    "end_attempt",
    "find_piece",
    "finish",
    "get",
    "insert",
    "last_number",
    "load",
    "mark_unwanted",
    "project_path",
    "put_back",
    "set_paused",
    "submitted",
    "touch_project",
]


#: Stands for every queue, those to come included, in the table of paused queues: no queue has this name.
ALL_QUEUES: Final = ""


@define(kw_only=True, eq=False)
class NewTask:
    """A task about to be stored. Never changed: not frozen, as that would cost each submission some microseconds."""

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
    """Store a new task, pending. Raises NotFound where its project does not exist (any more)."""
    stored = transaction.execute(
        "INSERT INTO tasks (id, number, type, status, project_id, queue, payload, priority, timeout_ms, max_attempts,"
        " attempt, due_ms, created_ms, retry_of, submit_key) "
        "SELECT ?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ? WHERE ? IS NULL"
        " OR EXISTS (SELECT 1 FROM projects WHERE id = ?)",
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
            task.project,
            task.project,
        ),
    ).rowcount
    if not stored:
        raise NotFound(f"There is no project {task.project}")


def claim(transaction: Transaction, task_id: str, worker_id: str, now: int) -> Row | None:
    """Mark a pending task as running on a worker, with a new attempt; its row, or None where it is not pending."""
    changed = transaction.execute(
        "UPDATE tasks SET status = 'running', attempt = attempt + 1, started_ms = ?, worker_id = ?, error = NULL "
        "WHERE id = ? AND status = 'pending'",
        (now, worker_id, task_id),
    ).rowcount
    if not changed:
        return None
    row = get(transaction, task_id)
    assert row is not None
    # An attempt that was interrupted and did not count gives its number to the next.
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


def complete(transaction: Transaction, task_id: str, result: str | None, now: int) -> bool:
    """Store that a running task has completed; False where it was to be stopped, and nothing is stored."""
    return bool(
        transaction.execute(
            "UPDATE tasks SET status = 'completed', completed_ms = ?, result = ?, error = NULL "
            "WHERE id = ? AND status = 'running' AND unwanted = 0",
            (now, result, task_id),
        ).rowcount
    )


def finish(
    transaction: Transaction,
    task_id: str,
    status: str,
    *,
    result: str | None = None,
    error: str | None = None,
    now: int,
) -> bool:
    """Store the end of a task that is pending or running, with its result as JSON; False where it is neither."""
    return bool(
        transaction.execute(
            "UPDATE tasks SET status = ?, completed_ms = ?, result = ?, error = ? "
            "WHERE id = ? AND status IN ('pending', 'running')",
            (status, now, result, error, task_id),
        ).rowcount
    )


def put_back(transaction: Transaction, task_id: str, *, due_ms: int, error: str | None, spent: bool = True) -> None:
    """Make a running task pending again; its attempt does not count where it was not `spent`."""
    transaction.execute(
        "UPDATE tasks SET status = 'pending', due_ms = ?, error = ?, worker_id = NULL, attempt = attempt - ? "
        "WHERE id = ? AND status = 'running'",
        (due_ms, error, 0 if spent else 1, task_id),
    )


def mark_unwanted(transaction: Transaction, task_ids: list[str]) -> list[str]:
    """Mark tasks as to be stopped, and give those that run: however they end, they are not tried again."""
    return [
        task_id
        for task_id in task_ids
        if transaction.execute("UPDATE tasks SET unwanted = 1 WHERE id = ? AND status = 'running'", (task_id,)).rowcount
    ]


def set_paused(transaction: Transaction, queue: str, paused: bool) -> bool:
    """Store whether a queue is paused, or for `ALL_QUEUES` all, those to come included; whether that is a change."""
    states = {row["name"]: bool(row["paused"]) for row in transaction.execute("SELECT name, paused FROM queues")}
    if queue == ALL_QUEUES:
        changed = any(state != paused for state in {ALL_QUEUES: False, **states}.values())
        transaction.execute("DELETE FROM queues")
    else:
        changed = states.get(queue, states.get(ALL_QUEUES, False)) != paused
    transaction.execute("INSERT OR REPLACE INTO queues (name, paused) VALUES (?, ?)", (queue, int(paused)))
    return changed


def get(transaction: Transaction, task_id: str) -> Row | None:
    """A task's row."""
    return transaction.one("SELECT * FROM tasks WHERE id = ?", (task_id,))


def touch_project(transaction: Transaction, project: str | None, now: int) -> None:
    """A task of the project has started or ended."""
    if project is not None:
        transaction.execute("UPDATE projects SET active_ms = ? WHERE id = ?", (now, project))


def submitted(transaction: Transaction, task: NewTask) -> Row | None:
    """The task that was submitted with the same key. Raises Conflict where it is another one."""
    if task.submit_key is None:
        return None
    row = transaction.one("SELECT * FROM tasks WHERE submit_key = ?", (task.submit_key,))
    if row is not None:
        before = (row["type"], row["project_id"], row["queue"], row["priority"], msgspec.json.decode(row["payload"]))
        payload = msgspec.json.decode(msgspec.json.encode(task.payload))
        if before != (task.type, task.project, task.queue, task.priority, payload):
            raise Conflict("This idempotency key was used for another task; use a new key")
    return row


def project_path(connection: sqlite3.Connection | Transaction, project: str | None) -> str | None:
    """The directory of a project."""
    if project is None:
        return None
    row = connection.execute("SELECT path FROM projects WHERE id = ?", (project,)).fetchone()
    return None if row is None else str(row["path"])


def delete_tasks(transaction: Transaction, where: str, parameters: Sequence[Any]) -> list[Row]:
    """Delete tasks that do not run, with their attempts and output; gives id, queue, project and state of each."""
    rows = transaction.execute(
        f"SELECT id, queue, project_id, status FROM tasks WHERE status != 'running' AND ({where})", parameters
    ).fetchall()
    transaction.executemany("DELETE FROM tasks WHERE id = ?", [(row["id"],) for row in rows])
    return rows


def last_number(connection: sqlite3.Connection | Transaction) -> int:
    """The number of the task that was stored last; 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM tasks").fetchone()[0])


def find_piece(
    connection: sqlite3.Connection | Transaction,
    where: str,
    parameters: Sequence[Any],
    numbers: tuple[int, int],
    limits: tuple[int, int],
) -> tuple[list[Row], bool]:
    """The first tasks that do not run of those numbered above one number and up to another; and whether there are more.

    Gives the id and the number of each, by number. `limits` are how many there may be, and how many bytes of
    output they may have altogether; but one, where there is one.
    """
    count, size = limits
    found = connection.execute(
        "SELECT id, number, output_bytes FROM tasks WHERE number > ? AND number <= ? AND status != 'running'"
        f" AND ({where}) ORDER BY number LIMIT ?",
        (*numbers, *parameters, count + 1),
    ).fetchall()
    total = 0
    for index, row in enumerate(found):
        total += row["output_bytes"]
        if index == count or (index and total > size):
            return found[:index], True
    return found, False


def load(
    connection: sqlite3.Connection,
) -> tuple[list[Waiting], list[tuple[str, str | None, str, int]], int, list[tuple[str, bool]]]:
    """What waits, how many tasks there are by queue, project and state, the last number, and the paused queues."""
    pending = connection.execute(
        "SELECT id, number, queue, project_id, priority, due_ms FROM tasks WHERE status = 'pending' ORDER BY number"
    )
    waiting = [Waiting(*row) for row in pending]
    counts = [
        (row[0], row[1], row[2], row[3])
        for row in connection.execute(
            "SELECT queue, project_id, status, count(*) FROM tasks GROUP BY queue, project_id, status"
        )
    ]
    paused = [(row[0], bool(row[1])) for row in connection.execute("SELECT name, paused FROM queues")]
    return waiting, counts, last_number(connection), paused
