"""The daemon whole: the store, the queue, the workers, the monitoring and the server, in the order they need."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, Literal, TypeVar

import attrs
import trio

from poppo_ipc._groups import sole
from poppo_ipc._version import __version__
from poppo_ipc.commands import Router
from poppo_ipc.commands.standard import Components, DaemonReload, DaemonStarted
from poppo_ipc.daemon._config import ConfigError, DaemonConfig, reload
from poppo_ipc.daemon._notify import Notifier
from poppo_ipc.daemon._parts import (
    NO_WORKERS,
    SHORTEST_GRACE,
    add_checks,
    check_parts,
    keep_bound,
    keep_tidy,
    pool_options,
    private_directory,
    refusals,
    task_options,
)
from poppo_ipc.daemon._reloading import shown_changes
from poppo_ipc.daemon._status_router import StatusReporter, status_router
from poppo_ipc.daemon._workers_router import Pool, StoredWorkerEvents, worker_status, workers_of, workers_router
from poppo_ipc.daemon.monitoring import (
    DaemonLogs,
    HealthChecks,
    LoopLag,
    Metrics,
    ProcessReader,
    health_router,
    logs_router,
    metrics_router,
    serve_metrics,
)
from poppo_ipc.daemon.projects import Projects, projects_router
from poppo_ipc.daemon.store import Store, StoredAnswers, StoredEvents, open_store
from poppo_ipc.daemon.tasks import QueueControl, TaskQueue, tasks_router
from poppo_ipc.daemon.workers import Functions, JobSource, WorkerEvents, WorkerPool
from poppo_ipc.errors import PoppoError, ShuttingDown, Unavailable
from poppo_ipc.server import Authenticator, Server, encode_event
from poppo_ipc.transport import Address, Listener, listen

__all__ = ["Daemon", "PoolFactory", "ReloadSource"]

logger = logging.getLogger("poppo_ipc.daemon")

F = TypeVar("F", bound=Callable[..., Any])

#: Seconds that an event has until the store takes it up, also where its handler is cancelled.
_PUBLISH_SECONDS: Final = 30.0

#: Reads the settings again. Raises ConfigError.
ReloadSource = Callable[[], Awaitable[DaemonConfig]]
#: Makes what runs the tasks of a source, told of workers by the events.
PoolFactory = Callable[[Functions, JobSource, WorkerEvents], Pool]


class Daemon:
    """Projects, a queue, workers and their monitoring on a server, all stored; and what an author adds to it.

    Args:
        config: the settings; the defaults for None.
        address: where to listen, in place of `config.socket`; an open listener too, which is closed at the end.
        auth: an authenticator, or a token; None serves without.
        config_source: reads the settings again for `reload`; without one there is nothing to reload.
        logs: where `logs.tail` reads: what `daemon_logging` gave. Without it the command is not available.
        notifier: the service manager to be told how the daemon is.
        without: parts to leave out (`"projects"`, `"tasks"`, `"workers"`, `"metrics"`, `"health"`); their commands
            answer `UNAVAILABLE`, unless `router` has others in their place.
        pool: makes what runs tasks, in place of worker processes.
        on_open: awaited once the state is this daemon's alone, before anybody is served.
        name, version: what clients are told.

    An author's own: `router` takes commands and events, `task` functions for workers, `health` checks; all before
    `serve`. Raises DeclarationError for a part that there is not.
    """

    def __init__(
        self,
        config: DaemonConfig | None = None,
        *,
        address: Address | str | os.PathLike[str] | Listener | None = None,
        auth: Authenticator | str | None = None,
        config_source: ReloadSource | None = None,
        logs: DaemonLogs | None = None,
        notifier: Notifier | None = None,
        without: Collection[str] = (),
        pool: PoolFactory | None = None,
        on_open: Callable[[], Awaitable[None]] | None = None,
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
        self._notifier = Notifier() if notifier is None else notifier
        self._without = check_parts(without)
        self._pool_options = pool_options(self.config)
        self._make_pool: PoolFactory = self._own_pool if pool is None else pool
        self._on_open = on_open
        self._name = name
        self._version = version
        self._lag = LoopLag()
        self._metrics = Metrics(
            lag=self._lag, process=ProcessReader(), logs_dropped=None if logs is None else lambda: logs.dropped
        )
        self._tasks: list[Callable[[], None]] = []
        self._served = False
        self._server: Server | None = None
        self._pool: Pool | None = None
        self._queue: TaskQueue | None = None
        self._reloading = trio.Lock()
        self._stop_requested = trio.Event()
        self._stop_reason = "requested"
        self._metrics_port: int | None = None

    def task(self, name: str, *, backend: Literal["trio", "asyncio"] = "trio") -> Callable[[F], F]:
        """Let tasks of the type `name` run the function below, in a worker process; it is left as it is.

        `serve` raises DeclarationError where a worker could not import it, as its module is whole only then.
        """

        def register(function: F) -> F:
            self._tasks.append(lambda: self.functions.register(name, function, backend=backend))
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
        """Run until `stop_soon`; `started()` gives the bound address once clients can connect. Serves once.

        The address is claimed first, and then the state, so whoever has either is told from this one by its error.
        Cancelled, it ends at once: what runs is interrupted, and run again by the next daemon on this state. A part
        that fails ends it, with that part's error. Raises what `listen`, `open_store`, `serve_metrics` and the pool
        raise, StoreError for a state directory that is open to others, and DeclarationError.
        """
        if self._served:
            raise PoppoError("This daemon has served already; make a new one")
        self._served = True
        failure: Exception | None = None
        try:
            await self._serve(task_status)
        except Exception as error:
            failure = sole(error)
        if failure is not None:
            raise failure

    async def _serve(self, task_status: trio.TaskStatus[Address]) -> None:
        for register in self._tasks:
            register()
        listener = await self._listen()
        limits = self.config.limits

        def encode(name: str, data: Any, seq: int) -> bytes:
            return encode_event(name, data, limits.frame_bytes, seq).frame

        try:
            await trio.to_thread.run_sync(private_directory, self.config.state_dir)
            async with open_store(self.config.state_dir / "state.db", encode) as store:
                if self._on_open is not None:
                    await self._on_open()
                await self._serve_on(store, listener, task_status)
        finally:
            # The server has closed it already, where there was one.
            with trio.move_on_after(limits.flush_seconds, shield=True):
                await listener.aclose()

    async def _listen(self) -> Listener:
        address = self._address
        if isinstance(address, Listener):
            return address
        return await listen(Address.default() if address is None else Address.parse(address))

    async def _serve_on(self, store: Store, listener: Listener, task_status: trio.TaskStatus[Address]) -> None:
        limits = self.config.limits
        events = await StoredEvents.load(store, limits.kept_events, limits.kept_event_bytes)
        answers = await StoredAnswers.load(
            store, limits.kept_answers, limits.kept_answer_bytes, limits.kept_answer_seconds
        )
        queue = self._queue = TaskQueue(store, answers, task_options(self.config))
        control = QueueControl(queue)
        projects = Projects(store, answers, queue)
        if "workers" not in self._without:
            self._pool = queue.stopper = self._make_pool(self.functions, queue, StoredWorkerEvents(store))
        server = self._server = Server(
            self._gather(store, queue, control, projects),
            address=listener,
            auth=self._auth,
            limits=limits,
            name=self._name,
            version=self._version,
            log=events.log,
            answers=answers,
            publisher=lambda event, data: self._publish(events, event, data),
            observer=self._metrics.requests.on_answered,
            drain=self._drain,
        )
        self._metrics.requests.know(server.commands)
        self._metrics.watch(
            server=server,
            queues=lambda: {name: control.status(name) for name in queue.counts.queues},
            workers=None if self._pool is None else workers_of(self._pool),
        )
        events.connect(server.emit)
        await projects.load()
        await queue.load()
        async with trio.open_nursery() as parts:
            for part in (events.trim, queue.run, self._lag.run, self._metrics.run):
                parts.start_soon(part)
            parts.start_soon(keep_tidy, control, answers)
            if self.config.metrics_port is not None:
                self._metrics_port = await parts.start(self._serve_metrics)
            await self._run_server(server, parts, task_status)
            parts.cancel_scope.cancel()

    async def _run_server(self, server: Server, parts: trio.Nursery, task_status: trio.TaskStatus[Address]) -> None:
        async with trio.open_nursery() as serving:
            address = await serving.start(server.serve)
            parts.start_soon(keep_bound, server)
            parts.start_soon(self._notifier.run_watchdog)
            if self._pool is not None:
                serving.start_soon(self._pool.run)
            await server.publish("daemon.started", DaemonStarted(os.getpid()))
            self._notifier.ready(f"Serving on {address}")
            task_status.started(address)
            await self._stop_requested.wait()
            await self._wind_down(server)

    async def _wind_down(self, server: Server) -> None:
        """Stop in order: commands and workers have the grace to end, and clients hear of it; the store closes last."""
        grace, reason = self.config.stop_grace, self._stop_reason
        logger.info("Stopping (%s); what runs has %g s", reason, grace)
        self._notifier.stopping(f"Stopping: {reason}")
        await server.stop(grace, reason=reason)

    async def _drain(self, grace: float) -> None:
        if self._pool is not None:
            await self._pool.drain(grace)

    async def _publish(self, events: StoredEvents, event: str, data: Any) -> int:
        # A handler that is cancelled may still tell of its end, which a commit or two store.
        with trio.move_on_after(_PUBLISH_SECONDS, shield=True):
            return await events.publish(event, data)
        # It was withdrawn, so it is not stored twice. Who is cancelled gives up here, and who is not waits on.
        logger.error("The store did not take %s within %g s", event, _PUBLISH_SECONDS)
        return await events.publish(event, data)

    async def _serve_metrics(self, *, task_status: trio.TaskStatus[int]) -> None:
        assert self.config.metrics_port is not None
        await serve_metrics(
            self._metrics.registry,
            self.config.metrics_port,
            refresh=self._metrics.refresh,
            task_status=task_status,
        )

    def _own_pool(self, functions: Functions, source: JobSource, events: WorkerEvents) -> Pool:
        return WorkerPool(functions, source, events, self._pool_options)

    def stop_soon(self, *, reason: str = "requested") -> None:
        """Begin to stop, and do not wait: `serve` returns when that is done. A second time it changes nothing.

        Clients are told, and no new commands are taken. Tasks and commands that run have `config.stop_grace` seconds.
        Tasks that have not ended by then are interrupted and run again by the next daemon; commands are cancelled.
        The state is closed last.
        """
        if not self._stop_requested.is_set():
            self._stop_reason = reason
            self._stop_requested.set()

    # -- settings -----------------------------------------------------------------------------------------------

    async def reload(self) -> DaemonReload:
        """Read the settings again, and take over what can change while the daemon runs.

        They are checked as a whole before any holds. Raises ConfigError, Unavailable without a `config_source`, and
        ShuttingDown while the daemon stops; nothing has changed then, and the log says why.
        """
        if self._config_source is None:
            raise Unavailable("This daemon was given its settings by a program; there is nothing to read again")
        async with self._reloading:
            if self._stop_requested.is_set():
                raise ShuttingDown("The daemon is stopping; its settings are not read again")
            self._notifier.reloading("Reading the configuration again")
            try:
                return await self._take_over(await self._config_source())
            except ConfigError as error:
                logger.error("The configuration was not reloaded: %s", "; ".join(map(str, error.problems)))
                raise
            finally:
                if not self._stop_requested.is_set():
                    self._notifier.ready(f"Serving on {self._server.address}" if self._server is not None else "")

    async def _take_over(self, new: DaemonConfig) -> DaemonReload:
        changes = reload(self.config, new)
        self.config = config = changes.config
        changed = {change.key for change in changes.applied}
        if self._logs is not None and "log_level" in changed:
            self._logs.set_level(config.log_level)
        if self._queue is not None:
            self._queue.options = task_options(config)
        if self._pool is not None:
            if "kill_grace" in changed:
                self._pool.set_kill_grace(max(SHORTEST_GRACE, config.kill_grace))
            if "workers" in changed:
                await self._pool.scale(config.workers)
        for change in changes.applied:
            logger.info("Setting %s is now %s (was %s)", change.key, change.new, change.old)
        for change in changes.restart:
            logger.warning("Setting %s takes effect when the daemon is restarted", change.key)
        return DaemonReload("Configuration reloaded", shown_changes(changes, self._metrics_port))

    # -- commands -------------------------------------------------------------------------------------------------

    def _gather(self, store: Store, queue: TaskQueue, control: QueueControl, projects: Projects) -> Router:
        everything = Router()
        everything.include(self.router)
        pool = self._pool
        add_checks(
            self.health,
            lambda: self.config,
            store=store,
            pool=pool,
            lag=self._lag,
            still_bound=lambda: self.server.still_bound,
            metrics_port=lambda: self._metrics_port,
        )
        parts = [
            status_router(
                StatusReporter(self._version, self._shown_config, self._components),
                projects=lambda: [] if "projects" in self._without else projects.list(),
                workers=lambda: NO_WORKERS if pool is None else worker_status(pool),
                queue=control.status,
                stop=lambda: self.stop_soon(reason="daemon.stop"),
                reload=self.reload,
            )
        ]
        if "projects" not in self._without:
            parts.append(projects_router(projects, self._notified))
        if "tasks" not in self._without:
            parts.append(tasks_router(queue, control, lambda: self.functions.names, projects.__contains__))
        if pool is not None:
            parts.append(workers_router(pool))
        if "metrics" not in self._without:
            parts.append(metrics_router(self._metrics))
        if "health" not in self._without:
            parts.append(health_router(self.health))
        if self._logs is not None:
            parts.append(logs_router(self._logs.ring))
        for part in parts:
            everything.include(part)
        everything.include(refusals(set(everything.commands)))
        return everything

    async def _notified(self, event: str, project: str | None) -> None:
        logger.info(
            "Told of a change in %s: %s",
            project or "no project of ours",
            event,
            extra={"event": event, "project": project},
        )

    def _shown_config(self) -> DaemonConfig:
        return attrs.evolve(self.config, metrics_port=self._metrics_port or self.config.metrics_port)

    def _components(self) -> Components:
        return Components(
            project_manager="projects" not in self._without,
            queue_manager="tasks" not in self._without,
            worker_pool=self._pool is not None,
            api_server=self._metrics_port is not None,
            ipc_server=self._server is not None and not self._server.stopping,
        )
