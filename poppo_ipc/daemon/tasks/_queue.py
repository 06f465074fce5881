"""The life of a task, stored at each step: submitted, claimed by a worker, ended, tried again.

The database is the truth. What a step changes in memory, it changes when its commit is told of, in the order of the
commits and before anybody hears of them, so the two never tell different stories; at each start memory is rebuilt from
the database.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Literal

import trio

from poppo_ipc.commands import Context
from poppo_ipc.daemon._times import now_ms
from poppo_ipc.daemon.store import Row, Store, StoredAnswers, StoreError, Transaction
from poppo_ipc.daemon.tasks import _rows as rows
from poppo_ipc.daemon.tasks._claim import Claim, Claimed
from poppo_ipc.daemon.tasks._counts import Counts
from poppo_ipc.daemon.tasks._ending import AttemptEnd, cancelled, not_cancelled, recover
from poppo_ipc.daemon.tasks._late import LateEnds
from poppo_ipc.daemon.tasks._options import TaskOptions
from poppo_ipc.daemon.tasks._output import Follower
from poppo_ipc.daemon.tasks._printing import Printing
from poppo_ipc.daemon.tasks._running import RunningTask, Stopper
from poppo_ipc.daemon.tasks._schedule import Schedule, Waiting
from poppo_ipc.daemon.workers import Ending, Job, JobOutcome
from poppo_ipc.errors import Conflict, NotFound

__all__ = ["TaskQueue"]

logger = logging.getLogger("poppo_ipc.daemon.tasks")

_FLUSH_SECONDS: Final = 0.25
_STORE_RETRY_SECONDS: Final = 1.0
# The clock of the wall can be set; whoever waits for a time looks at it again after so long.
_LONGEST_WAIT: Final = 60.0


class _Runs(Exception):
    """The task is not waiting: a worker has it."""


class TaskQueue:
    """All tasks of a daemon. Give it to a `WorkerPool` as its source of jobs, and `load` before.

    `clock` gives the Unix time in milliseconds.
    """

    def __init__(
        self, store: Store, answers: StoredAnswers, options: TaskOptions, *, clock: Callable[[], int] = now_ms
    ) -> None:
        self.store = store
        self.answers = answers
        self.options = options
        self.clock = clock
        self.schedule = Schedule()
        self.counts = Counts()
        self.running: dict[str, RunningTask] = {}
        self.printing = Printing(store)
        self.stopper: Stopper | None = None
        self.numbers = itertools.count(1)
        self._picked: dict[str, Waiting] = {}  # neither waiting nor running: about to be claimed
        self._changed = trio.Event()
        self._late = LateEnds()
        self._on_activity: Callable[[str, int], None] = lambda project, ms: None

    # -- starting -----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Rebuild memory from the database. What was running when the daemon died is tried again, or has failed.

        Call it when the projects are known to `schedule`. Raises StoreError.
        """
        now = self.clock()
        await self.store.write(lambda transaction: recover(transaction, now))
        waiting, counts, last, paused = await self.store.read(rows.load)
        self.numbers = itertools.count(last + 1)
        for name, project, state, number in counts:
            self.counts.add(name, project, state, number)
        for name, is_paused in sorted(paused, key=lambda entry: entry[0] != rows.ALL_QUEUES):
            queue = None if name == rows.ALL_QUEUES else name
            (self.schedule.pause if is_paused else self.schedule.resume)(queue)
        for task in waiting:
            self.schedule.add(task, now)
        self.wake()

    # -- submitting ---------------------------------------------------------------------------------------------

    async def submit(self, ctx: Context | None, task: rows.NewTask) -> dict[str, str]:
        """Store a task and let it wait; gives `{"taskId": …}`, which is stored as the answer of `ctx`.

        One that was submitted with the same `submit_key` is not stored again. Raises NotFound where its project does
        not exist, Conflict where the key was used for another task, and StoreError.
        """

        def change(transaction: Transaction) -> dict[str, str]:
            before = rows.submitted(transaction, task)
            if before is not None:
                return {"taskId": before["id"]}
            rows.insert(transaction, task)
            return {"taskId": task.id}

        def after(answer: dict[str, str]) -> None:
            if answer["taskId"] == task.id:
                self._enqueue(task)

        return await self.answers.commit(ctx, change, after)

    async def retry(self, ctx: Context | None, task: rows.NewTask) -> dict[str, str]:
        """Store a task that runs the work of `task.retry_of` again.

        Raises Conflict where that one has neither failed nor been cancelled, or its project was removed.
        """
        answer = {"message": f"Task {task.retry_of} retried", "newTaskId": task.id}

        def change(transaction: Transaction) -> dict[str, str]:
            row = rows.get(transaction, task.retry_of or "")
            if row is None or row["status"] not in ("failed", "cancelled"):
                raise Conflict(f"Task {task.retry_of} has changed meanwhile; look at its status")
            try:
                rows.insert(transaction, task)
            except NotFound:
                raise Conflict(f"Task {task.retry_of} belongs to a project that was removed") from None
            return answer

        return await self.answers.commit(ctx, change, lambda answer: self._enqueue(task))

    def _enqueue(self, task: rows.NewTask) -> None:
        self.counts.add(task.queue, task.project, "pending")
        waiting = Waiting(task.id, task.number, task.queue, task.project, task.priority, task.due_ms)
        self.schedule.add(waiting, self.clock())
        self.wake()

    def wake(self) -> None:
        """Look again for a task that may run."""
        self._changed.set()

    # -- running (a worker pool's JobSource) ----------------------------------------------------------------------

    async def next_job(self, worker_id: str) -> Job:
        """Wait for a task that may run, and claim it for a worker: it is stored as running when this returns."""
        while True:
            claim = self._pick(worker_id)
            if claim is None:
                await self._until_changed()
                continue
            try:
                claimed = await self.store.write(claim.store, partial(self._claimed, claim))
            except StoreError as error:
                # It waits on, and whoever gets it asks the store again.
                self._unpick(claim.task)
                logger.error("A task could not be claimed: %s", error)
                await trio.sleep(_STORE_RETRY_SECONDS)
                continue
            except BaseException:
                self._unpick(claim.task)
                raise
            # None where it was cancelled or deleted first. Where that comes later, it finds the worker that has it.
            if claimed is not None:
                return claim.job(claimed)

    def _pick(self, worker_id: str) -> Claim | None:
        now = self.clock()
        task = self.schedule.pick(now)
        if task is None:
            return None
        self._picked[task.id] = task
        return Claim(task, worker_id, now)

    def _unpick(self, task: Waiting) -> None:
        if self._picked.pop(task.id, None) is not None:
            self.schedule.add(task, self.clock())
            self.wake()

    async def _until_changed(self) -> None:
        due = self.schedule.next_due()
        seconds = _LONGEST_WAIT if due is None else (due - self.clock()) / 1000
        changed = self._changed
        with trio.move_on_after(min(max(0.0, seconds), _LONGEST_WAIT)):
            await changed.wait()
        if changed.is_set() and self._changed is changed:
            self._changed = trio.Event()

    def _claimed(self, claim: Claim, claimed: Claimed | None) -> None:
        task = claim.task
        self._picked.pop(task.id, None)
        if claimed is not None:
            row = claimed[0]
            self.running[task.id] = RunningTask(task, row["attempt"])
            self.printing.begin(row, self.options.output_bytes)
            self.counts.move(task.queue, task.project, "pending", "running")
            self._note_activity(task, claim.now)

    def job_output(self, job: Job, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Take what a task printed."""
        self.printing.write(job.task_id, stream, data)

    async def job_ended(self, job: Job, worker_id: str, outcome: JobOutcome) -> None:
        """Store how a task ended, with the last of its output; returns when that is on disk.

        A store that fails is asked again until this is cancelled, and after that by `run`: a task that has ended must
        not be run again for a disk that was full for a while.
        """
        await self._store_end(self._end(job, worker_id, outcome))

    async def exchange_job(self, job: Job, worker_id: str, outcome: JobOutcome) -> Job | None:
        """Store how a task ended, and claim the next with the same commit, where one may run at once.

        The end is stored as by `job_ended`, whatever becomes of the claim.
        """
        end = self._end(job, worker_id, outcome)
        claim = self._pick(worker_id)
        if claim is None:
            await self._store_end(end)
            return None

        def change(transaction: Transaction) -> tuple[str, Claimed | None]:
            return end.store(transaction), claim.store(transaction)

        def after(done: tuple[str, Claimed | None]) -> None:
            self._attempt_ended(end, done[0])
            self._claimed(claim, done[1])

        try:
            claimed = (await self.store.write(change, after))[1]
        except trio.Cancelled:
            self._unpick(claim.task)
            self._late.append(partial(self._write_end, end))
            raise
        except Exception as error:
            self._unpick(claim.task)
            if job.task_id not in self.running:
                raise  # both are stored: what failed is ours
            logger.error("A task could not be claimed: %s", error)
            await self._store_end(end)
            return None
        return None if claimed is None else claim.job(claimed)

    def _end(self, job: Job, worker_id: str, outcome: JobOutcome) -> AttemptEnd:
        running = self.running[job.task_id]
        unsaved = self.printing.finish(job.task_id)
        now = self.clock()
        again = outcome.ending not in (Ending.COMPLETED, Ending.INTERRUPTED)
        delay = self.options.retry.delay(running.attempt) if again else 0.0
        return AttemptEnd.of(running.waiting.project, job, worker_id, outcome, unsaved, now + int(delay * 1000), now)

    async def _write_end(self, end: AttemptEnd) -> None:
        await self.store.write(end.store, partial(self._attempt_ended, end))

    async def _store_end(self, end: AttemptEnd) -> None:
        while True:
            try:
                await self._write_end(end)
                return
            except StoreError as error:
                logger.error("The end of task %s could not be stored, and is tried again: %s", end.job.task_id, error)
                try:
                    await trio.sleep(_STORE_RETRY_SECONDS)
                except trio.Cancelled:
                    self._late.append(partial(self._write_end, end))
                    raise
            except trio.Cancelled:
                self._late.append(partial(self._write_end, end))
                raise

    def _attempt_ended(self, end: AttemptEnd, state: str) -> None:
        running = self.running.pop(end.job.task_id)
        task = running.waiting
        self.counts.move(task.queue, task.project, "running", state)
        self.printing.end(task.id, task=state != "pending")
        if state == "pending":
            task.due_ms = end.due_ms
            self.schedule.add(task, self.clock())
            self.wake()
        self._note_activity(task, end.now)
        running.state = state
        running.ended.set()

    # -- cancelling -----------------------------------------------------------------------------------------------

    async def cancel(self, ctx: Context | None, task_id: str) -> dict[str, str]:
        """Cancel a task that waits, or have one that runs stopped, and wait until it is.

        Raises NotFound, Conflict where it has ended already or ends otherwise, and StoreError. Cancelled, the stopping
        goes on.
        """
        answer = cancelled(task_id)

        def change(transaction: Transaction) -> dict[str, str]:
            row = rows.get(transaction, task_id)
            if row is None:
                raise NotFound(f"There is no task {task_id}")
            if row["status"] == "running":
                raise _Runs
            if not rows.finish(transaction, task_id, "cancelled", error="cancelled", now=now):
                raise not_cancelled(task_id, row["status"])
            waited[:] = [row]
            return answer

        waited: list[Row] = []
        while True:
            now = self.clock()
            try:
                return await self.answers.commit(ctx, change, lambda answer: self.withdrawn(waited))
            except _Runs:
                # Should this daemon die, the next one makes the answer true.
                states = await self.stop([task_id], lambda transaction: self.answers.foresee(ctx, transaction, answer))
            # Where it ended in between, the next round tells how.
            if task_id in states:
                if states[task_id] != "cancelled":
                    raise not_cancelled(task_id, states[task_id])
                self.answers.came_true(ctx, answer)
                return answer

    async def stop(
        self, task_ids: list[str], and_store: Callable[[Transaction], None] = lambda transaction: None
    ) -> dict[str, str]:
        """Have tasks stopped that run, and wait until they are; gives the states that those ended in.

        Where there are any, `and_store` is stored with it. Raises StoreError. Cancelled, the stopping goes on; so it
        does in the next daemon, should this one die.
        """
        stopping: list[RunningTask] = []

        def change(transaction: Transaction) -> list[str]:
            marked = rows.mark_unwanted(transaction, task_ids)
            if marked:
                and_store(transaction)
            return marked

        def after(marked: list[str]) -> None:
            for task_id in marked:
                stopping.append(self.running[task_id])
                if self.stopper is not None:
                    self.stopper.cancel_job(task_id)

        await self.store.write(change, after)
        for running in stopping:
            await running.ended.wait()
        return {running.waiting.id: running.state for running in stopping}

    def withdrawn(self, tasks: Iterable[Row]) -> None:
        """Pending tasks were stored as cancelled."""
        for row in tasks:
            self._forget(row["id"])
            self.counts.move(row["queue"], row["project_id"], "pending", "cancelled")

    def deleted(self, tasks: Iterable[Row]) -> None:
        """Tasks that did not run were deleted from the database."""
        for row in tasks:
            self._forget(row["id"])
            self.counts.add(row["queue"], row["project_id"], row["status"], -1)

    def _forget(self, task_id: str) -> None:
        if self._picked.pop(task_id, None) is None:
            self.schedule.remove(task_id)
        self.printing.end(task_id)

    async def run(self) -> None:
        """Store what running tasks print, four times a second, until cancelled; and ends that the disk did not take.

        Those are tried once more when it is cancelled, shielded: for 2 s at most until the store takes one up, and that
        one then as long as the disk takes.
        """
        try:
            while True:
                await trio.sleep(_FLUSH_SECONDS)
                try:
                    await self._late.store()
                    await self.printing.flush(self.running)
                except StoreError as error:
                    logger.error("What tasks did could not be stored, and is tried again: %s", error)
                    await trio.sleep(_STORE_RETRY_SECONDS)
        finally:
            await self._late.store_last()

    def follow(self, task_id: str) -> Follower | None:
        """Read along with a task that waits or runs; None where it has ended. Give it back to `printing.unfollow`."""
        if task_id in self.running or task_id in self.schedule or task_id in self._picked:
            return self.printing.follow(task_id)
        return None

    # -- what projects need -----------------------------------------------------------------------------------------

    def on_activity(self, callback: Callable[[str, int], None]) -> None:
        """Have `callback(project, unix_ms)` called when a task of a project starts or ends."""
        self._on_activity = callback

    def _note_activity(self, task: Waiting, now: int) -> None:
        if task.project is not None:
            self._on_activity(task.project, now)

    def running_of(self, project: str) -> list[str]:
        """The tasks of a project that run."""
        return [task_id for task_id, running in self.running.items() if running.waiting.project == project]
