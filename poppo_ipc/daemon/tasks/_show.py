"""`task.output`: what a task has printed, then what it prints, with nothing between them missed or told twice."""

from __future__ import annotations

import sqlite3

from poppo_ipc.commands import Context
from poppo_ipc.commands.standard import TaskOutput, TaskOutputEnd
from poppo_ipc.daemon.store import Row
from poppo_ipc.daemon.tasks._output import Follower, OutputPart, stored_output
from poppo_ipc.daemon.tasks._queue import TaskQueue
from poppo_ipc.errors import NotFound

__all__ = ["show_output", "task_row"]


async def task_row(queue: TaskQueue, task_id: str) -> Row:
    """The row of a task. Raises NotFound and StoreError."""

    def find(connection: sqlite3.Connection) -> Row | None:
        row: Row | None = connection.execute("SELECT * FROM tasks WHERE id = ?", (task_id,)).fetchone()
        return row

    row = await queue.store.read(find)
    if row is None:
        raise NotFound(f"There is no task {task_id}")
    return row


async def show_output(ctx: Context, queue: TaskQueue, task_id: str, follow: bool) -> TaskOutputEnd:
    """Send a task's output as items; with `follow` until it has ended. Gives how it stands then.

    A client that takes no items gets all of the text in the result. Raises NotFound and StoreError.
    """
    reader = _Reader(ctx, queue, task_id)
    follower = queue.follow(task_id) if follow else None
    try:
        await task_row(queue, task_id)
        await reader.send_stored()
        if follower is not None:
            await reader.send_following(follower)
    finally:
        if follower is not None:
            queue.printing.unfollow(task_id, follower)
    row = await task_row(queue, task_id)
    return TaskOutputEnd(
        task_id=task_id,
        status=row["status"],
        error=row["error"],
        output_bytes=row["output_bytes"],
        output=None if ctx.wants_items else "".join(reader.texts),
    )


class _Reader:
    """Sends pieces of output, each place of it once."""

    def __init__(self, ctx: Context, queue: TaskQueue, task_id: str) -> None:
        self._ctx = ctx
        self._queue = queue
        self._task_id = task_id
        self._sent = 0
        self.texts: list[str] = []

    async def send_stored(self) -> None:
        """Send what is stored and was not sent, and have stored first what is not."""
        await self._queue.printing.flush([self._task_id])
        sent = self._sent
        for part in await self._queue.store.read(lambda connection: stored_output(connection, self._task_id, sent)):
            await self._send(part)

    async def send_following(self, follower: Follower) -> None:
        """Send what comes, until the task has ended."""
        while True:
            while follower.parts:
                await self._send(follower.parts.popleft())
            if follower.behind:
                follower.behind = False
                await self.send_stored()
            elif follower.ended:
                return
            else:
                await follower.wait()

    async def _send(self, part: OutputPart) -> None:
        if part.end <= self._sent:
            return
        text = part.text[max(0, self._sent - part.start) :]
        self._sent = part.end
        if self._ctx.wants_items:
            await self._ctx.send_item(TaskOutput(text=text, stream=part.stream, attempt=part.attempt))
        else:
            self.texts.append(text)
