"""The life of one worker: it starts, takes jobs one after the other, and goes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
import trio
from attrs import define

from poppo_ipc.daemon.workers import _messages as messages
from poppo_ipc.daemon.workers._child import STREAMS, StreamName
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
from poppo_ipc.daemon.workers._process import WorkerProcess, encoded_setup
from poppo_ipc.daemon.workers._usage import Usage
from poppo_ipc.errors import NotFound

__all__ = ["Surroundings", "Worker"]

logger = logging.getLogger("poppo_ipc.daemon.workers")

T = TypeVar("T")

#: Seconds that an outcome or an event has until the store takes it up, whatever is cancelled meanwhile.
_STORE_SECONDS: Final = 30.0

#: Seconds from the end of the control stream to the worker's exit: both are one event, seen through two descriptors.
_EXIT_SECONDS: Final = 1.0

#: Bytes kept of what a worker prints while it has no job: the reason why it does not start.
_TAIL_BYTES: Final = 2048

_BYE: Final = messages.encode(messages.Bye())
_ERRORS: Final = {
    Ending.CANCELLED: "cancelled",
    Ending.INTERRUPTED: "stopped, as the daemon stops",
    Ending.TIMED_OUT: "timed out",
}

#: The ending of a job, its result and its error.
_Ended = tuple[Ending, Any, str | None]


@define(kw_only=True)
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
        self._doomed = False
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

    def interrupt(self) -> None:
        """Stop the job that runs as interrupted, and the one that is about to begin."""
        self._doomed = True
        self.stop_job(Ending.INTERRUPTED)

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
            process = WorkerProcess(self._shared.options.python, self._take)
        except OSError as error:
            self.unbidden = True
            self.reason = f"cannot be started: {error.strerror}"
            return
        self._process = process
        added = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, process)
                for stream in STREAMS:
                    nursery.start_soon(process.pump, stream)
                try:
                    if await self._greet(process):
                        added = True
                        await self._store("worker's start", self._shared.events.worker_added, self.id)
                        await self._serve(process)
                finally:
                    self.state = "stopping"
                    await process.aclose()
                    nursery.cancel_scope.cancel()
        finally:
            self.reason = self.reason or (process.exit_text if self.unbidden else "the daemon stops")
            if added:
                await self._store("worker's end", self._shared.events.worker_removed, self.id, self.reason)

    async def _watch(self, process: WorkerProcess) -> None:
        await process.watch()
        if self._waiting is not None:
            self._waiting.cancel()

    async def _greet(self, process: WorkerProcess) -> bool:
        """See the new process up; False where it does not come up, or is not wanted any more."""
        if self._retiring:
            return False
        hello = None
        with trio.move_on_after(self._shared.options.start_timeout) as self._waiting:
            await process.send(encoded_setup(self._shared.options.python))
            hello = await process.receive()
        late = self._waiting.cancelled_caught and not process.exited.is_set()
        self._waiting = None
        if self._retiring:
            return False
        if isinstance(hello, messages.Hello):
            self._usage = Usage(hello.pid, process.family)
            return True
        self.unbidden = True
        await process.kill()
        process.drain()
        how = f"did not start within {self._shared.options.start_timeout:g} s" if late else process.exit_text
        last = self._tail.decode("utf-8", "replace").strip().rpartition("\n")[2]
        self.reason = f"{how}: {last}" if last else how
        return False

    async def _serve(self, process: WorkerProcess) -> None:
        """Take jobs until there is a reason to go, then go politely."""
        job: Job | None = None
        while job is not None or not self._retiring:
            if job is not None:
                # Claimed with the end of the one before, so it is attended to also where this is to go since then.
                job = await self._run_job(process, job)
                continue
            if process.exited.is_set():
                self.unbidden = True
                return
            self.state = "idle"
            if not self._completed:
                self._shared.on_change()
            with trio.CancelScope() as self._waiting:
                job = await self._shared.source.next_job(self.id)
            self._waiting = None
        self.state = "stopping"
        self._shared.on_change()
        if process.returncode is None:
            with trio.move_on_after(self._shared.options.kill_grace):
                await process.send(_BYE)
                await process.exited.wait()

    async def _run_job(self, process: WorkerProcess, job: Job) -> Job | None:
        """Run one job and have its outcome stored, whatever happens; gives the next one, where there is one at once."""
        self.job, self.state, self.had_job = job, "busy", True
        begun = trio.current_time()
        ended = None
        source = self._shared.source
        try:
            # A job that came out although this was cancelled is not begun.
            await trio.lowlevel.checkpoint_if_cancelled()
            ended = await self._attend(process, job)
        finally:
            if ended is None:
                # Cancelled from outside. Before it may run again, nothing of it may run here.
                await process.kill()
                process.drain()
                outcome = self._end_job(begun, _stopped(self._stop or Ending.INTERRUPTED))
                await self._store("outcome", source.job_ended, job, self.id, outcome)
        outcome = self._end_job(begun, ended)
        # Before the next one is taken, so that who is to go takes none.
        self._look_whether_to_go(process)
        if self._retiring:
            await self._store("outcome", source.job_ended, job, self.id, outcome)
            return None
        return await self._store("outcome", source.exchange_job, job, self.id, outcome)

    def _end_job(self, begun: float, ended: _Ended) -> JobOutcome:
        self._attending = self._stop = self.job = None
        self._completed += 1
        ending, result, error = ended
        return JobOutcome(ending=ending, result=result, error=error, duration=trio.current_time() - begun)

    async def _attend(self, process: WorkerProcess, job: Job) -> _Ended:
        """Hand the job over and wait for its end. What the process prints until this returns is the job's."""
        if self._doomed:
            return _stopped(Ending.INTERRUPTED)
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
        if self._attending.cancelled_caught and self._stop is None:
            self._stop = Ending.TIMED_OUT
        self._attending = None
        if isinstance(answer, messages.Done):
            process.drain()
            return self._read(answer)
        if self._stop is not None:
            await process.terminate(self._shared.options.kill_grace)
            process.drain()
            return _stopped(self._stop, job)
        return await self._find_dead(process)

    def _read(self, answer: messages.Done) -> _Ended:
        if answer.retire is not None and not self._retiring:
            self.retire(answer.retire, surplus=False)
        if self._stop is not None:
            # Asked for in the moment of its end: said is said, but there is nothing left to stop.
            return _stopped(self._stop)
        result = msgspec.json.decode(answer.result)
        return (Ending.COMPLETED, result, None) if answer.ok else (Ending.FAILED, result, answer.error)

    async def _find_dead(self, process: WorkerProcess) -> _Ended:
        """How a job ended whose worker said nothing more."""
        with trio.move_on_after(_EXIT_SECONDS):
            await process.exited.wait()
        alive = not process.exited.is_set()
        await process.kill()
        process.drain()
        self.unbidden = True
        if process.order_unread:
            return Ending.INTERRUPTED, None, f"worker {process.exit_text} before it began the task"
        how = "closed the daemon's descriptors" if alive else process.exit_text
        return Ending.CRASHED, None, f"worker {how} in the middle of the task"

    def _encode(self, job: Job) -> bytes:
        target = None if job.type == COMMAND else self._shared.functions.get(job.type).target
        payload = msgspec.Raw(messages.encode(job.payload))
        return messages.encode(messages.JobOrder(job.task_id, job.attempt, payload, target, job.cwd))

    def _take(self, stream: StreamName, data: bytes) -> None:
        """Take what the process printed, for the job that runs."""
        if self.job is not None:
            self._shared.source.job_output(self.job, stream, data)
        else:
            self._tail = (self._tail + data)[-_TAIL_BYTES:]

    def _look_whether_to_go(self, process: WorkerProcess) -> None:
        """After a job: begin to leave where the process is gone or due for replacement."""
        options = self._shared.options
        if self._retiring:
            return
        if process.exited.is_set():
            self.retire(process.exit_text if self.unbidden else "stopped with its task", surplus=False)
        elif options.max_tasks is not None and self._completed >= options.max_tasks:
            self.retire(f"recycled after {self._completed} tasks", surplus=False)
        elif options.max_bytes is not None and self._usage is not None:
            resident = self._usage.resident()
            if resident > options.max_bytes:
                self.retire(f"recycled at {resident} bytes", surplus=False)

    async def _store(self, what: str, store: Callable[..., Awaitable[T]], *args: Any) -> T | None:
        """Have something stored, shielded: it has happened, whatever is cancelled meanwhile.

        For 30 s at most until the store takes it up; what it has taken is waited for as long as the disk takes, since
        a limit there would only lose how it went.
        """
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _STORE_SECONDS):
            return await store(*args)
        logger.error("worker %s: its %s was not stored within %g s", self.id, what, _STORE_SECONDS)
        return None


def _stopped(ending: Ending, job: Job | None = None) -> _Ended:
    if ending is Ending.TIMED_OUT and job is not None:
        return ending, None, f"timed out after {job.timeout:g} s"
    return ending, None, _ERRORS[ending]
