"""A task while a worker has it, and who can stop it there."""

from __future__ import annotations

from typing import Protocol

import trio
from attrs import define, field

from poppo_ipc.daemon.tasks._schedule import Waiting

__all__ = ["RunningTask", "Stopper"]


class Stopper(Protocol):
    """Who can stop a running task: the worker pool."""

    def cancel_job(self, task_id: str) -> bool:
        """Stop the task; False where it does not run there."""


@define(eq=False)
class RunningTask:
    """An attempt that a worker has."""

    waiting: Waiting
    attempt: int
    state: str = "running"
    """That of the task, once the attempt has ended."""
    ended: trio.Event = field(factory=trio.Event)
