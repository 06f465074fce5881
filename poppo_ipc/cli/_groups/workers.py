"""`workers`: `worker.*`."""

from __future__ import annotations

import click

from poppo_ipc.cli._asking import ask
from poppo_ipc.cli._complete import worker_ids
from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._groups._done import do
from poppo_ipc.cli._lazy_group import SuggestingGroup

__all__ = ["command"]


@click.group("workers", cls=SuggestingGroup)
def command() -> None:
    """Show, scale and restart the workers."""


@command.command("status")
@connected
def status(invocation: Invocation) -> None:
    """Show the workers."""
    invocation.output.show(ask(invocation, "worker.status", idempotent=True))


@command.command("scale")
@click.argument("count", type=click.IntRange(min=0))
@connected
def scale(invocation: Invocation, count: int) -> None:
    """Set the number of workers; a busy one finishes its task before it goes."""
    do(invocation, "worker.scale", {"count": count})


@command.command("restart")
@click.argument("worker_id", metavar="[ID]", required=False, shell_complete=worker_ids)
@connected
def restart(invocation: Invocation, worker_id: str | None) -> None:
    """Restart one worker, or all; no task is lost."""
    do(invocation, "worker.restart", {"workerId": worker_id})
