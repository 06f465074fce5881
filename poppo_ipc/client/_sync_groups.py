"""The standard commands by name, for the client without an event loop.

Each method is one command with its types; what it raises is what `call` raises. Results are the classes of
`poppo_ipc.commands.standard`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poppo_ipc.client._standard import standard

if TYPE_CHECKING:
    from poppo_ipc.client._sync import SyncClient
    from poppo_ipc.client._sync_streams import SyncEvents, SyncItems

__all__ = ["SyncGroups"]


class _Group:
    __slots__ = ("_client",)

    def __init__(self, client: SyncClient) -> None:
        self._client = client


class SyncDaemon(_Group):
    """The daemon itself."""

    __slots__ = ()

    def overview(self) -> standard.Status:
        """Daemon, projects, workers and queue at a glance."""
        return self._client.call(standard.STATUS)

    def status(self) -> standard.DaemonStatus:
        """The daemon's state."""
        return self._client.call(standard.DAEMON_STATUS)

    def stop(self) -> standard.Done:
        """Stop the daemon in order."""
        return self._client.call(standard.DAEMON_STOP)

    def reload(self) -> standard.DaemonReload:
        """Let the daemon read its configuration again."""
        return self._client.call(standard.DAEMON_RELOAD)

    def metrics(self) -> standard.DaemonMetrics:
        """Measurements of the daemon."""
        return self._client.call(standard.DAEMON_METRICS)


class SyncProjects(_Group):
    """The projects that the daemon looks after."""

    __slots__ = ()

    def list(self) -> standard.ProjectList:
        """All projects."""
        return self._client.call(standard.PROJECT_LIST)

    def add(
        self, path: str, name: str | None = None, config: dict[str, Any] | None = None
    ) -> standard.ProjectAddResult:
        """Add the project in the directory `path`."""
        return self._client.call(standard.PROJECT_ADD, standard.ProjectAddArgs(path, name, config))

    def remove(self, project_id: str, force: bool = False) -> standard.Done:
        """Remove a project; one with running tasks only with `force`, which stops them."""
        return self._client.call(standard.PROJECT_REMOVE, standard.ProjectRemoveArgs(project_id, force))

    def status(self, project_id: str) -> standard.ProjectDetails:
        """One project whole."""
        return self._client.call(standard.PROJECT_STATUS, standard.ProjectArgs(project_id))

    def start(self, project_id: str) -> standard.Done:
        """Start a project."""
        return self._client.call(standard.PROJECT_START, standard.ProjectArgs(project_id))

    def stop(self, project_id: str) -> standard.Done:
        """Stop a project."""
        return self._client.call(standard.PROJECT_STOP, standard.ProjectArgs(project_id))

    def restart(self, project_id: str) -> standard.Done:
        """Stop a project and start it again."""
        return self._client.call(standard.PROJECT_RESTART, standard.ProjectArgs(project_id))

    def update(self, project_id: str, config: dict[str, Any]) -> standard.Done:
        """Replace settings of a project."""
        return self._client.call(standard.PROJECT_UPDATE, standard.ProjectUpdateArgs(project_id, config))

    def notify_change(self, event: str, data: Any) -> standard.ChangeNotified:
        """Tell the daemon of a change in a project."""
        return self._client.call(standard.NOTIFY_PROJECT_CHANGE, standard.NotifyProjectChangeArgs(event, data))


class SyncQueues(_Group):
    """The queues of tasks. Without a name, all of them."""

    __slots__ = ()

    def status(self, queue: str | None = None) -> standard.QueueStatus:
        """How many tasks are in which state."""
        return self._client.call(standard.QUEUE_STATUS, standard.QueueArgs(queue))

    def pause(self, queue: str | None = None) -> standard.Done:
        """Start no more tasks."""
        return self._client.call(standard.QUEUE_PAUSE, standard.QueueArgs(queue))

    def resume(self, queue: str | None = None) -> standard.Done:
        """Start tasks again."""
        return self._client.call(standard.QUEUE_RESUME, standard.QueueArgs(queue))

    def clear(self, queue: str | None = None, status: standard.TaskState | None = None) -> standard.Done:
        """Remove tasks that do not run."""
        return self._client.call(standard.QUEUE_CLEAR, standard.QueueClearArgs(queue, status))

    def stats(self, queue: str | None = None, period: str = "1h") -> standard.QueueStats:
        """Throughput, waits and failures of the latest `period`."""
        return self._client.call(standard.QUEUE_STATS, standard.QueueStatsArgs(queue, period))


class SyncWorkers(_Group):
    """The worker pool."""

    __slots__ = ()

    def status(self) -> standard.WorkerStatus:
        """All workers."""
        return self._client.call(standard.WORKER_STATUS)

    def scale(self, count: int) -> standard.Done:
        """Set the number of workers; busy ones finish first."""
        return self._client.call(standard.WORKER_SCALE, standard.WorkerScaleArgs(count))

    def restart(self, worker_id: str | None = None) -> standard.Done:
        """Restart one worker, or all; no task is lost."""
        return self._client.call(standard.WORKER_RESTART, standard.WorkerRestartArgs(worker_id))


class SyncTasks(_Group):
    """Single tasks."""

    __slots__ = ()

    def submit(self, args: standard.TaskSubmitArgs) -> standard.TaskSubmitted:
        """Add a task."""
        return self._client.call(standard.TASK_SUBMIT, args)

    def list(self, status: standard.TaskState | None = None, limit: int = 100, offset: int = 0) -> standard.TaskList:
        """Tasks, `limit` of them from the one after `offset`."""
        return self._client.call(standard.TASK_LIST, standard.TaskListArgs(status, limit, offset))

    def status(self, task_id: str) -> standard.TaskDetails:
        """One task whole."""
        return self._client.call(standard.TASK_STATUS, standard.TaskArgs(task_id))

    def cancel(self, task_id: str) -> standard.Done:
        """Cancel a task, and stop it where it runs."""
        return self._client.call(standard.TASK_CANCEL, standard.TaskArgs(task_id))

    def retry(self, task_id: str) -> standard.TaskRetried:
        """Run a failed or cancelled task again, as a new one."""
        return self._client.call(standard.TASK_RETRY, standard.TaskArgs(task_id))

    def output(self, task_id: str) -> SyncItems:
        """What a task printed, as items; follows it while it runs."""
        return self._client.stream(standard.TASK_OUTPUT, standard.TaskOutputArgs(task_id))


class SyncLogs(_Group):
    """The daemon's log."""

    __slots__ = ()

    def tail(self, lines: int = 100, level: str | None = None) -> standard.LogsTail:
        """The last lines."""
        return self._client.call(standard.LOGS_TAIL, standard.LogsTailArgs(lines, level))

    def follow(self, lines: int = 100, level: str | None = None) -> SyncItems:
        """The last lines as items, and new ones as they come."""
        return self._client.stream(standard.LOGS_TAIL, standard.LogsTailArgs(lines, level, follow=True))


class SyncMeasurements(_Group):
    """The daemon's metrics."""

    __slots__ = ()

    def get(self, type: str | None = None, period: str = "5m") -> standard.Metrics:
        """Measurements of the latest `period`, of one type or all."""
        return self._client.call(standard.METRICS_GET, standard.MetricsArgs(type, period))


class SyncHealthChecks(_Group):
    """Whether all is well."""

    __slots__ = ()

    def check(self) -> standard.Health:
        """Check all components."""
        return self._client.call(standard.HEALTH_CHECK)


class SyncEventsGroup(_Group):
    """What happens in the daemon."""

    __slots__ = ()

    def subscribe(self, *patterns: str) -> SyncEvents:
        """The same as `subscribe` of the client."""
        return self._client.subscribe(*patterns)


class SyncIpc(_Group):
    """The server's own description."""

    __slots__ = ()

    def describe(self) -> dict[str, Any]:
        """All commands and events, with their schemas."""
        return self._client.call(standard.IPC_DESCRIBE)


class SyncGroups:
    """The groups of standard commands, for a client to inherit."""

    def __init__(self, client: SyncClient) -> None:
        self.daemon = SyncDaemon(client)
        self.projects = SyncProjects(client)
        self.queue = SyncQueues(client)
        self.workers = SyncWorkers(client)
        self.tasks = SyncTasks(client)
        self.logs = SyncLogs(client)
        self.metrics = SyncMeasurements(client)
        self.health = SyncHealthChecks(client)
        self.events = SyncEventsGroup(client)
        self.ipc = SyncIpc(client)
