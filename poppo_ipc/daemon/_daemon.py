"""The daemon whole: the store, the queue, the workers, the monitoring and the server, in the order they need."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import trio

from poppo_ipc._version import __version__
from poppo_ipc.commands import Router
from poppo_ipc.commands.standard import STANDARD_COMMANDS, Components, DaemonReload, DaemonStarted
from poppo_ipc.daemon._config import DaemonConfig, reload
from poppo_ipc.daemon._status_router import StatusReporter, status_router
from poppo_ipc.daemon._workers_router import StoredWorkerEvents, worker_status, workers_router
from poppo_ipc.daemon.monitoring import (
    DaemonLogs,
    HealthChecks,
    LoopLag,
    Metrics,
    ProcessReader,
    disk_space_check,
    health_router,
    logs_router,
    loop_lag_check,
    metrics_router,
    serve_metrics,
)
from poppo_ipc.daemon.projects import Projects, projects_router
from poppo_ipc.daemon.store import Store, StoredAnswers, StoredEvents, StoreError, open_store
from poppo_ipc.daemon.tasks import QueueControl, Retry, TaskOptions, TaskQueue, tasks_router
from poppo_ipc.daemon.workers import Functions, PoolOptions, WorkerPool
from poppo_ipc.errors import PoppoError, Unavailable
from poppo_ipc.server import Authenticator, Server, encode_event
from poppo_ipc.transport import Address, Listener

__all__ = ["Daemon", "ReloadSource"]

logger = logging.getLogger("poppo_ipc.daemon")

F = TypeVar("F", bound=Callable[..., Any])

#: Reads the settings again. Raises ConfigError.
ReloadSource = Callable[[], Awaitable[DaemonConfig]]

_JANITOR_SECONDS = 60.0
_HEAL_SECONDS = 30.0


class Daemon:
    """Projects, a queue, workers and their monitoring on a server, all stored; and what an author adds to it.

    Args:
        config: the settings; the defaults for None.
        address: where to listen, in place of `config.socket`; an open listener too.
        auth: an authenticator, or a token; None serves without.
        config_source: reads the settings again for `reload`; without one there is nothing to reload.
        logs: where `logs.tail` reads: what `daemon_logging` gave. Without it the command is not available.
        name, version: what clients are told.

    An author's own: `router` takes commands and events, `task` functions for workers, `health` checks; all before
    `serve`.
    """

    def __init__(
        self,
        config: DaemonConfig | None = None,
        *,
        address: Address | str | os.PathLike[str] | Listener | None = None,
        auth: Authenticator | str | None = None,
        config_source: ReloadSource | None = None,
        logs: DaemonLogs | None = None,
        name: str = "poppo_ipc",
        version: str = __version__,
    ) -> None:
        self.config = DaemonConfig() if config is None else config
        self.router = Router()
        self.functions = Functions()
        self.health = HealthChecks()
        self._address = self.config.socket if address is None else address
        self._auth = auth
        self._config_source = config_source
        self._logs = logs
        self._name = name
        self._version = version
        self._lag = LoopLag()
        self._metrics = Metrics(
            lag=self._lag, process=ProcessReader(), logs_dropped=None if logs is None else lambda: logs.dropped
        )
        self._server: Server | None = None
        self._pool: WorkerPool | None = None
        self._queue: TaskQueue | None = None
        self._stop_requested = trio.Event()
        self._stop_reason = "requested"
        self._metrics_port: int | None = None

    def task(self, name: str, *, backend: Literal["trio", "asyncio"] = "trio") -> Callable[[F], F]:
        """Let tasks of the type `name` run the function below, in a worker process; it is left as it is.

        Raises DeclarationError where a worker could not import it.
        """

        def register(function: F) -> F:
            self.functions.register(name, function, backend=backend)
            return function

        return register

    @property
    def server(self) -> Server:
        """The server. Raises PoppoError before `serve`."""
        if self._server is None:
            raise PoppoError("This daemon does not serve yet")
        return self._server

    async def publish(self, event: str, data: Any = None) -> int:
        """Store an event and send it; gives its number. Raises as `Server.publish`, and StoreError."""
        return await self.server.publish(event, data)

    # -- life ---------------------------------------------------------------------------------------------------

    async def serve(self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`; `started()` gives the bound address once clients can connect.

        Cancelled, it ends at once: what runs is interrupted, and run again by the next daemon on this state. Raises
        what `open_store` and `Server.serve` raise.
        """
        state_dir = self.config.state_dir
        await trio.to_thread.run_sync(_private_directory, state_dir)
        limit = self.config.limits.frame_bytes

        def encode(name: str, data: Any, seq: int) -> bytes:
            return bytes(encode_event(name, data, limit, seq).frame)

        async with open_store(state_dir / "state.db", encode) as store:
            await self._serve_on(store, task_status)

    async def _serve_on(self, store: Store, task_status: trio.TaskStatus[Address]) -> None:
        limits = self.config.limits
        events = await StoredEvents.load(store, limits.kept_events, limits.kept_event_bytes)
        answers = await StoredAnswers.load(
            store, limits.kept_answers, limits.kept_answer_bytes, limits.kept_answer_seconds
        )
        queue = self._queue = TaskQueue(store, answers, _task_options(self.config))
        control = QueueControl(queue)
        projects = Projects(store, answers, queue)
        pool = self._pool = WorkerPool(self.functions, queue, StoredWorkerEvents(store), _pool_options(self.config))
        queue.stopper = pool
        server = self._server = Server(
            self._gather(store, queue, control, projects, pool),
            address=self._address,
            auth=self._auth,
            limits=limits,
            name=self._name,
            version=self._version,
            log=events.log,
            answers=answers,
            publisher=events.publish,
            observer=self._metrics.requests.on_answered,
        )
        self._metrics.requests.know(server.commands)
        events.connect(server.emit)
        self._metrics.watch(
            server=server,
            queues=lambda: {name: control.status(name) for name in queue.counts.queues},
            workers=lambda: pool.status().workers,
        )
        await projects.load()
        await queue.load()
        async with trio.open_nursery() as parts:
            for part in (events.trim, queue.run, self._lag.run, self._metrics.run):
                parts.start_soon(part)
            parts.start_soon(_tidy, control, answers)
            if self.config.metrics_port is not None:
                self._metrics_port = await parts.start(self._serve_metrics)
            async with trio.open_nursery() as serving:
                address = await serving.start(server.serve)
                parts.start_soon(_heal, server)
                serving.start_soon(pool.run)
                await server.publish("daemon.started", DaemonStarted(os.getpid()))
                task_status.started(address)
                await self._stop_requested.wait()
                serving.start_soon(pool.drain, self.config.stop_grace)
                await server.stop(self.config.stop_grace, reason=self._stop_reason)
            parts.cancel_scope.cancel()

    async def _serve_metrics(self, *, task_status: trio.TaskStatus[int]) -> None:
        assert self.config.metrics_port is not None
        await serve_metrics(
            self._metrics.registry,
            self.config.metrics_port,
            refresh=self._metrics.refresh,
            task_status=task_status,
        )

    def stop_soon(self, *, reason: str = "requested") -> None:
        """Begin to stop, and do not wait: `serve` returns when that is done. A second time it changes nothing."""
        if not self._stop_requested.is_set():
            self._stop_reason = reason
            self._stop_requested.set()

    async def reload(self) -> DaemonReload:
        """Read the settings again, and take over what can change while the daemon runs.

        They are checked as a whole before any holds. Raises ConfigError, and Unavailable without a `config_source`;
        nothing has changed then.
        """
        if self._config_source is None:
            raise Unavailable("This daemon was given its settings by a program; there is nothing to read again")
        changes = reload(self.config, await self._config_source())
        self.config = changes.config
        if self._logs is not None:
            self._logs.set_level(self.config.log_level)
        if self._queue is not None:
            self._queue.options = _task_options(self.config)
        if self._pool is not None and any(change.key == "workers" for change in changes.applied):
            await self._pool.scale(self.config.workers)
        for change in changes.applied:
            logger.info("Setting %s is now %s (was %s)", change.key, change.new, change.old)
        for change in changes.restart:
            logger.warning("Setting %s takes effect when the daemon is restarted", change.key)
        return DaemonReload(
            "Configuration reloaded",
            {
                "maxProcesses": self.config.workers,
                "logLevel": self.config.log_level,
                "port": self.config.metrics_port,
                "changed": [change.key for change in changes.applied],
                "needsRestart": [change.key for change in changes.restart],
            },
        )

    # -- commands -------------------------------------------------------------------------------------------------

    def _gather(
        self, store: Store, queue: TaskQueue, control: QueueControl, projects: Projects, pool: WorkerPool
    ) -> Router:
        everything = Router()
        reporter = StatusReporter(self._version, lambda: self.config, self._components)
        parts = [
            status_router(
                reporter,
                projects=projects.list,
                workers=lambda: worker_status(pool),
                queue=control.status,
                stop=lambda: self.stop_soon(reason="daemon.stop"),
                reload=self.reload,
            ),
            projects_router(projects, self._notified),
            tasks_router(queue, control, lambda: self.functions.names, projects.__contains__),
            workers_router(pool),
            metrics_router(self._metrics),
            health_router(self.health),
        ]
        if self._logs is not None:
            parts.append(logs_router(self._logs.ring))
        for part in parts:
            everything.include(part)
        everything.include(self.router)
        everything.include(_unavailable(set(everything.commands)))
        self._add_checks(store, pool)
        return everything

    async def _notified(self, event: str, data: Any) -> None:
        logger.info("Told of a change in a project: %s", event, extra={"event": event})

    def _components(self) -> Components:
        return Components(
            project_manager=True,
            queue_manager=True,
            worker_pool=self._pool is not None,
            api_server=self._metrics_port is not None,
            ipc_server=self._server is not None and not self._server.stopping,
        )

    def _add_checks(self, store: Store, pool: WorkerPool) -> None:
        health = self.health

        async def database() -> tuple[bool, str]:
            # A commit of its own: whether the disk takes one is what is asked.
            await store.write(lambda t: t.execute("INSERT OR REPLACE INTO meta VALUES ('checked', datetime())"))
            return True, f"{store.commits} commits so far"

        def workers() -> tuple[bool, str]:
            status = pool.status()
            return status.total >= status.target, f"{status.total} of {status.target} workers are up"

        health.add("config", lambda: True)
        health.add("database", database, timeout=5.0)
        health.add("queue", lambda: (store.failure is None, store.failure or "stored"))
        health.add("workers", workers, critical=False)
        health.add("ipc", lambda: self.server.still_bound)
        if self.config.metrics_port is not None:
            health.add("api", lambda: self._metrics_port is not None, critical=False)
        health.add("loop", loop_lag_check(self._lag, self.config.health.loop_lag), critical=False)
        health.add(
            "disk",
            disk_space_check(
                self.config.state_dir, percent=self.config.health.disk_percent, size=self.config.health.disk_bytes
            ),
        )


def _unavailable(known: set[str]) -> Router:
    """The standard commands whose component this daemon was built without."""
    router = Router()
    for spec in STANDARD_COMMANDS:
        if spec.name in known or spec.name.startswith(("events.", "ipc.")):
            continue

        router.command(spec.name, summary=spec.summary, hidden=True)(_refusal(spec.name))
    return router


def _refusal(name: str) -> Callable[[dict[str, Any]], None]:
    def refuse(args: dict[str, Any]) -> None:
        raise Unavailable(f"{name} is not part of this daemon")

    return refuse


def _task_options(config: DaemonConfig) -> TaskOptions:
    queue = config.queue
    return TaskOptions(
        max_attempts=queue.max_attempts,
        retry=Retry(base=queue.backoff_base, cap=queue.backoff_cap),
        output_bytes=max(1, queue.output_bytes),
        keep_seconds=queue.retention_days * 24 * 3600,
        keep_count=max(1, queue.retention_count),
    )


def _pool_options(config: DaemonConfig) -> PoolOptions:
    return attrs.evolve(PoolOptions(), count=config.workers, kill_grace=max(0.001, config.kill_grace))


def _private_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _tidy(control: QueueControl, answers: StoredAnswers) -> None:
    """Delete what is kept no longer, once a minute, until cancelled."""
    while True:
        try:
            await control.trim()
            await answers.forget_expired()
        except StoreError as error:
            logger.warning("What is no longer kept could not be deleted: %s", error)
        await trio.sleep(_JANITOR_SECONDS)


async def _heal(server: Server) -> None:
    """Put the socket back where a cleaner has deleted it, until cancelled."""
    while True:
        await trio.sleep(_HEAL_SECONDS)
        server.heal()
