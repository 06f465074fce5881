"""What the keys ask of the daemon; each gives a sentence on what was done, and raises what the client raises."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from poppo_ipc.cli._safe import safe
from poppo_ipc.cli.top._model import Model
from poppo_ipc.client import Client

__all__ = ["cancel_task", "retry_task", "scale_workers", "toggle_queue"]


async def toggle_queue(client: Client, model: Model) -> str:
    """Pause all queues, or resume them where they are paused."""
    paused = bool(model.queue.paused)
    answer = await client.call("queue.resume" if paused else "queue.pause", idempotent=True)
    model.queue = evolve(model.queue, paused=not paused)
    return _said(answer)


async def scale_workers(client: Client, count: int) -> str:
    """Have so many workers."""
    return _said(await client.call("worker.scale", {"count": count}, idempotent=True))


async def cancel_task(client: Client, task_id: str) -> str:
    """Cancel a task; one that runs is stopped."""
    return _said(await client.call("task.cancel", {"taskId": task_id}))


async def retry_task(client: Client, task_id: str) -> str:
    """Run a task again, as a new one."""
    return _said(await client.call("task.retry", {"taskId": task_id}))


def _said(answer: Any) -> str:
    message = answer.get("message") if isinstance(answer, dict) else None
    return safe(str(message)) if message else "Done"
