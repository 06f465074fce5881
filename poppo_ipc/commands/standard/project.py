"""`project.*` and `notify-project-change`: the projects that tasks belong to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import attrs
from msgspec import Meta

from poppo_ipc.commands._command import CommandSpec, EventDeclaration, NoArgs
from poppo_ipc.commands._fields import Arg
from poppo_ipc.commands.standard._shared import Done, ProjectId

__all__ = [
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
    "ChangeNotified",
    "NotifyProjectChangeArgs",
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
    "TaskCounts",
]


@attrs.frozen
class Project:
    """A project, as it is listed. `status` is `active` or `inactive`."""

    id: str
    name: str
    path: str
    status: str
    enabled: bool
    last_activity: datetime | None = None


@attrs.frozen
class ProjectList:
    """All projects."""

    count: int
    projects: list[Project]


@attrs.frozen
class ProjectAddArgs:
    """A project to be added."""

    path: Annotated[str, Meta(min_length=1), Arg(message="Project path required", doc="The project's directory.")]
    name: Annotated[str | None, Arg(doc="Its name; that of its directory where none is given.")] = None
    config: Annotated[dict[str, Any] | None, Arg(doc="Its settings.")] = None


@attrs.frozen
class ProjectRef:
    """A project by its id, name and path."""

    id: str
    name: str
    path: str


@attrs.frozen
class ProjectAddResult:
    """The project that was added."""

    message: str
    project: ProjectRef


@attrs.frozen
class ProjectArgs:
    """The project that is meant."""

    project_id: ProjectId


@attrs.frozen
class ProjectRemoveArgs:
    """The project that is meant, and whether to remove it though tasks of it run."""

    project_id: ProjectId
    force: Annotated[bool, Arg(doc="Stop its running tasks first.")] = False


@attrs.frozen
class ProjectUpdateArgs:
    """The project that is meant, and settings to merge into its own: objects key by key, null deletes."""

    project_id: ProjectId
    config: Annotated[dict[str, Any], Arg(doc="The settings to change.")]


@attrs.frozen
class TaskCounts:
    """Tasks by their state."""

    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


@attrs.frozen
class ProjectDetails:
    """One project whole."""

    id: str
    name: str
    path: str
    status: str
    enabled: bool
    last_activity: datetime | None = None
    config: dict[str, Any] = attrs.Factory(dict)
    created_at: datetime | None = None
    tasks: TaskCounts = attrs.Factory(TaskCounts)


@attrs.frozen
class NotifyProjectChangeArgs:
    """A change outside the daemon that it is told of."""

    event: Annotated[str, Meta(min_length=1), Arg(doc="What happened.")]
    data: Annotated[Any, Arg(doc="What is known of it.")]


@attrs.frozen
class ChangeNotified:
    """The notice was taken."""

    success: bool
    event: str
    processed: bool


@attrs.frozen
class ProjectChanged:
    """A project came or went."""

    project_id: str
    name: str
    path: str


@attrs.frozen
class ProjectStatusChanged:
    """A project was started or stopped."""

    project_id: str
    status: str


PROJECT_LIST = CommandSpec("project.list", NoArgs, ProjectList, summary="List the projects.", idempotent=True)
PROJECT_ADD = CommandSpec("project.add", ProjectAddArgs, ProjectAddResult, summary="Add a project.")
PROJECT_REMOVE = CommandSpec("project.remove", ProjectRemoveArgs, Done, summary="Remove a project.")
PROJECT_STATUS = CommandSpec("project.status", ProjectArgs, ProjectDetails, summary="Show a project.", idempotent=True)
PROJECT_START = CommandSpec("project.start", ProjectArgs, Done, summary="Start a project.")
PROJECT_STOP = CommandSpec("project.stop", ProjectArgs, Done, summary="Stop a project.")
PROJECT_RESTART = CommandSpec("project.restart", ProjectArgs, Done, summary="Stop a project and start it again.")
PROJECT_UPDATE = CommandSpec(
    "project.update", ProjectUpdateArgs, Done, summary="Change a project's settings.", idempotent=True
)
NOTIFY_PROJECT_CHANGE = CommandSpec(
    "notify-project-change",
    NotifyProjectChangeArgs,
    ChangeNotified,
    summary="Tell the daemon of a change in a project.",
)

PROJECT_ADDED = EventDeclaration("project.added", ProjectChanged, "A project was added.")
PROJECT_REMOVED = EventDeclaration("project.removed", ProjectChanged, "A project was removed.")
PROJECT_STATUS_CHANGED = EventDeclaration(
    "project.status-changed", ProjectStatusChanged, "A project was started or stopped."
)
