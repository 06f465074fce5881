"""`project.*` and `notify-project-change` on the projects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from poppo_ipc.commands import Context, Router
from poppo_ipc.commands.standard import (
    NOTIFY_PROJECT_CHANGE,
    PROJECT_ADD,
    PROJECT_ADDED,
    PROJECT_LIST,
    PROJECT_REMOVE,
    PROJECT_REMOVED,
    PROJECT_RESTART,
    PROJECT_START,
    PROJECT_STATUS,
    PROJECT_STATUS_CHANGED,
    PROJECT_STOP,
    PROJECT_UPDATE,
    ChangeNotified,
    NotifyProjectChangeArgs,
    ProjectAddArgs,
    ProjectArgs,
    ProjectDetails,
    ProjectList,
    ProjectRemoveArgs,
    ProjectUpdateArgs,
)
from poppo_ipc.daemon.projects._projects import Projects

__all__ = ["projects_router"]


def projects_router(projects: Projects, notified: Callable[[str, str | None], Awaitable[None]]) -> Router:
    """The commands. `notified(event, project)` is told of changes outside the daemon, by `notify-project-change`.

    With the id of the project, None where it is none of ours.
    """
    router = Router()
    for event in (PROJECT_ADDED, PROJECT_REMOVED, PROJECT_STATUS_CHANGED):
        router.event(event.name, event.data_type, summary=event.summary)

    @router.command(PROJECT_LIST)
    def project_list(ctx: Context) -> ProjectList:
        found = projects.list()
        return ProjectList(len(found), found)

    @router.command(PROJECT_STATUS)
    def project_status(ctx: Context, args: ProjectArgs) -> ProjectDetails:
        return projects.details(args.project_id)

    @router.command(PROJECT_ADD)
    async def project_add(ctx: Context, args: ProjectAddArgs) -> Any:
        return await projects.add(ctx, args.path, args.name, args.config)

    @router.command(PROJECT_REMOVE)
    async def project_remove(ctx: Context, args: ProjectRemoveArgs) -> Any:
        return await projects.remove(ctx, args.project_id, args.force)

    @router.command(PROJECT_START)
    async def project_start(ctx: Context, args: ProjectArgs) -> Any:
        return await projects.set_status(ctx, args.project_id, "active", "started")

    @router.command(PROJECT_STOP)
    async def project_stop(ctx: Context, args: ProjectArgs) -> Any:
        return await projects.set_status(ctx, args.project_id, "inactive", "stopped")

    @router.command(PROJECT_RESTART)
    async def project_restart(ctx: Context, args: ProjectArgs) -> Any:
        return await projects.restart(ctx, args.project_id)

    @router.command(PROJECT_UPDATE)
    async def project_update(ctx: Context, args: ProjectUpdateArgs) -> Any:
        return await projects.update(ctx, args.project_id, args.config)

    @router.command(NOTIFY_PROJECT_CHANGE)
    async def notify_project_change(ctx: Context, args: NotifyProjectChangeArgs) -> ChangeNotified:
        await notified(args.event, await projects.noted(args.data))
        return ChangeNotified(success=True, event=args.event, processed=True)

    return router
