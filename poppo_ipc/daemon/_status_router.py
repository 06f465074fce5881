"""`status` and `daemon.*`: the daemon as a whole, its settings, and its end."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import psutil

from poppo_ipc.commands import Context, Router
from poppo_ipc.commands.standard import (
    DAEMON_RELOAD,
    DAEMON_STARTED,
    DAEMON_STATUS,
    DAEMON_STOP,
    DAEMON_STOPPING,
    STATUS,
    Components,
    CpuUse,
    DaemonReload,
    DaemonStatus,
    Done,
    Project,
    QueueStatus,
    Status,
    SystemInfo,
    WorkerStatus,
)
from poppo_ipc.commands.standard import DaemonConfig as ShownConfig
from poppo_ipc.daemon._config import ConfigError, DaemonConfig
from poppo_ipc.daemon._reloading import refusal_of

__all__ = ["StatusReporter", "status_router"]

_MICROSECONDS = 1_000_000


class StatusReporter:
    """Knows what the daemon is and since when. `components` says which parts are there and running."""

    def __init__(self, version: str, config: Callable[[], DaemonConfig], components: Callable[[], Components]) -> None:
        self._version = version
        self._config = config
        self._components = components
        self._began = time.monotonic()
        self._started = datetime.now(UTC)
        self._process = psutil.Process()

    def daemon(self) -> DaemonStatus:
        """The answer of `daemon.status`."""
        return DaemonStatus(
            status="running",
            version=self._version,
            pid=os.getpid(),
            uptime=round(time.monotonic() - self._began, 3),
            started=self._started,
            config=shown_config(self._config()),
            system=self._system(),
            components=self._components(),
        )

    def _system(self) -> SystemInfo:
        with self._process.oneshot():
            memory, times = self._process.memory_info(), self._process.cpu_times()
        return SystemInfo(
            platform=sys.platform,
            arch=platform.machine(),
            memory={"rss": memory.rss, "vms": memory.vms},
            cpu=CpuUse(user=times.user * _MICROSECONDS, system=times.system * _MICROSECONDS),
            python_version=platform.python_version(),
        )


def shown_config(config: DaemonConfig) -> ShownConfig:
    """The settings that the status shows."""
    return ShownConfig(max_processes=config.workers, log_level=config.log_level, port=config.metrics_port)


def status_router(
    reporter: StatusReporter,
    *,
    projects: Callable[[], list[Project]],
    workers: Callable[[], WorkerStatus],
    queue: Callable[[], QueueStatus],
    stop: Callable[[], None],
    reload: Callable[[], Awaitable[DaemonReload]],
) -> Router:
    """The commands. `stop` begins the end of the daemon and returns at once."""
    router = Router()
    router.event(DAEMON_STARTED)
    router.event(DAEMON_STOPPING)

    @router.command(DAEMON_STATUS)
    def daemon_status(ctx: Context) -> DaemonStatus:
        return reporter.daemon()

    @router.command(STATUS)
    def status(ctx: Context) -> Status:
        return Status(
            daemon=reporter.daemon(),
            projects={project.id: project for project in projects()},
            workers=workers(),
            queue=queue(),
        )

    @router.command(DAEMON_STOP)
    def daemon_stop(ctx: Context) -> Done:
        stop()
        return Done("Daemon shutdown initiated")

    @router.command(DAEMON_RELOAD)
    async def daemon_reload(ctx: Context) -> DaemonReload:
        try:
            return await reload()
        except ConfigError as error:
            raise refusal_of(error) from error

    return router
