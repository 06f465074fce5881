"""`worker.*` on the pool, and its events on the store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

import trio

from poppo_ipc.commands import Context, Router
from poppo_ipc.commands.standard import (
    WORKER_ADDED,
    WORKER_REMOVED,
    WORKER_RESTART,
    WORKER_SCALE,
    WORKER_STATUS,
    Done,
    Worker,
    WorkerRestartArgs,
    WorkerScaleArgs,
    WorkerStatus,
)
from poppo_ipc.daemon.store import Store, StoreUnavailable
from poppo_ipc.daemon.workers import PoolStatus, WorkerInfo

__all__ = ["Pool", "StoredWorkerEvents", "worker_status", "workers_of", "workers_router"]

logger = logging.getLogger("poppo_ipc.daemon.workers")

_STORE_RETRY_SECONDS: Final = 1.0


class Pool(Protocol):
    """What runs tasks; `workers.WorkerPool` is one, and an author may give another.

    It takes jobs from a `JobSource`, and tells it of each how it ended.
    """

    async def run(self) -> None:
        """Run tasks, until `drain` has ended; what it raises ends the daemon. Cancelled, it ends at once."""

    async def drain(self, grace: float) -> None:
        """Take no more tasks, let those that run go on for `grace` seconds, stop the rest; return when none is left."""

    def cancel_job(self, task_id: str) -> bool:
        """Begin to stop a task that runs here; False where it does not."""

    def set_kill_grace(self, seconds: float) -> None:
        """What is stopped from now on has so many seconds to end before it is killed; the setting was read again."""

    async def scale(self, count: int) -> None:
        """Have so many workers from now on. Raises InvalidArgs for fewer than none."""

    async def restart(self, worker_id: str | None = None) -> None:
        """Replace one worker, or all. Raises NotFound."""

    def status(self) -> PoolStatus:
        """The workers as they are now."""


class StoredWorkerEvents:
    """Tells of workers that come and go, once that is stored."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def worker_added(self, worker_id: str) -> None:
        """A worker is up."""
        await self._publish("worker.added", {"workerId": worker_id})

    async def worker_removed(self, worker_id: str, reason: str) -> None:
        """A worker is gone."""
        await self._publish("worker.removed", {"workerId": worker_id, "reason": reason})

    async def _publish(self, event: str, data: dict[str, str]) -> None:
        # Raised, it would end the pool and with it the daemon. The worker gives up waiting, and logs that.
        while True:
            try:
                await self._store.write(lambda transaction: transaction.publish(event, data))
                return
            except StoreUnavailable as error:
                logger.error("%s could not be stored, and is tried again: %s", event, error)
                await trio.sleep(_STORE_RETRY_SECONDS)


def worker_status(pool: Pool) -> WorkerStatus:
    """The answer of `worker.status`."""
    status = pool.status()
    workers = [
        Worker(
            id=worker.id,
            state=worker.state,
            status=worker.state,
            current_task=worker.current_task,
            tasks_completed=worker.tasks_completed,
            uptime=round(worker.uptime, 3),
            memory=worker.memory,
            cpu=round(worker.cpu, 1),
        )
        for worker in status.workers
    ]
    return WorkerStatus(total=status.total, active=status.active, idle=status.idle, workers=workers)


def workers_of(pool: Pool) -> Callable[[], tuple[WorkerInfo, ...]]:
    """Asks a pool for its workers, for the metrics."""
    return lambda: pool.status().workers


def workers_router(pool: Pool) -> Router:
    """The commands."""
    router = Router()
    router.event(WORKER_ADDED)
    router.event(WORKER_REMOVED)

    @router.command(WORKER_STATUS)
    def status(ctx: Context) -> WorkerStatus:
        return worker_status(pool)

    @router.command(WORKER_SCALE)
    async def scale(ctx: Context, args: WorkerScaleArgs) -> Done:
        await pool.scale(args.count)
        return Done(f"Worker pool scaled to {args.count} workers")

    @router.command(WORKER_RESTART)
    async def restart(ctx: Context, args: WorkerRestartArgs) -> Done:
        await pool.restart(args.worker_id)
        return Done("All workers restarted" if args.worker_id is None else f"Worker {args.worker_id} restarted")

    return router
