"""`queue`: `queue.*`."""

from __future__ import annotations

import click

from poppo_ipc.cli._asking import ask
from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._groups._done import do
from poppo_ipc.cli._groups._states import STATES
from poppo_ipc.cli._lazy_group import SuggestingGroup

__all__ = ["command"]

_NAME = click.argument("queue", metavar="[QUEUE]", required=False)


@click.group("queue", cls=SuggestingGroup)
def command() -> None:
    """Show, pause, resume and clear queues: one, or all where none is named."""


@command.command("status")
@_NAME
@connected
def status(invocation: Invocation, queue: str | None) -> None:
    """Count the tasks by their state."""
    invocation.output.show(ask(invocation, "queue.status", {"queue": queue}, idempotent=True))


@command.command("pause")
@_NAME
@connected
def pause(invocation: Invocation, queue: str | None) -> None:
    """Start no more tasks."""
    do(invocation, "queue.pause", {"queue": queue})


@command.command("resume")
@_NAME
@connected
def resume(invocation: Invocation, queue: str | None) -> None:
    """Start tasks again."""
    do(invocation, "queue.resume", {"queue": queue})


@command.command("clear")
@_NAME
@click.option("--status", type=STATES, help="Only tasks in this state; running ones stay anyhow.")
@connected
def clear(invocation: Invocation, queue: str | None, status: str | None) -> None:
    """Remove tasks that do not run."""
    do(invocation, "queue.clear", {"queue": queue, "status": status})


@command.command("stats")
@_NAME
@click.option("--period", metavar="PERIOD", help="How far back: 5m, 1h.")
@connected
def stats(invocation: Invocation, queue: str | None, period: str | None) -> None:
    """Show throughput, waits and failures."""
    invocation.output.show(ask(invocation, "queue.stats", {"queue": queue, "period": period}, idempotent=True))
