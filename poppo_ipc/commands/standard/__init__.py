"""The standard commands and events of the protocol: their types and docs (COMMANDS.md). No behaviour."""

from typing import Any

from poppo_ipc.commands._command import CommandSpec, EventDeclaration
from poppo_ipc.commands.standard._shared import Done as Done
from poppo_ipc.commands.standard._shared import TaskState as TaskState
from poppo_ipc.commands.standard.daemon import DAEMON_METRICS as DAEMON_METRICS
from poppo_ipc.commands.standard.daemon import DAEMON_RELOAD as DAEMON_RELOAD
from poppo_ipc.commands.standard.daemon import DAEMON_STARTED as DAEMON_STARTED
from poppo_ipc.commands.standard.daemon import DAEMON_STATUS as DAEMON_STATUS
from poppo_ipc.commands.standard.daemon import DAEMON_STOP as DAEMON_STOP
from poppo_ipc.commands.standard.daemon import DAEMON_STOPPING as DAEMON_STOPPING
from poppo_ipc.commands.standard.daemon import STATUS as STATUS
from poppo_ipc.commands.standard.daemon import Components as Components
from poppo_ipc.commands.standard.daemon import CpuUse as CpuUse
from poppo_ipc.commands.standard.daemon import DaemonConfig as DaemonConfig
from poppo_ipc.commands.standard.daemon import DaemonMetrics as DaemonMetrics
from poppo_ipc.commands.standard.daemon import DaemonReload as DaemonReload
from poppo_ipc.commands.standard.daemon import DaemonStarted as DaemonStarted
from poppo_ipc.commands.standard.daemon import DaemonStatus as DaemonStatus
from poppo_ipc.commands.standard.daemon import DaemonStopping as DaemonStopping
from poppo_ipc.commands.standard.daemon import Status as Status
from poppo_ipc.commands.standard.daemon import SystemInfo as SystemInfo
from poppo_ipc.commands.standard.ipc import EVENTS_DROPPED as EVENTS_DROPPED
from poppo_ipc.commands.standard.ipc import EVENTS_SUBSCRIBE as EVENTS_SUBSCRIBE
from poppo_ipc.commands.standard.ipc import EVENTS_UNSUBSCRIBE as EVENTS_UNSUBSCRIBE
from poppo_ipc.commands.standard.ipc import IPC_DESCRIBE as IPC_DESCRIBE
from poppo_ipc.commands.standard.ipc import EventsDropped as EventsDropped
from poppo_ipc.commands.standard.ipc import Since as Since
from poppo_ipc.commands.standard.ipc import SubscribeArgs as SubscribeArgs
from poppo_ipc.commands.standard.ipc import Subscribed as Subscribed
from poppo_ipc.commands.standard.ipc import UnsubscribeArgs as UnsubscribeArgs
from poppo_ipc.commands.standard.ipc import Unsubscribed as Unsubscribed
from poppo_ipc.commands.standard.observe import HEALTH_CHECK as HEALTH_CHECK
from poppo_ipc.commands.standard.observe import LOGS_TAIL as LOGS_TAIL
from poppo_ipc.commands.standard.observe import METRICS_GET as METRICS_GET
from poppo_ipc.commands.standard.observe import Health as Health
from poppo_ipc.commands.standard.observe import HealthChecks as HealthChecks
from poppo_ipc.commands.standard.observe import LogLine as LogLine
from poppo_ipc.commands.standard.observe import LogsTail as LogsTail
from poppo_ipc.commands.standard.observe import LogsTailArgs as LogsTailArgs
from poppo_ipc.commands.standard.observe import Metrics as Metrics
from poppo_ipc.commands.standard.observe import MetricsArgs as MetricsArgs
from poppo_ipc.commands.standard.project import NOTIFY_PROJECT_CHANGE as NOTIFY_PROJECT_CHANGE
from poppo_ipc.commands.standard.project import PROJECT_ADD as PROJECT_ADD
from poppo_ipc.commands.standard.project import PROJECT_ADDED as PROJECT_ADDED
from poppo_ipc.commands.standard.project import PROJECT_LIST as PROJECT_LIST
from poppo_ipc.commands.standard.project import PROJECT_REMOVE as PROJECT_REMOVE
from poppo_ipc.commands.standard.project import PROJECT_REMOVED as PROJECT_REMOVED
from poppo_ipc.commands.standard.project import PROJECT_RESTART as PROJECT_RESTART
from poppo_ipc.commands.standard.project import PROJECT_START as PROJECT_START
from poppo_ipc.commands.standard.project import PROJECT_STATUS as PROJECT_STATUS
from poppo_ipc.commands.standard.project import PROJECT_STATUS_CHANGED as PROJECT_STATUS_CHANGED
from poppo_ipc.commands.standard.project import PROJECT_STOP as PROJECT_STOP
from poppo_ipc.commands.standard.project import PROJECT_UPDATE as PROJECT_UPDATE
from poppo_ipc.commands.standard.project import ChangeNotified as ChangeNotified
from poppo_ipc.commands.standard.project import NotifyProjectChangeArgs as NotifyProjectChangeArgs
from poppo_ipc.commands.standard.project import Project as Project
from poppo_ipc.commands.standard.project import ProjectAddArgs as ProjectAddArgs
from poppo_ipc.commands.standard.project import ProjectAddResult as ProjectAddResult
from poppo_ipc.commands.standard.project import ProjectArgs as ProjectArgs
from poppo_ipc.commands.standard.project import ProjectChanged as ProjectChanged
from poppo_ipc.commands.standard.project import ProjectDetails as ProjectDetails
from poppo_ipc.commands.standard.project import ProjectList as ProjectList
from poppo_ipc.commands.standard.project import ProjectRef as ProjectRef
from poppo_ipc.commands.standard.project import ProjectRemoveArgs as ProjectRemoveArgs
from poppo_ipc.commands.standard.project import ProjectStatusChanged as ProjectStatusChanged
from poppo_ipc.commands.standard.project import ProjectUpdateArgs as ProjectUpdateArgs
from poppo_ipc.commands.standard.project import TaskCounts as TaskCounts
from poppo_ipc.commands.standard.queue import QUEUE_CLEAR as QUEUE_CLEAR
from poppo_ipc.commands.standard.queue import QUEUE_PAUSE as QUEUE_PAUSE
from poppo_ipc.commands.standard.queue import QUEUE_RESUME as QUEUE_RESUME
from poppo_ipc.commands.standard.queue import QUEUE_STATS as QUEUE_STATS
from poppo_ipc.commands.standard.queue import QUEUE_STATUS as QUEUE_STATUS
from poppo_ipc.commands.standard.queue import QUEUE_STATUS_CHANGED as QUEUE_STATUS_CHANGED
from poppo_ipc.commands.standard.queue import Percentiles as Percentiles
from poppo_ipc.commands.standard.queue import QueueArgs as QueueArgs
from poppo_ipc.commands.standard.queue import QueueClearArgs as QueueClearArgs
from poppo_ipc.commands.standard.queue import QueueStats as QueueStats
from poppo_ipc.commands.standard.queue import QueueStatsArgs as QueueStatsArgs
from poppo_ipc.commands.standard.queue import QueueStatus as QueueStatus
from poppo_ipc.commands.standard.queue import QueueStatusChanged as QueueStatusChanged
from poppo_ipc.commands.standard.task import TASK_CANCEL as TASK_CANCEL
from poppo_ipc.commands.standard.task import TASK_COMPLETED as TASK_COMPLETED
from poppo_ipc.commands.standard.task import TASK_FAILED as TASK_FAILED
from poppo_ipc.commands.standard.task import TASK_LIST as TASK_LIST
from poppo_ipc.commands.standard.task import TASK_OUTPUT as TASK_OUTPUT
from poppo_ipc.commands.standard.task import TASK_RETRY as TASK_RETRY
from poppo_ipc.commands.standard.task import TASK_STARTED as TASK_STARTED
from poppo_ipc.commands.standard.task import TASK_STATUS as TASK_STATUS
from poppo_ipc.commands.standard.task import TASK_SUBMIT as TASK_SUBMIT
from poppo_ipc.commands.standard.task import Task as Task
from poppo_ipc.commands.standard.task import TaskArgs as TaskArgs
from poppo_ipc.commands.standard.task import TaskAttempt as TaskAttempt
from poppo_ipc.commands.standard.task import TaskCompleted as TaskCompleted
from poppo_ipc.commands.standard.task import TaskDetails as TaskDetails
from poppo_ipc.commands.standard.task import TaskFailed as TaskFailed
from poppo_ipc.commands.standard.task import TaskList as TaskList
from poppo_ipc.commands.standard.task import TaskListArgs as TaskListArgs
from poppo_ipc.commands.standard.task import TaskOutput as TaskOutput
from poppo_ipc.commands.standard.task import TaskOutputArgs as TaskOutputArgs
from poppo_ipc.commands.standard.task import TaskOutputEnd as TaskOutputEnd
from poppo_ipc.commands.standard.task import TaskRetried as TaskRetried
from poppo_ipc.commands.standard.task import TaskStarted as TaskStarted
from poppo_ipc.commands.standard.task import TaskSubmitArgs as TaskSubmitArgs
from poppo_ipc.commands.standard.task import TaskSubmitted as TaskSubmitted
from poppo_ipc.commands.standard.worker import WORKER_ADDED as WORKER_ADDED
from poppo_ipc.commands.standard.worker import WORKER_REMOVED as WORKER_REMOVED
from poppo_ipc.commands.standard.worker import WORKER_RESTART as WORKER_RESTART
from poppo_ipc.commands.standard.worker import WORKER_SCALE as WORKER_SCALE
from poppo_ipc.commands.standard.worker import WORKER_STATUS as WORKER_STATUS
from poppo_ipc.commands.standard.worker import Worker as Worker
from poppo_ipc.commands.standard.worker import WorkerAdded as WorkerAdded
from poppo_ipc.commands.standard.worker import WorkerRemoved as WorkerRemoved
from poppo_ipc.commands.standard.worker import WorkerRestartArgs as WorkerRestartArgs
from poppo_ipc.commands.standard.worker import WorkerScaleArgs as WorkerScaleArgs
from poppo_ipc.commands.standard.worker import WorkerStatus as WorkerStatus

#: Every standard command, by name.
STANDARD_COMMANDS: tuple[CommandSpec[Any, Any], ...] = (
    DAEMON_METRICS,
    DAEMON_RELOAD,
    DAEMON_STATUS,
    DAEMON_STOP,
    EVENTS_SUBSCRIBE,
    EVENTS_UNSUBSCRIBE,
    HEALTH_CHECK,
    IPC_DESCRIBE,
    LOGS_TAIL,
    METRICS_GET,
    NOTIFY_PROJECT_CHANGE,
    PROJECT_ADD,
    PROJECT_LIST,
    PROJECT_REMOVE,
    PROJECT_RESTART,
    PROJECT_START,
    PROJECT_STATUS,
    PROJECT_STOP,
    PROJECT_UPDATE,
    QUEUE_CLEAR,
    QUEUE_PAUSE,
    QUEUE_RESUME,
    QUEUE_STATS,
    QUEUE_STATUS,
    STATUS,
    TASK_CANCEL,
    TASK_LIST,
    TASK_OUTPUT,
    TASK_RETRY,
    TASK_STATUS,
    TASK_SUBMIT,
    WORKER_RESTART,
    WORKER_SCALE,
    WORKER_STATUS,
)

#: Every standard event, by name.
STANDARD_EVENTS: tuple[EventDeclaration[Any], ...] = (
    DAEMON_STARTED,
    DAEMON_STOPPING,
    EVENTS_DROPPED,
    PROJECT_ADDED,
    PROJECT_REMOVED,
    PROJECT_STATUS_CHANGED,
    QUEUE_STATUS_CHANGED,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_STARTED,
    WORKER_ADDED,
    WORKER_REMOVED,
)

__all__ = [
    "DAEMON_METRICS",
    "DAEMON_RELOAD",
    "DAEMON_STARTED",
    "DAEMON_STATUS",
    "DAEMON_STOP",
    "DAEMON_STOPPING",
    "EVENTS_DROPPED",
    "EVENTS_SUBSCRIBE",
    "EVENTS_UNSUBSCRIBE",
    "HEALTH_CHECK",
    "IPC_DESCRIBE",
    "LOGS_TAIL",
    "METRICS_GET",
    "NOTIFY_PROJECT_CHANGE",
    "PROJECT_ADD",
    "PROJECT_ADDED",
    "PROJECT_LIST",
    "PROJECT_REMOVE",
    "PROJECT_REMOVED",
    "PROJECT_RESTART",
    "PROJECT_START",
    "PROJECT_STATUS",
    "PROJECT_STATUS_CHANGED",
    "PROJECT_STOP",
    "PROJECT_UPDATE",
    "QUEUE_CLEAR",
    "QUEUE_PAUSE",
    "QUEUE_RESUME",
    "QUEUE_STATS",
    "QUEUE_STATUS",
    "QUEUE_STATUS_CHANGED",
    "STANDARD_COMMANDS",
    "STANDARD_EVENTS",
    "STATUS",
    "TASK_CANCEL",
    "TASK_COMPLETED",
    "TASK_FAILED",
    "TASK_LIST",
    "TASK_OUTPUT",
    "TASK_RETRY",
    "TASK_STARTED",
    "TASK_STATUS",
    "TASK_SUBMIT",
    "WORKER_ADDED",
    "WORKER_REMOVED",
    "WORKER_RESTART",
    "WORKER_SCALE",
    "WORKER_STATUS",
    "ChangeNotified",
    "Components",
    "CpuUse",
    "DaemonConfig",
    "DaemonMetrics",
    "DaemonReload",
    "DaemonStarted",
    "DaemonStatus",
    "DaemonStopping",
    "Done",
    "EventsDropped",
    "Health",
    "HealthChecks",
    "LogLine",
    "LogsTail",
    "LogsTailArgs",
    "Metrics",
    "MetricsArgs",
    "NotifyProjectChangeArgs",
    "Percentiles",
    "Project",
    "ProjectAddArgs",
    "ProjectAddResult",
    "ProjectArgs",
    "ProjectChanged",
    "ProjectDetails",
    "ProjectList",
    "ProjectRef",
    "ProjectRemoveArgs",
    "ProjectStatusChanged",
    "ProjectUpdateArgs",
    "QueueArgs",
    "QueueClearArgs",
    "QueueStats",
    "QueueStatsArgs",
    "QueueStatus",
    "QueueStatusChanged",
    "Since",
    "Status",
    "SubscribeArgs",
    "Subscribed",
    "SystemInfo",
    "Task",
    "TaskArgs",
    "TaskAttempt",
    "TaskCompleted",
    "TaskCounts",
    "TaskDetails",
    "TaskFailed",
    "TaskList",
    "TaskListArgs",
    "TaskOutput",
    "TaskOutputArgs",
    "TaskOutputEnd",
    "TaskRetried",
    "TaskStarted",
    "TaskState",
    "TaskSubmitArgs",
    "TaskSubmitted",
    "UnsubscribeArgs",
    "Unsubscribed",
    "Worker",
    "WorkerAdded",
    "WorkerRemoved",
    "WorkerRestartArgs",
    "WorkerScaleArgs",
    "WorkerStatus",
]
