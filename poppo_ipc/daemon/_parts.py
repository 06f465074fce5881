"""What the daemon is put together from: options made of its settings, its health checks, what it is without."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

import trio

from poppo_ipc.commands import Router
from poppo_ipc.commands.standard import STANDARD_COMMANDS, WorkerStatus
from poppo_ipc.daemon._config import DaemonConfig
from poppo_ipc.daemon._workers_router import Pool
from poppo_ipc.daemon.monitoring import HealthChecks, LoopLag, disk_space_check, loop_lag_check
from poppo_ipc.daemon.store import Store, StoredAnswers, StoreError
from poppo_ipc.daemon.tasks import QueueControl, Retry, TaskOptions
from poppo_ipc.daemon.workers import PoolOptions
from poppo_ipc.errors import DeclarationError, Unavailable
from poppo_ipc.server import Server
from poppo_ipc.transport._private import make_private_directory, why_not_private

__all__ = [
    "NO_WORKERS", "PARTS", "SHORTEST_GRACE", "add_checks", "check_parts", "keep_bound",
    "keep_tidy", "pool_options", "private_directory",
    "refusals", "task_options",
]  # fmt: skip

logger = logging.getLogger("poppo_ipc.daemon")

#: What a daemon can be built without, by `without`. Without tasks there are no workers either.
PARTS: Final = ("projects", "tasks", "workers", "metrics", "health")
NO_WORKERS: Final = WorkerStatus(total=0, active=0, idle=0, workers=[])
_JANITOR_SECONDS: Final = 60.0
_HEAL_SECONDS: Final = 30.0
# An option of the pool has to be more than nothing.
SHORTEST_GRACE: Final = 0.001


def check_parts(without: Collection[str]) -> frozenset[str]:
    """The parts that are left out. Raises DeclarationError for one that there is not."""
    unknown = sorted(set(without) - set(PARTS))
    if unknown:
        raise DeclarationError(f"A daemon has no part {unknown[0]!r} to leave out; it has {', '.join(PARTS)}")
    return frozenset(without) | ({"workers"} if "tasks" in without else set())


def refusals(known: Collection[str]) -> Router:
    """The standard commands that are not among the `known` ones: their component is not part of this daemon."""
    router = Router()
    for spec in STANDARD_COMMANDS:
        if spec.name not in known and not spec.name.startswith(("events.", "ipc.")):
            router.command(spec.name, summary=spec.summary, scope=spec.scope, hidden=True)(_refusal(spec.name))
    return router


def _refusal(name: str) -> Callable[[dict[str, Any]], None]:
    def refuse(args: dict[str, Any]) -> None:
        raise Unavailable(f"{name} is not part of this daemon")

    return refuse


# -- settings -----------------------------------------------------------------------------------------------------


def task_options(config: DaemonConfig) -> TaskOptions:
    """How tasks are treated, by the settings."""
    queue = config.queue
    return TaskOptions(
        max_attempts=queue.max_attempts,
        retry=Retry(base=queue.backoff_base, cap=queue.backoff_cap),
        output_bytes=max(1, queue.output_bytes),
        keep_seconds=queue.retention_days * 24 * 3600,
        keep_count=max(1, queue.retention_count),
    )


def pool_options(config: DaemonConfig) -> PoolOptions:
    """How workers are treated, by the settings."""
    return PoolOptions(count=config.workers, kill_grace=max(SHORTEST_GRACE, config.kill_grace))


def private_directory(path: Path) -> None:
    """Make the state directory, for its owner alone. Blocks.

    Raises StoreError where it cannot be made, or is open to others: who reads the state has the daemon's token.
    """
    try:
        make_private_directory(str(path))
        problem = why_not_private(str(path))
    except OSError as error:
        raise StoreError(f"The state directory {path} cannot be made: {error.strerror}") from error
    if problem is not None:
        raise StoreError(f"The state directory {path} {problem}")


# -- health -------------------------------------------------------------------------------------------------------


def add_checks(
    health: HealthChecks,
    config: Callable[[], DaemonConfig],
    *,
    store: Store,
    pool: Pool | None,
    lag: LoopLag,
    still_bound: Callable[[], bool],
    metrics_port: Callable[[], int | None],
) -> None:
    """The checks of the daemon's parts. `config` gives the settings as they are when a check runs."""

    async def database() -> tuple[bool, str]:
        # A commit of its own: whether the disk takes one is what is asked.
        await store.write(lambda t: t.execute("INSERT OR REPLACE INTO meta VALUES ('checked', datetime())"))
        return True, f"{store.commits} commits so far"

    def event_loop() -> tuple[bool, str]:
        return loop_lag_check(lag, config().health.loop_lag)()

    async def disk() -> tuple[bool, str]:
        limits = config().health
        return await disk_space_check(config().state_dir, percent=limits.disk_percent, size=limits.disk_bytes)()

    health.add("config", lambda: True)
    health.add("database", database, timeout=5.0)
    health.add("queue", lambda: (store.failure is None, store.failure or "stored"))
    if pool is not None:
        health.add("workers", lambda: _are_up(pool), critical=False)
    health.add("ipc", still_bound)
    if config().metrics_port is not None:
        health.add("api", lambda: metrics_port() is not None, critical=False)
    health.add("loop", event_loop, critical=False)
    health.add("disk", disk)


def _are_up(pool: Pool) -> tuple[bool, str]:
    status = pool.status()
    return status.total >= status.target, f"{status.total} of {status.target} workers are there"


# -- housekeeping -------------------------------------------------------------------------------------------------


async def keep_tidy(control: QueueControl, answers: StoredAnswers) -> None:
    """Delete what is kept no longer, once a minute, until cancelled."""
    while True:
        try:
            await control.trim()
            await answers.forget_expired()
        except StoreError as error:
            logger.warning("What is no longer kept could not be deleted: %s", error)
        await trio.sleep(_JANITOR_SECONDS)


async def keep_bound(server: Server) -> None:
    """Put the socket back where a cleaner has deleted it, until cancelled."""
    while True:
        await trio.sleep(_HEAL_SECONDS)
        server.heal()
