"""The standard commands by name, for the client of event loops.

Each method is one command with its types; what it raises is what `call` raises. Results are the classes of
`poppo_ipc.commands.standard`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poppo_ipc.client._standard import standard

if TYPE_CHECKING:
    from poppo_ipc.client._client import Client
    from poppo_ipc.client._streams import EventStream, ItemStream

__all__ = ["Groups"]


class _Group:
    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client


class Daemon(_Group):
    """The daemon itself."""

    __slots__ = ()

    async def overview(self) -> standard.Status:
        """Daemon, projects, workers and queue at a glance."""
        return await self._client.call(standard.STATUS)

    async def status(self) -> standard.DaemonStatus:
        """The daemon's state."""
        return await self._client.call(standard.DAEMON_STATUS)

    async def stop(self) -> standard.Done:
        """Stop the daemon in order."""
        return await self._client.call(standard.DAEMON_STOP)

    async def reload(self) -> standard.DaemonReload:
        """Let the daemon read its configuration again."""
        return await self._client.call(standard.DAEMON_RELOAD)

    async def metrics(self) -> standard.DaemonMetrics:
        """Measurements of the daemon."""
        return await self._client.call(standard.DAEMON_METRICS)


class Projects(_Group):
    """The projects that the daemon looks after."""

    __slots__ = ()

    async def list(self) -> standard.ProjectList:
        """All projects."""
        return await self._client.call(standard.PROJECT_LIST)

    async def add(
        self, path: str, name: str | None = None, config: dict[str, Any] | None = None
    ) -> standard.ProjectAddResult:
        """Add the project in the directory `path`."""
        return await self._client.call(standard.PROJECT_ADD, standard.ProjectAddArgs(path, name, config))

    async def remove(self, project_id: str, force: bool = False) -> standard.Done:
        """Remove a project; one with running tasks only with `force`, which stops them."""
        return await self._client.call(standard.PROJECT_REMOVE, standard.ProjectRemoveArgs(project_id, force))

    async def status(self, project_id: str) -> standard.ProjectDetails:
        """One project whole."""
        return await self._client.call(standard.PROJECT_STATUS, standard.ProjectArgs(project_id))

    async def start(self, project_id: str) -> standard.Done:
        """Start a project."""
        return await self._client.call(standard.PROJECT_START, standard.ProjectArgs(project_id))

    async def stop(self, project_id: str) -> standard.Done:
        """Stop a project."""
        return await self._client.call(standard.PROJECT_STOP, standard.ProjectArgs(project_id))

    async def restart(self, project_id: str) -> standard.Done:
        """Stop a project and start it again."""
        return await self._client.call(standard.PROJECT_RESTART, standard.ProjectArgs(project_id))

    async def update(self, project_id: str, config: dict[str, Any]) -> standard.Done:
        """Replace settings of a project."""
        return await self._client.call(standard.PROJECT_UPDATE, standard.ProjectUpdateArgs(project_id, config))

    async def notify_change(self, event: str, data: Any) -> standard.ChangeNotified:
        """Tell the daemon of a change in a project."""
        return await self._client.call(standard.NOTIFY_PROJECT_CHANGE, standard.NotifyProjectChangeArgs(event, data))


class Queues(_Group):
    """The queues of tasks. Without a name, all of them."""

    __slots__ = ()

    async def status(self, queue: str | None = None) -> standard.QueueStatus:
        """How many tasks are in which state."""
        return await self._client.call(standard.QUEUE_STATUS, standard.QueueArgs(queue))

    async def pause(self, queue: str | None = None) -> standard.Done:
        """Start no more tasks."""
        return await self._client.call(standard.QUEUE_PAUSE, standard.QueueArgs(queue))

    async def resume(self, queue: str | None = None) -> standard.Done:
        """Start tasks again."""
        return await self._client.call(standard.QUEUE_RESUME, standard.QueueArgs(queue))

    async def clear(self, queue: str | None = None, status: standard.TaskState | None = None) -> standard.Done:
        """Remove tasks that do not run."""
        return await self._client.call(standard.QUEUE_CLEAR, standard.QueueClearArgs(queue, status))

    async def stats(self, queue: str | None = None, period: str = "1h") -> standard.QueueStats:
        """Throughput, waits and failures of the latest `period`."""
        return await self._client.call(standard.QUEUE_STATS, standard.QueueStatsArgs(queue, period))


class Workers(_Group):
    """The worker pool."""

    __slots__ = ()

    async def status(self) -> standard.WorkerStatus:
        """All workers."""
        return await self._client.call(standard.WORKER_STATUS)

    async def scale(self, count: int) -> standard.Done:
        """Set the number of workers; busy ones finish first."""
        return await self._client.call(standard.WORKER_SCALE, standard.WorkerScaleArgs(count))

    async def restart(self, worker_id: str | None = None) -> standard.Done:
        """Restart one worker, or all; no task is lost."""
        return await self._client.call(standard.WORKER_RESTART, standard.WorkerRestartArgs(worker_id))


class Tasks(_Group):
    """Single tasks."""

    __slots__ = ()

    async def submit(self, args: standard.TaskSubmitArgs) -> standard.TaskSubmitted:
        """Add a task."""
        return await self._client.call(standard.TASK_SUBMIT, args)

    async def list(
        self, status: standard.TaskState | None = None, limit: int = 100, offset: int = 0
    ) -> standard.TaskList:
        """Tasks, `limit` of them from the one after `offset`."""
        return await self._client.call(standard.TASK_LIST, standard.TaskListArgs(status, limit, offset))

    async def status(self, task_id: str) -> standard.TaskDetails:
        """One task whole."""
        return await self._client.call(standard.TASK_STATUS, standard.TaskArgs(task_id))

    async def cancel(self, task_id: str) -> standard.Done:
        """Cancel a task, and stop it where it runs."""
        return await self._client.call(standard.TASK_CANCEL, standard.TaskArgs(task_id))

    async def retry(self, task_id: str) -> standard.TaskRetried:
        """Run a failed or cancelled task again, as a new one."""
        return await self._client.call(standard.TASK_RETRY, standard.TaskArgs(task_id))

    def output(self, task_id: str) -> ItemStream:
        """What a task printed, as items; follows it while it runs."""
        return self._client.stream(standard.TASK_OUTPUT, standard.TaskOutputArgs(task_id))


class Logs(_Group):
    """The daemon's log."""

    __slots__ = ()

    async def tail(self, lines: int = 100, level: str | None = None) -> standard.LogsTail:
        """The last lines."""
        return await self._client.call(standard.LOGS_TAIL, standard.LogsTailArgs(lines, level))

    def follow(self, lines: int = 100, level: str | None = None) -> ItemStream:
        """The last lines as items, and new ones as they come."""
        return self._client.stream(standard.LOGS_TAIL, standard.LogsTailArgs(lines, level, follow=True))


class Measurements(_Group):
    """The daemon's metrics."""

    __slots__ = ()

    async def get(self, type: str | None = None, period: str = "5m") -> standard.Metrics:
        """Measurements of the latest `period`, of one type or all."""
        return await self._client.call(standard.METRICS_GET, standard.MetricsArgs(type, period))


class HealthChecks(_Group):
    """Whether all is well."""

    __slots__ = ()

    async def check(self) -> standard.Health:
        """Check all components."""
        return await self._client.call(standard.HEALTH_CHECK)


class EventsGroup(_Group):
    """What happens in the daemon."""

    __slots__ = ()

    def subscribe(self, *patterns: str) -> EventStream:
        """The same as `subscribe` of the client."""
        return self._client.subscribe(*patterns)


class Ipc(_Group):
    """The server's own description."""

    __slots__ = ()

    async def describe(self) -> dict[str, Any]:
        """All commands and events, with their schemas."""
        return await self._client.call(standard.IPC_DESCRIBE)


class Groups:
    """The groups of standard commands, for a client to inherit."""

    def __init__(self, client: Client) -> None:
        self.daemon = Daemon(client)
        self.projects = Projects(client)
        self.queue = Queues(client)
        self.workers = Workers(client)
        self.tasks = Tasks(client)
        self.logs = Logs(client)
        self.metrics = Measurements(client)
        self.health = HealthChecks(client)
        self.events = EventsGroup(client)
        self.ipc = Ipc(client)
