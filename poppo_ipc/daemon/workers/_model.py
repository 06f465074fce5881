"""What goes in and out of the pool: jobs, their outcomes, the two interfaces it calls, its options and its status."""

from __future__ import annotations

import enum
import sys
from typing import Any, Literal, Protocol

from attrs import field, frozen, validators

__all__ = [
    "Ending",
    "Job",
    "JobOutcome",
    "JobSource",
    "PoolOptions",
    "PoolStatus",
    "WorkerEvents",
    "WorkerInfo",
    "WorkerState",
]

WorkerState = Literal["starting", "idle", "busy", "stopping"]

#: The type of a job that runs a program; every other type is the name of a registered function.
COMMAND = "command"


@frozen
class Job:
    """What a worker is to run."""

    task_id: str
    attempt: int
    """1, 2, …"""
    type: str
    """`"command"`, or a registered function's name."""
    payload: Any
    """A JSON object. For a command: `{argv: [str], cwd?: str, env?: {str: str}, stdin?: str}`."""
    cwd: str | None = None
    """The project's path: the default working directory of a command."""
    timeout: float | None = None
    """Seconds from the moment a worker gets it; None for no limit."""


class Ending(enum.Enum):
    """How a job ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    """The function raised, its result is no JSON, or the command did not exit with 0."""
    CANCELLED = "cancelled"
    """`WorkerPool.cancel_job` stopped it."""
    TIMED_OUT = "timed-out"
    CRASHED = "crashed"
    """Its worker died: a segmentation fault, `os._exit`, a kill, out of memory."""
    INTERRUPTED = "interrupted"
    """It was stopped, or never begun, through no fault of its own: the daemon stops, or the worker died before it
    took the job. To be run again."""


@frozen
class JobOutcome:
    """How a job ended, and with what."""

    ending: Ending
    result: Any = None
    """JSON. A command's is `{"exitCode": n}`, with -n for signal n."""
    error: str | None = None
    """One line for people; None where the job completed."""
    duration: float = 0.0
    """Seconds from the moment a worker got it."""


class JobSource(Protocol):
    """Where jobs come from and where their outcomes go."""

    async def next_job(self, worker_id: str) -> Job:
        """Wait for a job, which is stored as running when this returns.

        Called by each idle worker. Cancel-safe: either the job is returned, or it was not taken.
        """
        ...

    def job_output(self, job: Job, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Take what a job printed, in order. Called often, and never after `job_ended`: cheap, and raises nothing."""
        ...

    async def job_ended(self, job: Job, worker_id: str, outcome: JobOutcome) -> None:
        """Store the outcome; returns when it is stored.

        For each job that was given out, this or `exchange_job` is called, once. Runs shielded from cancellation, and
        is cancelled after 30 s: what the disk has begun with by then may be finished, however long it takes, and what
        has not begun is the source's to store later.
        """
        ...

    async def exchange_job(self, job: Job, worker_id: str, outcome: JobOutcome) -> Job | None:
        """Store the outcome, as `job_ended` does, and give the next job to the same worker, as `next_job` does.

        Both with one wait for the disk. Does not wait for a job to come: None where there is none at once, or the
        disk took the outcome alone. Runs shielded from cancellation, and is cancelled after 30 s, as `job_ended` is;
        where that comes through, the outcome is on its way, and no job was taken.
        """
        ...


class WorkerEvents(Protocol):
    """Who is told of workers that come and go. Each returns when the event is stored.

    Shielded, and cancelled after 30 s: what the disk has begun with by then may be finished, however long it takes.
    """

    async def worker_added(self, worker_id: str) -> None:
        """A worker is up and about to take jobs."""
        ...

    async def worker_removed(self, worker_id: str, reason: str) -> None:
        """A worker that was added is gone, with all its processes."""
        ...


def _optional(*checks: Any) -> Any:
    return validators.optional(validators.and_(*checks))


_seconds = validators.gt(0.0)
_count = validators.and_(validators.instance_of(int), validators.ge(1))


@frozen(kw_only=True)
class PoolOptions:
    """How many workers there are and how they are treated.

    Raises ValueError or TypeError for a value that makes no sense.
    """

    count: int = field(default=2, validator=[validators.instance_of(int), validators.ge(0)])
    """Workers at the start."""

    kill_grace: float = field(default=5.0, validator=_seconds)
    """Seconds between SIGTERM and SIGKILL, and those that a worker has to exit when told to."""

    start_timeout: float = field(default=30.0, validator=_seconds)
    """Seconds in which a new process must say hello; one that does not is killed. Far more than it takes: an
    overloaded machine is no bug."""

    max_tasks: int | None = field(default=None, validator=_optional(_count))
    """A worker is replaced after so many tasks; None for never."""

    max_bytes: int | None = field(default=None, validator=_optional(_count))
    """A worker whose resident memory is over so many bytes after a task is replaced; None for never."""

    python: str = field(default=sys.executable, validator=validators.min_len(1))
    """The interpreter of the workers; it must have this package."""

    backoff_base: float = field(default=0.1, validator=_seconds)
    """Seconds before a worker is started in place of one that died within `backoff_reset` having had no task. Doubles
    with each such death."""

    backoff_cap: float = field(default=30.0, validator=_seconds)
    """Seconds that this delay grows to."""

    backoff_reset: float = field(default=10.0, validator=_seconds)
    """A worker that lived for so many seconds, or got a task, is proof that workers can be started."""


@frozen(kw_only=True)
class WorkerInfo:
    """One worker, as it is now."""

    id: str
    """New for each process: one that replaces another has another id."""
    pid: int | None
    """None until its process is started."""
    state: WorkerState
    current_task: str | None
    tasks_completed: int
    """Tasks that it has run, whatever their ending."""
    uptime: float
    """Seconds since its process was started."""
    memory: int
    """Resident bytes, with those of its child processes."""
    cpu: float
    """Percent of one core since it was last asked for, with its child processes."""


@frozen(kw_only=True)
class PoolStatus:
    """The pool, as it is now."""

    total: int
    active: int
    """Workers that are busy."""
    idle: int
    target: int
    """How many there are to be."""
    workers: tuple[WorkerInfo, ...]
