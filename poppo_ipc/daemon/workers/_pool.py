"""The pool: as many workers as are wanted, each a task of one nursery."""

from __future__ import annotations

import logging
import shutil

import attrs
import trio

from poppo_ipc.daemon.workers._functions import Functions
from poppo_ipc.daemon.workers._model import Ending, JobSource, PoolOptions, PoolStatus, WorkerEvents
from poppo_ipc.daemon.workers._platform import check_supported
from poppo_ipc.daemon.workers._worker import Surroundings, Worker
from poppo_ipc.errors import DeclarationError, InvalidArgs, NotFound, ShuttingDown

__all__ = ["WorkerPool"]

logger = logging.getLogger("poppo_ipc.daemon.workers")


class WorkerPool:
    """Runs the jobs of a source in worker processes.

    Each process is a worker with an id of its own; one that dies, is restarted or is recycled is replaced by another
    with another id. A job runs in one process and never twice at once; when it has ended, none of its processes is
    left. All methods are for the thread of the event loop.
    """

    def __init__(self, functions: Functions, source: JobSource, events: WorkerEvents, options: PoolOptions) -> None:
        self._options = options
        self._target = options.count
        self._workers: dict[str, Worker] = {}
        self._started = 0
        self._draining = False
        self._changed = trio.Event()
        self._failures = 0
        self._not_before = 0.0
        self._shared = Surroundings(
            functions=functions, source=source, events=events, options=options, on_change=self._wake
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the workers; `started()` when the first of them are idle, as many as wanted.

        Returns after `drain`. Cancelled, it kills all workers; jobs that run end as interrupted, and that is stored:
        each store has 30 s to be begun, each kill 5 s. What the source or the events raise ends it, in an exception
        group.

        Raises:
            Unavailable: this system cannot run worker processes.
            DeclarationError: there is no such interpreter.
        """
        check_supported()
        if shutil.which(self._options.python) is None:
            raise DeclarationError(f"The interpreter for workers cannot be executed: {self._options.python}")
        waiting = True
        async with trio.open_nursery() as nursery:
            while not (self._draining and not self._workers):
                self._changed = trio.Event()
                delay = self._start_missing(nursery)
                if waiting and self._up >= self._target:
                    waiting = False
                    task_status.started()
                with trio.move_on_after(delay):
                    await self._changed.wait()
            if waiting:
                task_status.started()

    async def scale(self, count: int) -> None:
        """Have `count` workers from now on, 0 or more. Returns at once; the workers come and go in the background.

        A worker that is busy finishes its task before it goes; the newest idle ones go first.

        Raises:
            InvalidArgs: the count is negative.
            ShuttingDown: the pool is draining.
        """
        if count < 0:
            raise InvalidArgs.of("count", "expected 0 or more", "Invalid worker count")
        self._check_open()
        self._target = count
        lasting = self._lasting()
        for worker in sorted(self._workers.values(), key=lambda worker: worker.number):
            if len(lasting) < count and worker.surplus and worker.job is not None:
                worker.keep()
                lasting.append(worker)
        lasting.sort(key=lambda worker: (worker.job is None, worker.number))
        for worker in lasting[count:][::-1]:
            worker.retire("scaled down", surplus=True)
        self._wake()
        await trio.lowlevel.checkpoint()

    async def restart(self, worker_id: str | None = None) -> None:
        """Replace one worker, or all. Returns at once; each goes when the task that it runs has ended.

        Raises:
            NotFound: no worker has this id.
            ShuttingDown: the pool is draining.
        """
        self._check_open()
        if worker_id is None:
            chosen = self._lasting()
        elif worker_id in self._workers:
            chosen = [self._workers[worker_id]]
        else:
            raise NotFound(f"No worker {worker_id!r}", {"workerId": worker_id})
        for worker in chosen:
            if not worker.retiring:
                worker.retire("restarted", surplus=False)
        self._wake()
        await trio.lowlevel.checkpoint()

    def set_kill_grace(self, seconds: float) -> None:
        """Change `PoolOptions.kill_grace` from now on. Raises ValueError for none."""
        self._shared.options = attrs.evolve(self._shared.options, kill_grace=seconds)

    def cancel_job(self, task_id: str) -> bool:
        """Stop the job of this task, if it runs here: SIGTERM to all of its processes, SIGKILL after the kill grace.

        Returns at once. True: the job is going to end, or has just ended, as cancelled. False: it does not run here,
        or it is past stopping, and its outcome is on its way.
        """
        return any(
            worker.stop_job(Ending.CANCELLED)
            for worker in self._workers.values()
            if worker.job is not None and worker.job.task_id == task_id
        )

    def status(self) -> PoolStatus:
        """The workers as they are now. Asks the system about each of them: some milliseconds a worker."""
        workers = tuple(worker.info() for worker in self._workers.values())
        return PoolStatus(
            total=len(workers),
            active=sum(worker.state == "busy" for worker in workers),
            idle=sum(worker.state == "idle" for worker in workers),
            target=self._target,
            workers=workers,
        )

    async def drain(self, grace: float) -> None:
        """Take no more jobs, let those that run go on for `grace` seconds, then stop them: they end as interrupted.

        Returns when all workers are gone; `run` then returns too. Takes the kill grace longer than `grace` at most,
        and the time to store. For good: cancelled, it leaves the pool draining, with no limit on what runs. Can be
        called again, with a shorter grace.
        """
        self._draining = True
        self._target = 0
        for worker in self._workers.values():
            worker.retire("the daemon stops", surplus=True)
        self._wake()
        with trio.move_on_after(grace):
            await self._wait_empty()
        for worker in self._workers.values():
            worker.interrupt()
        await self._wait_empty()

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _up(self) -> int:
        return sum(worker.state in ("idle", "busy") for worker in self._workers.values())

    def _check_open(self) -> None:
        if self._draining:
            raise ShuttingDown("The worker pool is draining")

    def _wake(self) -> None:
        self._changed.set()

    def _lasting(self) -> list[Worker]:
        """The workers that count: those that stay, and those that will be replaced when their job has ended."""
        return [worker for worker in self._workers.values() if not worker.surplus and worker.state != "stopping"]

    def _start_missing(self, nursery: trio.Nursery) -> float:
        """Start the workers that are missing; the seconds until it may, where it may not yet, else infinity."""
        missing = self._target - len(self._lasting())
        if missing <= 0:
            return float("inf")
        delay = self._not_before - trio.current_time()
        if delay > 0:
            return delay
        for _ in range(missing):
            self._started += 1
            worker = Worker(f"worker-{self._started}", self._started, self._shared)
            self._workers[worker.id] = worker
            nursery.start_soon(self._run_worker, worker)
        return float("inf")

    async def _run_worker(self, worker: Worker) -> None:
        try:
            await worker.run()
        finally:
            del self._workers[worker.id]
            self._note_end(worker)
            self._wake()

    def _note_end(self, worker: Worker) -> None:
        """Slow down where workers die at once, and only there."""
        options = self._options
        if worker.had_job or worker.uptime >= options.backoff_reset:
            self._failures = 0
        elif worker.unbidden:
            delay = min(options.backoff_cap, options.backoff_base * 2.0 ** min(self._failures, 64))
            self._failures += 1
            self._not_before = trio.current_time() + delay
            logger.warning("%s %s; the next one is started in %.3g s", worker.id, worker.reason, delay)
            return
        if worker.unbidden:
            logger.warning("%s %s", worker.id, worker.reason)

    async def _wait_empty(self) -> None:
        while self._workers:
            await self._changed.wait()
