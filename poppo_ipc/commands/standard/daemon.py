"""`status` and `daemon.*`: the daemon as a whole.

Fields that an original server does not send have defaults, so that its answers can be read too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from poppo_ipc.commands._command import CommandSpec, EventDeclaration, NoArgs
from poppo_ipc.commands.standard._shared import Done
from poppo_ipc.commands.standard.project import Project
from poppo_ipc.commands.standard.queue import QueueStatus
from poppo_ipc.commands.standard.worker import WorkerStatus

__all__ = [
    "DAEMON_METRICS",
    "DAEMON_RELOAD",
    "DAEMON_STARTED",
    "DAEMON_STATUS",
    "DAEMON_STOP",
    "DAEMON_STOPPING",
    "STATUS",
    "Components",
    "CpuUse",
    "DaemonConfig",
    "DaemonMetrics",
    "DaemonReload",
    "DaemonStarted",
    "DaemonStatus",
    "DaemonStopping",
    "Status",
    "SystemInfo",
]


@attrs.frozen
class DaemonConfig:
    """The settings that the status shows. An original server has the port as text where it listens on none."""

    max_processes: int | None = None
    log_level: str = "info"
    port: int | str | None = None


@attrs.frozen
class CpuUse:
    """Processor time used so far, in microseconds."""

    user: float
    system: float


@attrs.frozen
class SystemInfo:
    """Where the daemon runs. `memory` is in bytes, by kind: `rss` at least."""

    platform: str
    arch: str
    memory: dict[str, int]
    cpu: CpuUse
    python_version: str = ""


@attrs.frozen
class Components:
    """Which parts of the daemon are there and running."""

    project_manager: bool
    queue_manager: bool
    worker_pool: bool
    api_server: bool
    ipc_server: bool


@attrs.frozen
class DaemonStatus:
    """The daemon's own state. `uptime` is in seconds."""

    status: str
    version: str
    pid: int
    uptime: float
    started: datetime
    config: DaemonConfig
    system: SystemInfo
    components: Components


@attrs.frozen
class Status:
    """Everything at a glance; projects by their id."""

    daemon: DaemonStatus
    projects: dict[str, Project]
    workers: WorkerStatus
    queue: QueueStatus


@attrs.frozen
class DaemonReload:
    """The configuration that holds from now on."""

    message: str
    config: dict[str, Any]


@attrs.frozen
class DaemonMetrics:
    """Measurements of the daemon, at one moment."""

    timestamp: datetime
    metrics: dict[str, Any]


@attrs.frozen
class DaemonStarted:
    """The daemon takes commands."""

    pid: int


@attrs.frozen
class DaemonStopping:
    """The daemon takes no more commands and is about to end."""

    pid: int
    reason: str | None = None


STATUS = CommandSpec("status", NoArgs, Status, summary="Show everything at a glance.", idempotent=True)
DAEMON_STATUS = CommandSpec("daemon.status", NoArgs, DaemonStatus, summary="Show the daemon's state.", idempotent=True)
DAEMON_STOP = CommandSpec("daemon.stop", NoArgs, Done, summary="Stop the daemon in order.")
DAEMON_RELOAD = CommandSpec(
    "daemon.reload", NoArgs, DaemonReload, summary="Read the configuration again.", idempotent=True
)
DAEMON_METRICS = CommandSpec(
    "daemon.metrics", NoArgs, DaemonMetrics, summary="Show measurements of the daemon.", idempotent=True
)

DAEMON_STARTED = EventDeclaration("daemon.started", DaemonStarted, "The daemon has started.")
DAEMON_STOPPING = EventDeclaration("daemon.stopping", DaemonStopping, "The daemon is stopping.")
