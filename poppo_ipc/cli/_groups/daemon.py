"""`status`, `stop` and `reload`."""

from __future__ import annotations

from typing import Any

import click

from poppo_ipc.cli._asking import ask
from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._groups._done import do, message
from poppo_ipc.cli._plain import Style, bytes_text, cell, duration_text, render

__all__ = ["reload", "status", "stop"]


@click.command("status")
@connected
def status(invocation: Invocation) -> None:
    """Show everything at a glance."""
    invocation.output.show(ask(invocation, "status", idempotent=True), text=_overview)


@click.command("reload")
@connected
def reload(invocation: Invocation) -> None:
    """Let the daemon read its settings again."""
    do(invocation, "daemon.reload")


@click.command("stop")
@click.option("--no-wait", is_flag=True, help="Do not wait until it has ended.")
@connected
def stop(invocation: Invocation, no_wait: bool) -> None:
    """Stop the daemon in order, and wait until it has ended.

    It finishes what runs, for as long as its grace time says. --timeout is how long this waits (30 seconds).
    """
    if no_wait:
        invocation.output.show(ask(invocation, "daemon.stop"), text=message)
        return
    from poppo_ipc.cli._gone import pid_of_daemon, stop_and_wait

    address = invocation.address()
    with invocation.client() as client:
        answer = stop_and_wait(client, address, pid_of_daemon(client, address), invocation.timeout)
    answer = {**(answer if isinstance(answer, dict) else {}), "stopped": True}
    invocation.output.show(answer, text=lambda *_: "The daemon has stopped")


def _overview(value: Any, style: Style, width: int) -> str:
    """One line for each part, then its projects and workers."""
    if not isinstance(value, dict):
        return cell(value)
    daemon, queue, workers = (_part(value, name) for name in ("daemon", "queue", "workers"))
    lines = [_daemon_line(daemon, style)]
    if queue:
        counts = "  ".join(
            f"{cell(queue.get(name, 0))} {name}" for name in ("pending", "running", "completed", "failed")
        )
        lines.append(
            f"{style.strong('queue')}     {style.wary('paused') + '  ' if queue.get('paused') else ''}{counts}"
        )
    if workers:
        lines.append(
            f"{style.strong('workers')}   {cell(workers.get('active', 0))} active, {cell(workers.get('idle', 0))} idle"
        )
    projects = list(_part(value, "projects").values())
    lines.append(f"{style.strong('projects')}  {len(projects)}")
    if projects:
        lines += ["", render(projects, style, width, ("id", "name", "status", "path"))]
    busy = workers.get("workers")
    if isinstance(busy, list) and busy:
        lines += ["", render(busy, style, width, ("id", "state", "currentTask", "tasksCompleted", "uptime", "memory"))]
    return "\n".join(lines)


def _daemon_line(daemon: dict[str, Any], style: Style) -> str:
    words = [
        style.state(cell(daemon.get("status"))),
        f"version {cell(daemon.get('version'))}",
        f"pid {cell(daemon.get('pid'))}",
    ]
    if isinstance(daemon.get("uptime"), int | float):
        words.append(f"up {duration_text(daemon['uptime'])}")
    memory = _part(_part(daemon, "system"), "memory").get("rss")
    if isinstance(memory, int | float):
        words.append(bytes_text(memory))
    return f"{style.strong('daemon')}    {'  '.join(words)}"


def _part(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}
