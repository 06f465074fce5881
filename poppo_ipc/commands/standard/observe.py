"""`metrics.get`, `logs.tail` and `health.check`: how the daemon is doing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import attrs
from msgspec import Meta

from poppo_ipc.commands._command import CommandSpec, NoArgs
from poppo_ipc.commands._fields import Arg
from poppo_ipc.commands.standard._shared import Period

__all__ = [
    "HEALTH_CHECK",
    "LOGS_TAIL",
    "METRICS_GET",
    "Health",
    "HealthChecks",
    "LogLine",
    "LogsTail",
    "LogsTailArgs",
    "Metrics",
    "MetricsArgs",
]


@attrs.frozen
class MetricsArgs:
    """Which metrics, and how far back."""

    type: Annotated[str | None, Arg(doc="One kind of metrics; all where none is given.")] = None
    period: Period = "5m"


@attrs.frozen
class Metrics:
    """Measurements over a period."""

    type: str | None
    period: str
    metrics: Any


@attrs.frozen
class LogsTailArgs:
    """Which lines of the log."""

    lines: Annotated[int, Meta(ge=0), Arg(doc="How many of the last lines.")] = 100
    level: Annotated[str | None, Arg(doc="Only lines of this level or a more serious one.")] = None
    follow: Annotated[bool, Arg(doc="Go on with new lines until cancelled; asked for with stream.")] = False


@attrs.frozen
class LogLine:
    """One line of the log."""

    timestamp: datetime
    level: str
    logger: str
    message: str


@attrs.frozen
class LogsTail:
    """The last lines of the log, the oldest first."""

    lines: list[LogLine]
    level: str | None = None


@attrs.frozen
class HealthChecks:
    """What was looked at, and whether it is well."""

    config: bool
    queue: bool
    workers: bool
    api: bool
    ipc: bool


@attrs.frozen
class Health:
    """How the daemon is. `status` is `healthy`, `degraded` or `unhealthy`."""

    status: str
    timestamp: datetime
    checks: HealthChecks


METRICS_GET = CommandSpec("metrics.get", MetricsArgs, Metrics, summary="Show measurements.", idempotent=True)
LOGS_TAIL = CommandSpec(
    "logs.tail", LogsTailArgs, LogsTail, summary="Show the last lines of the log.", idempotent=True, item=LogLine
)
HEALTH_CHECK = CommandSpec("health.check", NoArgs, Health, summary="Check that all is well.", idempotent=True)
