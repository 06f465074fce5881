"""`task.*`: one piece of work, from its submission to its end."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import attrs
from msgspec import Meta

from poppo_ipc.commands._command import CommandSpec, EventDeclaration
from poppo_ipc.commands._fields import Arg
from poppo_ipc.commands.standard._shared import Done, QueueName, TaskId, TaskState

__all__ = [
    "TASK_CANCEL",
    "TASK_COMPLETED",
    "TASK_FAILED",
    "TASK_LIST",
    "TASK_OUTPUT",
    "TASK_RETRY",
    "TASK_STARTED",
    "TASK_STATUS",
    "TASK_SUBMIT",
    "Task",
    "TaskArgs",
    "TaskAttempt",
    "TaskCompleted",
    "TaskDetails",
    "TaskFailed",
    "TaskList",
    "TaskListArgs",
    "TaskOutput",
    "TaskOutputArgs",
    "TaskOutputEnd",
    "TaskRetried",
    "TaskStarted",
    "TaskSubmitArgs",
    "TaskSubmitted",
]

#: What any client and any database can hold as an integer.
_LARGEST: Final = 2**53


@attrs.frozen
class TaskListArgs:
    """Which tasks to list."""

    status: Annotated[TaskState | None, Arg(doc="Only tasks in this state.")] = None
    limit: Annotated[int, Meta(ge=0), Arg(doc="How many at most.")] = 100
    offset: Annotated[int, Meta(ge=0, le=_LARGEST), Arg(doc="How many to skip first.")] = 0


@attrs.frozen
class Task:
    """A task, as it is listed."""

    id: str
    type: str
    status: str
    project_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None


@attrs.frozen
class TaskList:
    """Some of the tasks."""

    count: int
    tasks: list[Task]


@attrs.frozen
class TaskArgs:
    """The task that is meant."""

    task_id: TaskId


@attrs.frozen
class TaskAttempt:
    """One try to run a task. The first is number 1."""

    number: int
    status: str
    worker_id: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None


@attrs.frozen
class TaskDetails:
    """One task whole. `result` is what it gave, once it is completed."""

    id: str
    type: str
    status: str
    project_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None
    queue: str | None = None
    priority: int = 0
    payload: Any = None
    max_attempts: int = 1
    run_at: datetime | None = None
    attempts: list[TaskAttempt] = attrs.Factory(list)
    result: Any = None


@attrs.frozen
class TaskRetried:
    """The task that runs the work again."""

    message: str
    new_task_id: str


@attrs.frozen
class TaskSubmitArgs:
    """A task to be run."""

    type: Annotated[str, Meta(min_length=1), Arg(doc="What kind of work it is.")]
    project_id: Annotated[str | None, Arg(doc="The project that it belongs to.")] = None
    queue: QueueName | None = None
    payload: Annotated[Any, Arg(doc="What the work is given.")] = None
    priority: Annotated[int, Meta(ge=-_LARGEST, le=_LARGEST), Arg(doc="A greater number runs first.")] = 0
    timeout_ms: Annotated[
        int | None, Meta(ge=1, le=_LARGEST), Arg(doc="How long one attempt may take, in milliseconds.")
    ] = None
    max_attempts: Annotated[int | None, Meta(ge=1, le=_LARGEST), Arg(doc="How often to try.")] = None
    run_at: Annotated[datetime | None, Meta(tz=True), Arg(doc="Not before this time.")] = None
    idempotency_key: Annotated[
        str | None, Meta(min_length=1, max_length=128), Arg(doc="Submitting again with the same key adds no task.")
    ] = None


@attrs.frozen
class TaskSubmitted:
    """The task that was added."""

    task_id: str


@attrs.frozen
class TaskOutputArgs:
    """The task that is meant, and whether to go on until it has ended."""

    task_id: TaskId
    follow: Annotated[bool, Arg(doc="Go on with what it prints until it has ended.")] = True


@attrs.frozen
class TaskOutput:
    """A piece of what a task printed.

    `stream` is `stdout` or `stderr`; or `truncated`, whose text says how much more there was than is kept.
    """

    text: str
    stream: str = "stdout"
    attempt: int = 1


@attrs.frozen
class TaskOutputEnd:
    """How the task stood when its output was all sent. `output` is for clients that take no items: all of the text."""

    task_id: str
    status: str
    error: str | None = None
    output_bytes: int = 0
    output: str | None = None


@attrs.frozen
class TaskStarted:
    """A worker has begun with a task."""

    task_id: str
    type: str
    project_id: str | None = None
    worker_id: str | None = None
    attempt: int = 1


@attrs.frozen
class TaskCompleted(TaskStarted):
    """A task was done, in so many milliseconds."""

    duration_ms: float = 0.0


@attrs.frozen
class TaskFailed(TaskStarted):
    """An attempt at a task failed."""

    error: str | None = None
    will_retry: bool = False


TASK_LIST = CommandSpec("task.list", TaskListArgs, TaskList, summary="List tasks.", idempotent=True)
TASK_STATUS = CommandSpec("task.status", TaskArgs, TaskDetails, summary="Show a task.", idempotent=True)
TASK_CANCEL = CommandSpec("task.cancel", TaskArgs, Done, summary="Cancel a task, and stop it where it runs.")
TASK_RETRY = CommandSpec("task.retry", TaskArgs, TaskRetried, summary="Run a failed or cancelled task again.")
TASK_SUBMIT = CommandSpec("task.submit", TaskSubmitArgs, TaskSubmitted, summary="Add a task.")
TASK_OUTPUT = CommandSpec(
    "task.output",
    TaskOutputArgs,
    TaskOutputEnd,
    summary="Show what a task printed, and follow it while it runs.",
    idempotent=True,
    item=TaskOutput,
)

TASK_STARTED = EventDeclaration("task.started", TaskStarted, "A task has started.")
TASK_COMPLETED = EventDeclaration("task.completed", TaskCompleted, "A task is completed.")
TASK_FAILED = EventDeclaration("task.failed", TaskFailed, "An attempt at a task has failed.")
