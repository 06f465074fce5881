"""The life of one worker: it starts, takes jobs one after the other, and goes."""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import trio
from attrs import frozen

from poppo_ipc.daemon.workers import _messages as messages
from poppo_ipc.daemon.workers._functions import Functions
from poppo_ipc.daemon.workers._model import (
    COMMAND,
    Ending,
    Job,
    JobOutcome,
    JobSource,
    PoolOptions,
    WorkerEvents,
    WorkerInfo,
    WorkerState,
)
from poppo_ipc.daemon.workers._process import STREAMS, StreamName, WorkerProcess, encoded_setup
from poppo_ipc.daemon.workers._usage import Usage
from poppo_ipc.errors import NotFound

__all__ = ["Surroundings", "Worker"]

logger = logging.getLogger("poppo_ipc.daemon.workers")

#: Seconds that an outcome or an event has to be stored in, whatever is cancelled meanwhile.
_STORE_SECONDS: Final = 30.0

#: Seconds from the end of the control stream to the worker's exit: both are one event, seen through two descriptors.
_EXIT_SECONDS: Final = 1.0

#: Bytes kept of what a worker prints while it has no job: the reason why it does not start.
_TAIL_BYTES: Final = 2048

_BYE: Final = messages.encode(messages.Bye())
_ERRORS: Final = {
    Ending.CANCELLED: "cancelled",
    Ending.INTERRUPTED: "stopped, as the daemon stops",
}


@frozen(kw_only=True)
class Surroundings:
    """What the workers of a pool share."""

    functions: Functions
    source: JobSource
    events: WorkerEvents
    options: PoolOptions
    on_change: Callable[[], None]
    """Called when a worker is ready, or begins to leave."""


class Worker:
    """One worker, from its process's start to its end. `run` is its whole life."""

    def __init__(self, id: str, number: int, shared: Surroundings) -> None:
        self.id = id
        self.number = number
        self.state: WorkerState = "starting"
        self.job: Job | None = None
        self.reason = ""
        """Why it goes or went."""
        self.surplus = False
        """It goes and is not to be replaced."""
        self.had_job = False
        self.unbidden = False
        """It ended by itself, which no worker is to do."""
        self._shared = shared
        self._process: WorkerProcess | None = None
        self._usage: Usage | None = None
        self._born = trio.current_time()
        self._retiring = False
        self._waiting: trio.CancelScope | None = None
        self._attending: trio.CancelScope | None = None
        self._stop: Ending | None = None
        self._completed = 0
        self._tail = b""

    # -- what the pool asks of it -------------------------------------------------------------------------------

    @property
    def uptime(self) -> float:
        """Seconds since it was started."""
        return trio.current_time() - self._born

    @property
    def retiring(self) -> bool:
        """Whether it takes no more jobs."""
        return self._retiring

    def retire(self, reason: str, *, surplus: bool) -> None:
        """Take no more jobs, and go when the one that runs has ended."""
        self._retiring = True
        self.surplus = self.surplus or surplus
        self.reason = reason
        if self.job is None:
            self.state = "stopping"
        if self._waiting is not None:
            self._waiting.cancel()

    def keep(self) -> None:
        """Take back `retire` of a worker whose job still runs."""
        self._retiring = self.surplus = False
        self.reason = ""

    def stop_job(self, ending: Ending) -> bool:
        """Stop the job that runs, with this ending. False where none runs, or it is being stopped otherwise."""
        if self._attending is not None and self._stop is None:
            self._stop = ending
            self._attending.cancel()
        return self._stop is ending

    def info(self) -> WorkerInfo:
        """How it is now. Takes some milliseconds."""
        memory, cpu = self._usage.sample() if self._usage is not None else (0, 0.0)
        return WorkerInfo(
            id=self.id,
            pid=None if self._process is None else self._process.pid,
            state=self.state,
            current_task=None if self.job is None else self.job.task_id,
            tasks_completed=self._completed,
            uptime=self.uptime,
            memory=memory,
            cpu=cpu,
        )

    # -- its life -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live. Returns when the process and all its descendants are gone and that is stored.

        Cancelled, it kills the process, and a job that runs ends as interrupted. What the source or the events raise
        comes through.
        """
        try:
            process = WorkerProcess(self._shared.options.python)
        except OSError as error:
            self.unbidden = True
            self.reason = f"cannot be started: {error.strerror}"
            return
        self._process = process
        self._usage = Usage(process.pid)
        added = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(process.watch)
                for stream in STREAMS:
                    nursery.start_soon(process.pump, stream, self._take)
                if await self._greet(process):
                    added = True
                    await self._store("worker added", self._shared.events.worker_added, self.id)
                    await self._serve(process)
                nursery.cancel_scope.cancel()
        finally:
            self.state = "stopping"
            await process.aclose()
            if self.unbidden:
                self.reason = self.reason or process.exit_text
            if added:
                reason = self.reason or "the daemon stops"
                await self._store("worker removed", self._shared.events.worker_removed, self.id, reason)

    async def _greet(self, process: WorkerProcess) -> bool:
        """See the new process up; False where it does not come up, or is not wanted any more."""
        if self._retiring:
            return False
        hello = None
        with trio.move_on_after(self._shared.options.start_timeout) as self._waiting:
            await process.send(encoded_setup())
            hello = await process.receive()
        late = self._waiting.cancelled_caught
        self._waiting = None
        if isinstance(hello, messages.Hello):
            return True
        if not self._retiring:
            self.unbidden = True
            if late:
                self.reason = f"did not start within {self._shared.options.start_timeout:g} s"
            else:
                await process.reap()
            process.drain(self._take)
        return False

    async def _serve(self, process: WorkerProcess) -> None:
        """Take jobs until there is a reason to go, then go politely."""
        while not self._retiring:
            if process.exited.is_set():
                self.unbidden = True
                return
            self.state = "idle"
            self._shared.on_change()
            job = None
            with trio.CancelScope() as self._waiting:
                job = await self._shared.source.next_job(self.id)
            self._waiting = None
            if job is not None:
                await self._run_job(process, job)
        self.state = "stopping"
        self._shared.on_change()
        if process.returncode is None:
            with trio.move_on_after(self._shared.options.kill_grace):
                await process.send(_BYE)
                await process.exited.wait()

    async def _run_job(self, process: WorkerProcess, job: Job) -> None:
        """Run one job and have its outcome stored, whatever happens."""
        self.job, self.state, self.had_job = job, "busy", True
        begun = trio.current_time()
        ending, result, error = Ending.INTERRUPTED, None, _ERRORS[Ending.INTERRUPTED]
        try:
            ending, result, error = await self._attend(process, job)
        finally:
            if ending is Ending.INTERRUPTED:
                # Before it is run again, nothing of it may run here.
                await process.aclose()
            self._stop = None
            self.job = None
            self._completed += 1
            outcome = JobOutcome(ending=ending, result=result, error=error, duration=trio.current_time() - begun)
            await self._store("outcome", self._shared.source.job_ended, job, self.id, outcome)
        self._look_for_retirement()

    async def _attend(self, process: WorkerProcess, job: Job) -> tuple[Ending, Any, str | None]:
        """Hand the job over and wait for its end. Until this returns, what the process prints is the job's."""
        try:
            order = self._encode(job)
        except NotFound as error:
            return Ending.FAILED, None, error.message
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return Ending.FAILED, None, f"The payload is no JSON: {error}"
        if len(order) > messages.MAX_FRAME_BYTES:
            return Ending.FAILED, None, f"The payload is over the limit of {messages.MAX_FRAME_BYTES} bytes"
        answer = None
        with trio.CancelScope() as self._attending:
            if job.timeout is not None:
                self._attending.deadline = trio.current_time() + job.timeout
            await process.send(order)
            answer = await process.receive()
        self._attending = None
        if isinstance(answer, messages.Done) and self._stop is None:
            process.drain(self._take)
            return self._read(answer)
        if answer is None and not process.exited.is_set() and not self._cut_short(job):
            with trio.move_on_after(_EXIT_SECONDS):
                await process.exited.wait()
        ...

    def _look_for_retirement(self) -> None: ...
