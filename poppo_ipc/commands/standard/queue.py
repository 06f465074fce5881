"""`queue.*`: what waits and what has been done."""

from __future__ import annotations

from typing import Annotated

import attrs

from poppo_ipc.commands._command import CommandSpec, EventDeclaration
from poppo_ipc.commands._fields import Arg
from poppo_ipc.commands.standard._shared import Done, Period, QueueName, TaskState

__all__ = [
    "QUEUE_CLEAR",
    "QUEUE_PAUSE",
    "QUEUE_RESUME",
    "QUEUE_STATS",
    "QUEUE_STATUS",
    "QUEUE_STATUS_CHANGED",
    "Percentiles",
    "QueueArgs",
    "QueueClearArgs",
    "QueueStats",
    "QueueStatsArgs",
    "QueueStatus",
    "QueueStatusChanged",
]


@attrs.frozen
class QueueArgs:
    """The queue that is meant."""

    queue: QueueName | None = None


@attrs.frozen
class QueueClearArgs:
    """The queue that is meant, and what to clear of it."""

    queue: QueueName | None = None
    status: Annotated[TaskState | None, Arg(doc="Only tasks in this state; running ones stay anyhow.")] = None


@attrs.frozen
class QueueStatsArgs:
    """The queue that is meant, and how far back to look."""

    queue: QueueName | None = None
    period: Period = "1h"


@attrs.frozen
class QueueStatus:
    """Tasks by their state."""

    total: int
    pending: int
    running: int
    completed: int
    failed: int
    paused: bool = False


@attrs.frozen
class Percentiles:
    """Times in milliseconds that half, 95 and 99 in a hundred stayed under; None where nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@attrs.frozen
class QueueStats:
    """What went through a queue in a period; `throughput` is completed tasks per minute."""

    queue: str
    period: str
    total: int
    pending: int
    running: int
    completed: int
    failed: int
    throughput: float
    wait_ms: Percentiles
    run_ms: Percentiles
    failures: int


@attrs.frozen
class QueueStatusChanged:
    """A queue was paused or resumed. `status` is `paused` or `running`."""

    queue: str
    status: str
    total: int = 0
    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0


QUEUE_STATUS = CommandSpec(
    "queue.status", QueueArgs, QueueStatus, summary="Count the tasks by their state.", idempotent=True
)
QUEUE_PAUSE = CommandSpec("queue.pause", QueueArgs, Done, summary="Start no more tasks.", idempotent=True)
QUEUE_RESUME = CommandSpec("queue.resume", QueueArgs, Done, summary="Start tasks again.", idempotent=True)
QUEUE_CLEAR = CommandSpec("queue.clear", QueueClearArgs, Done, summary="Remove tasks that do not run.")
QUEUE_STATS = CommandSpec(
    "queue.stats", QueueStatsArgs, QueueStats, summary="Show throughput, waits and failures.", idempotent=True
)

QUEUE_STATUS_CHANGED = EventDeclaration("queue.status-changed", QueueStatusChanged, "A queue was paused or resumed.")
