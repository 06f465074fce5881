"""A daemon with nothing in it: its state, its health, and its end. What `serve` runs until it has more to run."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from poppo_ipc._version import __version__
from poppo_ipc.commands import Router
from poppo_ipc.commands.standard import (
    DAEMON_STARTED,
    DAEMON_STATUS,
    DAEMON_STOP,
    DAEMON_STOPPING,
    HEALTH_CHECK,
    Components,
    CpuUse,
    DaemonConfig,
    DaemonStatus,
    Done,
    Health,
    HealthChecks,
    SystemInfo,
)

__all__ = ["basic_router"]

_MICROSECONDS = 1_000_000


def basic_router(stop: Callable[[], object], *, log_level: str = "info") -> Router:
    """`daemon.status`, `daemon.stop` and `health.check`, with the fields that the full daemon answers with.

    Args:
        stop: begins the graceful end and returns at once: `server.stop_soon`.
        log_level: what the status shows.
    """
    router = Router()
    router.event(DAEMON_STARTED)
    router.event(DAEMON_STOPPING)
    began = time.monotonic()
    started = datetime.now(UTC)

    @router.command(DAEMON_STATUS)
    def status() -> DaemonStatus:
        uptime = time.monotonic() - began
        return DaemonStatus(
            status="running",
            version=__version__,
            pid=os.getpid(),
            uptime=round(uptime, 3),
            started=started,
            config=DaemonConfig(log_level=log_level),
            system=_system(),
            components=Components(
                project_manager=False, queue_manager=False, worker_pool=False, api_server=False, ipc_server=True
            ),
        )

    @router.command(DAEMON_STOP)
    def end() -> Done:
        stop()
        return Done("Daemon shutdown initiated")

    @router.command(HEALTH_CHECK)
    def health() -> Health:
        # What this daemon does not have cannot be ill, so it takes nothing from the status.
        checks = HealthChecks(config=True, queue=False, workers=False, api=False, ipc=True)
        return Health(status="healthy", timestamp=datetime.now(UTC), checks=checks)

    return router


def _system() -> SystemInfo:
    times = os.times()
    return SystemInfo(
        platform=sys.platform,
        arch=platform.machine(),
        memory={"rss": _resident_bytes()},
        cpu=CpuUse(user=times.user * _MICROSECONDS, system=times.system * _MICROSECONDS),
        python_version=platform.python_version(),
    )


def _resident_bytes() -> int:
    """Bytes of memory in use; where the system tells only the most that there ever were, those."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    if sys.platform == "win32":
        return 0
    else:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
