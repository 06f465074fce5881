"""`queue.*` and `task.*` on the task queue: args in, its methods, results out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import Annotated, Any, Final

import msgspec
from attrs import define, evolve

from poppo_ipc.commands import Context, Router
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
    TaskSubmitArgs,
)
from poppo_ipc.daemon._ids import new_id
from poppo_ipc.daemon._times import as_datetime, as_ms, now_ms
from poppo_ipc.daemon.monitoring._period import parse_period
from poppo_ipc.daemon.store import Row
from poppo_ipc.daemon.tasks._control import QueueControl
from poppo_ipc.daemon.tasks._output import OutputPart
from poppo_ipc.daemon.tasks._queue import TaskQueue
from poppo_ipc.daemon.tasks._rows import NewTask
from poppo_ipc.errors import Conflict, InvalidArgs, NotFound

__all__ = ["CommandPayload", "tasks_router"]

COMMAND_TYPE: Final = "command"
_LONGEST_LIST: Final = 10_000


@define
class CommandPayload:
    """What a task of the type `command` is given: a program and its arguments, run with no shell."""

    argv: Annotated[list[str], msgspec.Meta(min_length=1)]
    cwd: str | None = None
    env: dict[str, str] | None = None
    stdin: str | None = None


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
        if args.project_id is not None and not has_project(args.project_id):
            raise NotFound(f"There is no project {args.project_id}")
        return await queue.submit(ctx, _new_task(ctx, args, queue))

    @router.command(TASK_CANCEL)
    async def task_cancel(ctx: Context, args: TaskArgs) -> Any:
        return await queue.cancel(ctx, args.task_id)

    @router.command(TASK_RETRY)
    async def task_retry(ctx: Context, args: TaskArgs) -> Any:
        row = await _row(queue, args.task_id)
        if row["status"] not in ("failed", "cancelled"):
            raise Conflict(f"Task {args.task_id} is {row['status']}; only failed and cancelled tasks can be retried")
        if row["project_id"] is not None and not has_project(row["project_id"]):
            raise Conflict(f"Task {args.task_id} belongs to a project that was removed")
        return await queue.retry(ctx, _again(row, next(queue.numbers)))


def _check_type(args: TaskSubmitArgs, known: Collection[str]) -> None:
    if args.type == COMMAND_TYPE:
        _check_command(args.payload)
    elif args.type not in known:
        choices = ", ".join(sorted({COMMAND_TYPE, *known}))
        raise InvalidArgs.of("type", f"expected one of: {choices}")


def _check_command(payload: Any) -> None:
    try:
        msgspec.convert(payload, CommandPayload)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        raise InvalidArgs.of(f"payload{path.rstrip('`')}", problem.replace("`", "")) from None
    unknown = set(payload) - {"argv", "cwd", "env", "stdin"}
    if unknown:
        raise InvalidArgs.of(f"payload.{min(unknown)}", "is unknown; a command has argv, cwd, env and stdin")


def _new_task(ctx: Context, args: TaskSubmitArgs, queue: TaskQueue) -> NewTask:
    now = now_ms()
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


def _again(row: Row, number: int) -> NewTask:
    now = now_ms()
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

        def find(connection: sqlite3.Connection) -> list[Row]:
            return connection.execute(
                "SELECT * FROM tasks WHERE (? IS NULL OR status = ?) ORDER BY number DESC LIMIT ? OFFSET ?",
                (args.status, args.status, limit, args.offset),
            ).fetchall()

        tasks = [_task(row) for row in await queue.store.read(find)]
        return TaskList(len(tasks), tasks)

    @router.command(TASK_STATUS)
    async def task_status(ctx: Context, args: TaskArgs) -> TaskDetails:
        def find(connection: sqlite3.Connection) -> list[Row]:
            return connection.execute(
                "SELECT * FROM attempts WHERE task_id = ? ORDER BY attempt", (args.task_id,)
            ).fetchall()

        return _details(await _row(queue, args.task_id), await queue.store.read(find))

    @router.command("task.output", summary="Show what a task printed, and follow it.", idempotent=True, streaming=True)
    async def task_output(ctx: Context, task_id: str, follow: bool = True) -> dict[str, Any]:
        return await _output(ctx, queue, task_id, follow)


async def _row(queue: TaskQueue, task_id: str) -> Row:
    row: Row | None = await queue.store.read(
        lambda connection: connection.execute("SELECT * FROM tasks WHERE id = ?", (task_id,)).fetchone()
    )
    if row is None:
        raise NotFound(f"There is no task {task_id}")
    return row


async def _output(ctx: Context, queue: TaskQueue, task_id: str, follow: bool) -> dict[str, Any]:
    """Send what is stored, then what comes, with nothing between them missed or told twice."""
    follower = queue.follow(task_id) if follow else None
    sent = 0
    texts: list[str] = []

    async def send(part: OutputPart) -> None:
        nonlocal sent
        sent = part.number
        if ctx.wants_items:
            await ctx.send_item({"stream": part.stream, "text": part.text, "attempt": part.attempt})
        else:
            texts.append(part.text)

    try:
        await _send_stored(queue, task_id, sent, send)
        while follower is not None:
            while follower.parts:
                part = follower.parts.popleft()
                if part.number > sent:
                    await send(part)
            if follower.behind:
                follower.behind = False
                await _send_stored(queue, task_id, sent, send)
            elif follower.ended:
                break
            else:
                await follower.wait()
    finally:
        if follower is not None:
            queue.unfollow(task_id, follower)
    row = await _row(queue, task_id)
    result = {"taskId": task_id, "status": row["status"], "error": row["error"], "outputBytes": row["output_bytes"]}
    return result if ctx.wants_items else {**result, "output": "".join(texts)}


async def _send_stored(queue: TaskQueue, task_id: str, after: int, send: Callable[[OutputPart], Any]) -> None:
    await queue.flush_output(task_id)
    await _row(queue, task_id)

    def find(connection: sqlite3.Connection) -> list[OutputPart]:
        found = connection.execute(
            "SELECT part, attempt, stream, text FROM output WHERE task_id = ? AND part > ? ORDER BY part",
            (task_id, after),
        )
        return [OutputPart(*row) for row in found]

    for part in await queue.store.read(find):
        await send(part)


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
