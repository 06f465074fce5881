"""The projects, in the database and in memory alike: a change is stored with its event, and then takes effect."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import trio
from attrs import evolve, frozen

from poppo_ipc.commands import Context
from poppo_ipc.commands.standard import Project, ProjectDetails
from poppo_ipc.daemon._ids import new_id
from poppo_ipc.daemon._times import as_datetime, now_ms
from poppo_ipc.daemon.projects._config import check_config, merge_config, weight_of
from poppo_ipc.daemon.store import Row, Store, StoredAnswers, Transaction
from poppo_ipc.daemon.tasks import TaskQueue
from poppo_ipc.errors import Conflict, InvalidArgs, NotFound

__all__ = ["ProjectRecord", "Projects"]


@frozen
class ProjectRecord:
    """A project as it is stored."""

    id: str
    name: str
    path: str
    config: dict[str, Any]
    status: str
    enabled: bool
    created_ms: int
    active_ms: int | None


class _TasksRun(Conflict):
    """Tasks of the project are running."""


class Projects:
    """All projects of a daemon. `load` before anything else, and before the tasks are loaded."""

    def __init__(self, store: Store, answers: StoredAnswers, queue: TaskQueue) -> None:
        self._store = store
        self._answers = answers
        self._queue = queue
        self._records: dict[str, ProjectRecord] = {}
        # When their tasks last started or ended, or a change in them was told of.
        self._active_ms: dict[str, int | None] = {}
        queue.on_activity(self._was_active)

    async def load(self) -> None:
        """Read the projects, and tell the queue which of them are stopped. Raises StoreError."""

        def read(connection: sqlite3.Connection) -> list[ProjectRecord]:
            return [_record(row) for row in connection.execute("SELECT * FROM projects ORDER BY created_ms, rowid")]

        for record in await self._store.read(read):
            self._enter(record)

    def _enter(self, record: ProjectRecord) -> None:
        self._records[record.id] = record
        self._active_ms.setdefault(record.id, record.active_ms)
        self._queue.schedule.set_weight(record.id, weight_of(record.config))
        if record.status == "active":
            self._queue.schedule.start_project(record.id)
            self._queue.wake()
        else:
            self._queue.schedule.stop_project(record.id)

    def _was_active(self, project: str, ms: int) -> None:
        if project in self._active_ms:
            self._active_ms[project] = ms

    # -- looking ------------------------------------------------------------------------------------------------

    def __contains__(self, project_id: str) -> bool:
        return project_id in self._records

    def get(self, project_id: str) -> ProjectRecord:
        """A project by its id. Raises NotFound."""
        record = self._records.get(project_id)
        if record is None:
            raise NotFound(f"There is no project {project_id}")
        return record

    def list(self) -> list[Project]:
        """All of them, the oldest first."""
        return [
            Project(
                id=record.id,
                name=record.name,
                path=record.path,
                status=record.status,
                enabled=record.enabled,
                last_activity=as_datetime(self._active_ms[record.id]),
            )
            for record in self._records.values()
        ]

    def details(self, project_id: str) -> ProjectDetails:
        """One of them whole. Raises NotFound."""
        record = self.get(project_id)
        return ProjectDetails(
            id=record.id,
            name=record.name,
            path=record.path,
            status=record.status,
            enabled=record.enabled,
            last_activity=as_datetime(self._active_ms[record.id]),
            config=record.config,
            created_at=as_datetime(record.created_ms),
            tasks=self._queue.counts.of_project(record.id),
        )

    # -- changing -----------------------------------------------------------------------------------------------

    async def add(self, ctx: Context | None, path: str, name: str | None, config: dict[str, Any] | None) -> Any:
        """Add a directory. Raises InvalidArgs where it is none, Conflict where it is a project already."""
        config = merge_config({}, config or {})
        check_config(config)
        resolved = await trio.to_thread.run_sync(_directory, path, abandon_on_cancel=True)
        record = ProjectRecord(
            id=new_id("p"),
            name=(name or "").strip() or Path(resolved).name or resolved,
            path=resolved,
            config=config,
            status="active",
            enabled=True,
            created_ms=now_ms(),
            active_ms=None,
        )
        reference = {"id": record.id, "name": record.name, "path": record.path}

        def change(transaction: Transaction) -> dict[str, Any]:
            if transaction.one("SELECT 1 FROM projects WHERE path = ?", (record.path,)):
                raise Conflict("This directory is a project already; see project.list")
            transaction.execute(
                "INSERT INTO projects (id, name, path, config, status, enabled, created_ms) "
                "VALUES (?, ?, ?, ?, ?, 1, ?)",
                (record.id, record.name, record.path, _json(config), record.status, record.created_ms),
            )
            transaction.publish("project.added", {"projectId": record.id, "name": record.name, "path": record.path})
            return {"message": "Project added successfully", "project": reference}

        return await self._answers.commit(ctx, change, lambda answer: self._enter(record))

    async def set_status(self, ctx: Context | None, project_id: str, status: str, done: str) -> dict[str, str]:
        """Start or stop a project: `status` is `active` or `inactive`. No event where it is so already."""
        answer = {"message": f"Project {done} successfully"}

        def change(transaction: Transaction) -> dict[str, str]:
            self._exists(transaction, project_id)
            if transaction.execute(
                "UPDATE projects SET status = ?, enabled = ? WHERE id = ? AND status != ?",
                (status, int(status == "active"), project_id, status),
            ).rowcount:
                transaction.publish("project.status-changed", {"projectId": project_id, "status": status})
            return answer

        def after(answer: dict[str, str]) -> None:
            self._change(project_id, status=status, enabled=status == "active")

        return await self._answers.commit(ctx, change, after)

    async def restart(self, ctx: Context | None, project_id: str) -> dict[str, str]:
        """Stop a project and start it again; both are told."""
        answer = {"message": "Project restarted successfully"}

        def change(transaction: Transaction) -> dict[str, str]:
            status = self._exists(transaction, project_id)["status"]
            if status == "active":
                transaction.publish("project.status-changed", {"projectId": project_id, "status": "inactive"})
            transaction.execute("UPDATE projects SET status = 'active', enabled = 1 WHERE id = ?", (project_id,))
            transaction.publish("project.status-changed", {"projectId": project_id, "status": "active"})
            return answer

        def after(answer: dict[str, str]) -> None:
            self._change(project_id, status="active", enabled=True)

        return await self._answers.commit(ctx, change, after)

    async def update(self, ctx: Context | None, project_id: str, changes: dict[str, Any]) -> dict[str, str]:
        """Merge changes into a project's settings. Raises NotFound, and InvalidArgs, which changes nothing."""
        answer = {"message": "Project updated successfully"}
        merged: list[dict[str, Any]] = []

        def change(transaction: Transaction) -> dict[str, str]:
            row = self._exists(transaction, project_id)
            config = merge_config(msgspec.json.decode(row["config"]), changes)
            check_config(config)
            transaction.execute("UPDATE projects SET config = ? WHERE id = ?", (_json(config), project_id))
            merged[:] = [config]
            return answer

        return await self._answers.commit(ctx, change, lambda answer: self._change(project_id, config=merged[0]))

    async def noted(self, data: Any) -> str | None:
        """Count a change outside the daemon as activity of the project that `data` names; gives its id.

        By `projectId`, or by a `path` in its directory, that itself included. None, and nothing is stored, where it
        names none that is known: whoever watches files need not know what is a project.
        """
        project_id = await self._named(data)
        if project_id is None:
            return None
        now = now_ms()

        def change(transaction: Transaction) -> None:
            transaction.execute("UPDATE projects SET active_ms = ? WHERE id = ?", (now, project_id))

        await self._store.write(change, lambda _: self._was_active(project_id, now))
        return project_id

    async def _named(self, data: Any) -> str | None:
        if not isinstance(data, dict):
            return None
        project_id, path = data.get("projectId"), data.get("path")
        if isinstance(project_id, str) and project_id in self._records:
            return project_id
        if not isinstance(path, str) or not os.path.isabs(path):
            return None
        try:
            place = Path(await trio.to_thread.run_sync(os.path.realpath, path))
        except (OSError, ValueError):
            return None
        around = [record for record in self._records.values() if place.is_relative_to(record.path)]
        # Where one project lies in another, it is the inner one's.
        return max(around, key=lambda record: len(record.path)).id if around else None

    async def remove(self, ctx: Context | None, project_id: str, force: bool) -> dict[str, str]:
        """Remove a project and cancel what waits of it. Raises Conflict while tasks of it run, unless `force`.

        With `force` they are stopped first. Tasks that have ended stay, until they are too old.
        """
        answer = {"message": "Project removed successfully"}
        record = self.get(project_id)
        cancelled: list[Row] = []

        def change(transaction: Transaction) -> dict[str, str]:
            self._exists(transaction, project_id)
            if transaction.one("SELECT 1 FROM tasks WHERE project_id = ? AND status = 'running'", (project_id,)):
                raise _TasksRun("Tasks of this project are running; wait for them, or remove it with force")
            cancelled[:] = transaction.execute(
                "SELECT id, queue, project_id FROM tasks WHERE project_id = ? AND status = 'pending'", (project_id,)
            ).fetchall()
            transaction.execute(
                "UPDATE tasks SET status = 'cancelled', error = 'its project was removed', completed_ms = ? "
                "WHERE project_id = ? AND status = 'pending'",
                (now_ms(), project_id),
            )
            transaction.execute("DELETE FROM projects WHERE id = ?", (project_id,))
            transaction.publish("project.removed", {"projectId": project_id, "name": record.name, "path": record.path})
            return answer

        def after(answer: dict[str, str]) -> None:
            self._queue.withdrawn(cancelled)
            self._records.pop(project_id, None)
            self._active_ms.pop(project_id, None)
            self._queue.schedule.forget_project(project_id)

        if not force:
            return await self._answers.commit(ctx, change, after)
        # Nothing of it starts any more; but a worker may be about to have a task, which is seen in the next round.
        self._queue.schedule.stop_project(project_id)
        try:
            while True:
                await self._queue.stop(self._queue.running_of(project_id))
                try:
                    return await self._answers.commit(ctx, change, after)
                except _TasksRun:
                    continue
        finally:
            record_now = self._records.get(project_id)
            if record_now is not None and record_now.status == "active":
                self._queue.schedule.start_project(project_id)
                self._queue.wake()

    def _exists(self, transaction: Transaction, project_id: str) -> Row:
        row = transaction.one("SELECT * FROM projects WHERE id = ?", (project_id,))
        if row is None:
            raise NotFound(f"There is no project {project_id}")
        return row

    def _change(self, project_id: str, **changes: Any) -> None:
        record = self._records.get(project_id)
        if record is not None:
            self._enter(evolve(record, **changes))


def _directory(path: str) -> str:
    try:
        resolved = Path(path).expanduser().resolve(strict=True)
        is_directory = resolved.is_dir()
        # A name that is no text cannot be told to clients.
        str(resolved).encode()
    except (OSError, RuntimeError, ValueError):
        is_directory = False
    if not is_directory:
        raise InvalidArgs.of("path", "expected a directory that exists")
    return str(resolved)


def _json(config: dict[str, Any]) -> str:
    return msgspec.json.encode(config).decode()


def _record(row: Row) -> ProjectRecord:
    return ProjectRecord(
        id=row["id"],
        name=row["name"],
        path=row["path"],
        config=msgspec.json.decode(row["config"]),
        status=row["status"],
        enabled=bool(row["enabled"]),
        created_ms=row["created_ms"],
        active_ms=row["active_ms"],
    )
