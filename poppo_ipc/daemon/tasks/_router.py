"""`queue.*` and `task.*` on the task queue: args in, its methods, results out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import Annotated, Any, Final

import msgspec
from attrs import define, evolve, frozen

from poppo_ipc.commands import ArgsModel, Context, Router
from poppo_ipc.commands._fields import fields_of_class
from poppo_ipc.commands.standard import (
    QUEUE_CLEAR,
    QUEUE_PAUSE,
    QUEUE_RESUME,
    QUEUE_STATS,
    QUEUE_STATUS,
    QUEUE_STATUS_CHANGED,
    TASK_CANCEL,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_LIST,
    TASK_OUTPUT,
    TASK_RETRY,
    TASK_STARTED,
    TASK_STATUS,
    TASK_SUBMIT,
    QueueArgs,
    QueueClearArgs,
    QueueStats,
    QueueStatsArgs,
    QueueStatus,
    Task,
    TaskArgs,
    TaskAttempt,
    TaskDetails,
    TaskList,
    TaskListArgs,
    TaskOutputArgs,
    TaskOutputEnd,
    TaskSubmitArgs,
)
from poppo_ipc.daemon._ids import new_id
from poppo_ipc.daemon._times import as_datetime, as_ms
from poppo_ipc.daemon.monitoring._period import parse_period
from poppo_ipc.daemon.store import Row
from poppo_ipc.daemon.tasks._control import QueueControl
from poppo_ipc.daemon.tasks._queue import TaskQueue
from poppo_ipc.daemon.tasks._rows import NewTask
from poppo_ipc.daemon.tasks._show import show_output, task_row
from poppo_ipc.errors import Conflict, InvalidArgs, NotFound

__all__ = ["CommandPayload", "tasks_router"]

COMMAND_TYPE: Final = "command"
_LONGEST_LIST: Final = 10_000
_LISTED: Final = "id, type, status, project_id, created_ms, started_ms, completed_ms, error"


@define
class CommandPayload:
    """What a task of the type `command` is given: a program and its arguments, run with no shell."""

    argv: Annotated[list[str], msgspec.Meta(min_length=1)]
    cwd: str | None = None
    env: dict[str, str] | None = None
    stdin: str | None = None


@frozen
class _CommandArgs:
    """What is checked of the args for a task of the type `command`: the paths of errors begin with `payload`."""

    payload: CommandPayload


_check_command: Final = ArgsModel(fields_of_class(_CommandArgs)).bind


def tasks_router(
    queue: TaskQueue, control: QueueControl, types: Callable[[], Collection[str]], has_project: Callable[[str], bool]
) -> Router:
    """The commands. `types` gives the task types that functions are registered for, `has_project` knows projects."""
    router = Router()
    for event in (QUEUE_STATUS_CHANGED, TASK_STARTED, TASK_COMPLETED, TASK_FAILED):
        router.event(event.name, event.data_type, summary=event.summary)
    _add_queue_commands(router, control)
    _add_task_commands(router, queue, types, has_project)
    _add_reading_commands(router, queue)
    return router


def _add_queue_commands(router: Router, control: QueueControl) -> None:
    @router.command(QUEUE_STATUS)
    def queue_status(ctx: Context, args: QueueArgs) -> QueueStatus:
        return control.status(args.queue)

    @router.command(QUEUE_PAUSE)
    async def queue_pause(ctx: Context, args: QueueArgs) -> Any:
        return await control.set_paused(ctx, args.queue, True)

    @router.command(QUEUE_RESUME)
    async def queue_resume(ctx: Context, args: QueueArgs) -> Any:
        return await control.set_paused(ctx, args.queue, False)

    @router.command(QUEUE_CLEAR)
    async def queue_clear(ctx: Context, args: QueueClearArgs) -> Any:
        return await control.clear(ctx, args.queue, args.status)

    @router.command(QUEUE_STATS)
    async def queue_stats(ctx: Context, args: QueueStatsArgs) -> QueueStats:
        return await control.stats(args.queue, args.period, parse_period(args.period))


def _add_task_commands(
    router: Router, queue: TaskQueue, types: Callable[[], Collection[str]], has_project: Callable[[str], bool]
) -> None:
    @router.command(TASK_SUBMIT)
    async def task_submit(ctx: Context, args: TaskSubmitArgs) -> Any:
        _check_type(args, types())
        # Refused before the store is asked, which has the last word; but a key may be of a task that was there before.
        if args.project_id is not None and args.idempotency_key is None and not has_project(args.project_id):
            raise NotFound(f"There is no project {args.project_id}")
        return await queue.submit(ctx, _new_task(ctx, args, queue))

    @router.command(TASK_CANCEL)
    async def task_cancel(ctx: Context, args: TaskArgs) -> Any:
        return await queue.cancel(ctx, args.task_id)

    @router.command(TASK_RETRY)
    async def task_retry(ctx: Context, args: TaskArgs) -> Any:
        row = await task_row(queue, args.task_id)
        if row["status"] not in ("failed", "cancelled"):
            raise Conflict(f"Task {args.task_id} is {row['status']}; only failed and cancelled tasks can be retried")
        return await queue.retry(ctx, _again(row, next(queue.numbers), queue.clock()))


def _check_type(args: TaskSubmitArgs, known: Collection[str]) -> None:
    if args.type == COMMAND_TYPE:
        _check_command({"payload": args.payload})
    elif args.type not in known:
        choices = ", ".join(sorted({COMMAND_TYPE, *known}))
        raise InvalidArgs.of("type", f"expected one of: {choices}")


def _new_task(ctx: Context, args: TaskSubmitArgs, queue: TaskQueue) -> NewTask:
    now = queue.clock()
    key = args.idempotency_key
    return NewTask(
        id=new_id("t"),
        number=next(queue.numbers),
        type=args.type,
        project=args.project_id,
        queue=args.queue or "default",
        payload=args.payload,
        priority=args.priority,
        timeout_ms=args.timeout_ms,
        max_attempts=args.max_attempts or queue.options.max_attempts,
        due_ms=now if args.run_at is None else as_ms(args.run_at),
        created_ms=now,
        submit_key=None if key is None else f"{ctx.principal.name}\n{key}",
    )


def _again(row: Row, number: int, now: int) -> NewTask:
    return NewTask(
        id=new_id("t"),
        number=number,
        type=row["type"],
        project=row["project_id"],
        queue=row["queue"],
        payload=msgspec.json.decode(row["payload"]),
        priority=row["priority"],
        timeout_ms=row["timeout_ms"],
        max_attempts=row["max_attempts"],
        due_ms=now,
        created_ms=now,
        retry_of=row["id"],
    )


def _add_reading_commands(router: Router, queue: TaskQueue) -> None:
    @router.command(TASK_LIST)
    async def task_list(ctx: Context, args: TaskListArgs) -> TaskList:
        limit = min(args.limit, _LONGEST_LIST)

        # Two statements, as each has an index of its own; and no payloads, which may be large.
        where, values = ("", ()) if args.status is None else ("WHERE status = ?", (args.status,))

        def find(connection: sqlite3.Connection) -> list[Row]:
            return connection.execute(
                f"SELECT {_LISTED} FROM tasks {where} ORDER BY number DESC LIMIT ? OFFSET ?",
                (*values, limit, args.offset),
            ).fetchall()

        tasks = [_task(row) for row in await queue.store.read(find)]
        return TaskList(len(tasks), tasks)

    @router.command(TASK_STATUS)
    async def task_status(ctx: Context, args: TaskArgs) -> TaskDetails:
        def find(connection: sqlite3.Connection) -> tuple[Row | None, list[Row]]:
            task = connection.execute("SELECT * FROM tasks WHERE id = ?", (args.task_id,)).fetchone()
            attempts = connection.execute("SELECT * FROM attempts WHERE task_id = ? ORDER BY attempt", (args.task_id,))
            return task, attempts.fetchall()

        row, attempts = await queue.store.read(find)
        if row is None:
            raise NotFound(f"There is no task {args.task_id}")
        return _details(row, attempts)

    @router.command(TASK_OUTPUT)
    async def task_output(ctx: Context, args: TaskOutputArgs) -> TaskOutputEnd:
        return await show_output(ctx, queue, args.task_id, args.follow)


def _task(row: Row) -> Task:
    return Task(
        id=row["id"],
        type=row["type"],
        status=row["status"],
        project_id=row["project_id"],
        created_at=as_datetime(row["created_ms"]),
        started_at=as_datetime(row["started_ms"]),
        completed_at=as_datetime(row["completed_ms"]),
        error=row["error"],
    )


def _details(row: Row, attempts: list[Row]) -> TaskDetails:
    details = TaskDetails(
        id=row["id"],
        type=row["type"],
        status=row["status"],
        project_id=row["project_id"],
        created_at=as_datetime(row["created_ms"]),
        started_at=as_datetime(row["started_ms"]),
        completed_at=as_datetime(row["completed_ms"]),
        error=row["error"],
        queue=row["queue"],
        priority=row["priority"],
        payload=msgspec.json.decode(row["payload"]),
        max_attempts=row["max_attempts"],
        run_at=as_datetime(row["due_ms"]),
        result=None if row["result"] is None else msgspec.json.decode(row["result"]),
    )
    return evolve(details, attempts=[_attempt(each) for each in attempts])


def _attempt(row: Row) -> TaskAttempt:
    return TaskAttempt(
        number=row["attempt"],
        status=row["ending"] or "running",
        worker_id=row["worker_id"],
        started_at=as_datetime(row["started_ms"]),
        completed_at=as_datetime(row["ended_ms"]),
        error=row["error"],
    )
