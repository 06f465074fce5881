"""`worker.*`: the processes that run tasks."""

from __future__ import annotations

from typing import Annotated

import attrs
from msgspec import Meta

from poppo_ipc.commands._command import CommandSpec, EventDeclaration, NoArgs
from poppo_ipc.commands._fields import Arg
from poppo_ipc.commands.standard._shared import Done

__all__ = [
    "WORKER_ADDED",
    "WORKER_REMOVED",
    "WORKER_RESTART",
    "WORKER_SCALE",
    "WORKER_STATUS",
    "Worker",
    "WorkerAdded",
    "WorkerRemoved",
    "WorkerRestartArgs",
    "WorkerScaleArgs",
    "WorkerStatus",
]


@attrs.frozen
class Worker:
    """One worker. `state` is `starting`, `idle`, `busy` or `stopping`; `uptime` is in seconds, `memory` in bytes."""

    id: str
    state: str
    status: str
    current_task: str | None = None
    tasks_completed: int = 0
    uptime: float = 0.0
    memory: int | None = None
    cpu: float | None = None


@attrs.frozen
class WorkerStatus:
    """All workers."""

    total: int
    active: int
    idle: int
    workers: list[Worker]


@attrs.frozen
class WorkerScaleArgs:
    """How many workers there shall be."""

    count: Annotated[int, Meta(ge=0), Arg(message="Invalid worker count", doc="How many workers there shall be.")]


@attrs.frozen
class WorkerRestartArgs:
    """The worker that is meant."""

    worker_id: Annotated[str | None, Meta(min_length=1), Arg(doc="One worker; all where none is given.")] = None


@attrs.frozen
class WorkerAdded:
    """A worker has started."""

    worker_id: str


@attrs.frozen
class WorkerRemoved:
    """A worker has ended."""

    worker_id: str
    reason: str | None = None


WORKER_STATUS = CommandSpec("worker.status", NoArgs, WorkerStatus, summary="Show the workers.", idempotent=True)
WORKER_SCALE = CommandSpec("worker.scale", WorkerScaleArgs, Done, summary="Set the number of workers.", idempotent=True)
WORKER_RESTART = CommandSpec("worker.restart", WorkerRestartArgs, Done, summary="Restart one worker or all.")

WORKER_ADDED = EventDeclaration("worker.added", WorkerAdded, "A worker has started.")
WORKER_REMOVED = EventDeclaration("worker.removed", WorkerRemoved, "A worker has ended.")
