"""The life of a task, stored at each step: submitted, claimed by a worker, ended, tried again.

The database is the truth. What a step changes in memory, it changes after the commit and before anything else runs,
so the two never tell different stories; at each start memory is rebuilt from the database.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import msgspec
import trio
from attrs import define

from poppo_ipc.commands import Context
from poppo_ipc.daemon._times import now_ms
from poppo_ipc.daemon.store import Row, Store, StoredAnswers, StoreError, Transaction
from poppo_ipc.daemon.tasks import _rows as rows
from poppo_ipc.daemon.tasks._counts import Counts
from poppo_ipc.daemon.tasks._options import TaskOptions
from poppo_ipc.daemon.tasks._output import Follower, TaskPrint
from poppo_ipc.daemon.tasks._schedule import Schedule, Waiting
from poppo_ipc.daemon.workers import Ending, Job, JobOutcome
from poppo_ipc.errors import Conflict, NotFound

__all__ = ["ALL_QUEUES", "RunningTask", "Stopper", "TaskQueue"]

logger = logging.getLogger("poppo_ipc.daemon.tasks")

#: Stands for every queue, those to come included, in the table of paused queues.
ALL_QUEUES: Final = "*"
_FLUSH_SECONDS: Final = 0.25
_FLUSH_PARTS: Final = 256
_STORE_RETRY_SECONDS: Final = 1.0


class Stopper(Protocol):
    """Who can stop a running task: the worker pool."""

    def cancel_job(self, task_id: str) -> bool:
        """Stop the task; False where it does not run there."""


@define(eq=False)
class RunningTask:
    """A task that a worker has."""

    waiting: Waiting
    attempt: int
    max_attempts: int
    type: str
    worker_id: str
    started_ms: int
    printed: TaskPrint
    cancelled: bool = False


class TaskQueue:
    """All tasks of a daemon. Give it to a `WorkerPool` as its source of jobs, and `load` before."""

    def __init__(self, store: Store, answers: StoredAnswers, options: TaskOptions) -> None:
        self.store = store
        self.answers = answers
        self.options = options
        self.schedule = Schedule()
        self.counts = Counts()
        self.running: dict[str, RunningTask] = {}
        self.stopper: Stopper | None = None
        self.numbers = itertools.count(1)
        self._claiming: set[str] = set()
        self._unwanted: set[str] = set()  # cancelled while they were being claimed
        self._changed = trio.Event()
        self._ended: dict[str, trio.Event] = {}
        self._followers: dict[str, list[Follower]] = {}
        self._on_activity: Callable[[str, int], None] = lambda project, ms: None

    # -- starting -----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Rebuild memory from the database. What was running when the daemon died is tried again, or has failed.

        Call it when the projects are known to `schedule`. Raises StoreError.
        """
        await self.store.write(self._recover)
        waiting, counts, last, paused = await self.store.read(_load)
        self.numbers = itertools.count(last + 1)
        for name, project, state, number in counts:
            self.counts.add(name, project, state, number)
        for name, is_paused in sorted(paused, key=lambda entry: entry[0] != ALL_QUEUES):
            queue = None if name == ALL_QUEUES else name
            (self.schedule.pause if is_paused else self.schedule.resume)(queue)
        now = now_ms()
        for task in waiting:
            self.schedule.add(task, now)
        self.wake()

    def _recover(self, transaction: Transaction) -> None:
        now = now_ms()
        for row in transaction.execute("SELECT * FROM tasks WHERE status = 'running' ORDER BY number").fetchall():
            error = "the daemon died while the task ran"
            again = row["attempt"] < row["max_attempts"]
            rows.end_attempt(transaction, row["id"], row["attempt"], "interrupted", error, now)
            if again:
                rows.put_back(transaction, row["id"], due_ms=now, error=error)
            else:
                rows.finish(transaction, row["id"], "failed", error=error, now=now)
            transaction.publish("task.failed", {**_event(row), "error": error, "willRetry": again})

    # -- submitting ---------------------------------------------------------------------------------------------

    async def submit(self, ctx: Context | None, task: rows.NewTask) -> dict[str, str]:
        """Store a task and let it wait; gives `{"taskId": …}`, which is stored as the answer of `ctx`.

        One that was submitted with the same `submit_key` is not stored again. Raises StoreError.
        """

        def change(transaction: Transaction) -> dict[str, str]:
            if task.submit_key is not None:
                row = transaction.one("SELECT id FROM tasks WHERE submit_key = ?", (task.submit_key,))
                if row is not None:
                    return {"taskId": row["id"]}
            rows.insert(transaction, task)
            return {"taskId": task.id}

        result = await self.answers.commit(ctx, change)
        if result["taskId"] == task.id:
            self._enqueue(task)
        return result

    async def retry(self, ctx: Context | None, task: rows.NewTask) -> dict[str, str]:
        """Store a task that runs the work of `task.retry_of` again. Raises Conflict where that one has not ended."""
        answer = {"message": f"Task {task.retry_of} retried", "newTaskId": task.id}

        def change(transaction: Transaction) -> dict[str, str]:
            row = transaction.one("SELECT status FROM tasks WHERE id = ?", (task.retry_of,))
            if row is None or row["status"] not in ("failed", "cancelled"):
                raise Conflict(f"Task {task.retry_of} has changed meanwhile; look at its status")
            rows.insert(transaction, task)
            return answer

        await self.answers.commit(ctx, change)
        self._enqueue(task)
        return answer

    def _enqueue(self, task: rows.NewTask) -> None:
        self.counts.add(task.queue, task.project, "pending")
        self.schedule.add(Waiting(task.id, task.number, task.queue, task.project, task.priority, task.due_ms), now_ms())
        self.wake()

    def wake(self) -> None:
        """Look again for a task that may run."""
        self._changed.set()

    # -- running (a worker pool's JobSource) ----------------------------------------------------------------------

    async def next_job(self, worker_id: str) -> Job:
        """Wait for a task that may run, and claim it for a worker: it is stored as running when this returns."""
        while True:
            task = self.schedule.pick(now_ms())
            if task is None:
                await self._until_changed()
                continue
            self._claiming.add(task.id)
            try:
                job = await self._claim(task, worker_id)
            except BaseException as error:
                # Not claimed: it waits on. A store that fails is asked again, in a while.
                self.schedule.add(task, now_ms())
                if not isinstance(error, StoreError):
                    self.wake()
                    raise
                logger.error("A task could not be claimed: %s", error)
                await trio.sleep(_STORE_RETRY_SECONDS)
            else:
                if job is not None and await self._wanted(job, worker_id):
                    return job
            finally:
                self._claiming.discard(task.id)

    async def _wanted(self, job: Job, worker_id: str) -> bool:
        if job.task_id not in self._unwanted:
            return True
        self._unwanted.discard(job.task_id)
        await self.job_ended(job, worker_id, JobOutcome(ending=Ending.CANCELLED, error="cancelled"))
        return False

    async def _until_changed(self) -> None:
        due = self.schedule.next_due()
        seconds = float("inf") if due is None else max(0.0, (due - now_ms()) / 1000)
        with trio.move_on_after(seconds):
            await self._changed.wait()
        if self._changed.is_set():
            self._changed = trio.Event()

    async def _claim(self, task: Waiting, worker_id: str) -> Job | None:
        started = now_ms()

        def change(transaction: Transaction) -> tuple[Row, str | None] | None:
            row = rows.claim(transaction, task.id, worker_id, started)
            if row is None:
                return None
            transaction.publish("task.started", _event(row))
            return row, rows.project_path(transaction, row["project_id"])

        claimed = await self.store.write(change)
        # Others may be waiting for what is left.
        self.wake()
        if claimed is None:
            return None
        row, path = claimed
        self.counts.move(task.queue, task.project, "pending", "running")
        printed = TaskPrint(
            task.id,
            row["attempt"],
            self.options.output_bytes,
            self._followers.setdefault(task.id, []),
            part=row["part"],
            kept=row["output_bytes"],
        )
        self.running[task.id] = RunningTask(
            task, row["attempt"], row["max_attempts"], row["type"], worker_id, started, printed
        )
        if task.project is not None:
            self._on_activity(task.project, started)
        timeout_ms = row["timeout_ms"]
        return Job(
            task_id=task.id,
            attempt=row["attempt"],
            type=row["type"],
            payload=msgspec.json.decode(row["payload"]),
            cwd=path,
            timeout=None if timeout_ms is None else timeout_ms / 1000,
        )

    def job_output(self, job: Job, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Take what a task printed."""
        running = self.running.get(job.task_id)
        if running is not None:
            running.printed.write(stream, data)

    async def job_ended(self, job: Job, worker_id: str, outcome: JobOutcome) -> None:
        """Store how a task ended, with the last of its output; returns when that is on disk. Raises StoreError."""
        running = self.running[job.task_id]
        running.printed.finish()
        parts = running.printed.take()
        ending = Ending.CANCELLED if running.cancelled and outcome.ending is not Ending.COMPLETED else outcome.ending
        again = ending is Ending.INTERRUPTED or (
            ending not in (Ending.COMPLETED, Ending.CANCELLED) and running.attempt < running.max_attempts
        )
        now = now_ms()
        due = now if ending is Ending.INTERRUPTED else now + int(self.options.retry.delay(running.attempt) * 1000)

        def change(transaction: Transaction) -> str:
            running.printed.store(transaction, parts)
            return _store_end(transaction, job, outcome, ending, due if again else None, now)

        state = await self._write_surely(change)
        del self.running[job.task_id]
        task = running.waiting
        self.counts.move(task.queue, task.project, "running", state)
        if state == "pending":
            task.due_ms = due
            self.schedule.add(task, now_ms())
            self.wake()
        else:
            self.finished(task.id)
        if task.project is not None:
            self._on_activity(task.project, now)

    async def _write_surely(self, change: Callable[[Transaction], str]) -> str:
        """A task that has ended must not be run again for a disk that was full for a moment."""
        while True:
            try:
                return await self.store.write(change)
            except StoreError as error:
                logger.error("The end of a task could not be stored, and is tried again: %s", error)
                await trio.sleep(_STORE_RETRY_SECONDS)

    def finished(self, task_id: str) -> None:
        """A task has come to its end: tell who waits for that, or reads along."""
        event = self._ended.pop(task_id, None)
        if event is not None:
            event.set()
        for follower in self._followers.pop(task_id, ()):
            follower.end()

    async def until_ended(self, task_id: str) -> None:
        """Wait until a task that has not ended has."""
        if task_id in self.running or task_id in self.schedule or task_id in self._claiming:
            await self._ended.setdefault(task_id, trio.Event()).wait()

    def stop_running(self, task_id: str) -> bool:
        """Have a running task stopped; False where it does not run. It is stored as cancelled when it has stopped."""
        running = self.running.get(task_id)
        if running is not None:
            running.cancelled = True
            if self.stopper is not None:
                self.stopper.cancel_job(task_id)
        elif task_id in self._claiming:
            self._unwanted.add(task_id)
        return running is not None

    # -- output ---------------------------------------------------------------------------------------------------

    def follow(self, task_id: str) -> Follower | None:
        """Read along with a task that waits or runs; None where it has ended. Give it back to `unfollow`."""
        if task_id not in self.running and task_id not in self.schedule and task_id not in self._claiming:
            return None
        follower = Follower()
        self._followers.setdefault(task_id, []).append(follower)
        return follower

    def unfollow(self, task_id: str, follower: Follower) -> None:
        """Read along no longer."""
        followers = self._followers.get(task_id)
        if followers is not None and follower in followers:
            followers.remove(follower)
            if not followers and task_id not in self.running:
                del self._followers[task_id]

    async def flush_output(self, task_id: str) -> None:
        """Store what a running task has printed so far. Raises StoreError."""
        running = self.running.get(task_id)
        if running is not None and running.printed.pending:
            parts = running.printed.take()
            await self.store.write(lambda transaction: running.printed.store(transaction, parts))

    async def run(self) -> None:
        """Store what running tasks print, four times a second, until cancelled."""
        while True:
            await trio.sleep(_FLUSH_SECONDS)
            for task_id in list(self.running):
                try:
                    await self.flush_output(task_id)
                except StoreError as error:
                    logger.error("Output of task %s could not be stored: %s", task_id, error)

    # -- what projects need -----------------------------------------------------------------------------------------

    def on_activity(self, callback: Callable[[str, int], None]) -> None:
        """Have `callback(project, unix_ms)` called when a task of a project starts or ends."""
        self._on_activity = callback

    def running_of(self, project: str) -> list[str]:
        """The tasks of a project that run."""
        return [task_id for task_id, running in self.running.items() if running.waiting.project == project]

    def withdrawn(self, task: Row) -> None:
        """A pending task was stored as cancelled."""
        self.schedule.remove(task["id"])
        self.counts.move(task["queue"], task["project_id"], "pending", "cancelled")
        self.finished(task["id"])

    def deleted(self, gone: list[Row]) -> None:
        """Tasks were deleted from the database."""
        for row in gone:
            self.schedule.remove(row["id"])
            self.counts.add(row["queue"], row["project_id"], row["status"], -1)
            self.finished(row["id"])

    async def cancel(self, ctx: Context | None, task_id: str) -> dict[str, str]:
        """Cancel a task that waits, or have one that runs stopped, and wait until it is.

        Raises NotFound, Conflict where it has ended already, and StoreError. Cancelled, the stopping goes on.
        """
        answer = {"message": f"Task {task_id} cancelled"}
        waited: list[Row] = []

        def change(transaction: Transaction) -> dict[str, str]:
            row = transaction.one("SELECT id, status, queue, project_id FROM tasks WHERE id = ?", (task_id,))
            if row is None:
                raise NotFound(f"There is no task {task_id}")
            if row["status"] == "pending":
                rows.finish(transaction, task_id, "cancelled", error="cancelled", now=now_ms())
                waited.append(row)
            elif row["status"] != "running":
                raise Conflict(f"Task {task_id} is {row['status']} already")
            return answer

        await self.answers.commit(ctx, change)
        if waited:
            self.withdrawn(waited[0])
        else:
            self.stop_running(task_id)
            await self.until_ended(task_id)
        return answer


def _store_end(
    transaction: Transaction, job: Job, outcome: JobOutcome, ending: Ending, due_ms: int | None, now: int
) -> str:
    """Store the end of an attempt and its event; gives the state of the task from here on."""
    row = transaction.one("SELECT * FROM tasks WHERE id = ?", (job.task_id,))
    assert row is not None
    duration = outcome.duration * 1000
    if ending is Ending.COMPLETED:
        rows.end_attempt(transaction, job.task_id, job.attempt, ending.value, None, now)
        rows.finish(transaction, job.task_id, "completed", result=outcome.result, now=now)
        transaction.publish("task.completed", {**_event(row), "durationMs": round(duration, 3)})
        return "completed"
    error = "cancelled" if ending is Ending.CANCELLED else outcome.error or ending.value
    rows.end_attempt(transaction, job.task_id, job.attempt, ending.value, error, now)
    transaction.publish("task.failed", {**_event(row), "error": error, "willRetry": due_ms is not None})
    if due_ms is not None:
        rows.put_back(transaction, job.task_id, due_ms=due_ms, error=error, spent=ending is not Ending.INTERRUPTED)
        return "pending"
    state = "cancelled" if ending is Ending.CANCELLED else "failed"
    rows.finish(transaction, job.task_id, state, result=outcome.result, error=error, now=now)
    return state


def _event(row: Row) -> dict[str, Any]:
    return {
        "taskId": row["id"],
        "type": row["type"],
        "projectId": row["project_id"],
        "workerId": row["worker_id"],
        "attempt": row["attempt"],
    }


def _load(
    connection: sqlite3.Connection,
) -> tuple[list[Waiting], list[tuple[str, str | None, str, int]], int, list[tuple[str, bool]]]:
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
    last = connection.execute("SELECT coalesce(max(number), 0) FROM tasks").fetchone()[0]
    paused = [(row[0], bool(row[1])) for row in connection.execute("SELECT name, paused FROM queues")]
    return waiting, counts, last, paused
