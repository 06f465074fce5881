"""`tasks`: `task.*`, but for running one."""

from __future__ import annotations

import click

from poppo_ipc.cli._asking import ask
from poppo_ipc.cli._complete import project_ids, task_ids
from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._groups._done import do
from poppo_ipc.cli._groups._running import follow_task, run_task
from poppo_ipc.cli._groups._states import STATES
from poppo_ipc.cli._groups._submission import submission, submission_options
from poppo_ipc.cli._lazy_group import SuggestingGroup
from poppo_ipc.cli._plain import Style, cell

__all__ = ["command"]

_ID = click.argument("task_id", metavar="ID", shell_complete=task_ids)
_PROJECT = click.option("--project", metavar="ID", shell_complete=project_ids, help="The project that it belongs to.")
_COLUMNS = ("id", "type", "status", "projectId", "createdAt", "error")


@click.group("tasks", cls=SuggestingGroup)
def command() -> None:
    """Submit, run, list, follow and cancel tasks."""


@command.command("list")
@click.option("--status", type=STATES, help="Only tasks in this state.")
@click.option("--limit", type=click.IntRange(min=0), help="How many at most (100).")
@click.option("--offset", type=click.IntRange(min=0), help="How many to skip first.")
@connected
def list_tasks(invocation: Invocation, status: str | None, limit: int | None, offset: int | None) -> None:
    """List tasks."""
    args = {"status": status, "limit": limit, "offset": offset}
    invocation.output.show(ask(invocation, "task.list", args, idempotent=True), columns=_COLUMNS)


@command.command("status")
@_ID
@connected
def status(invocation: Invocation, task_id: str) -> None:
    """Show a task whole, with its attempts and its result."""
    invocation.output.show(ask(invocation, "task.status", {"taskId": task_id}, idempotent=True))


@command.command("cancel")
@_ID
@connected
def cancel(invocation: Invocation, task_id: str) -> None:
    """Cancel a task; a running one is stopped, with all of its processes."""
    do(invocation, "task.cancel", {"taskId": task_id})


@command.command("retry")
@_ID
@connected
def retry(invocation: Invocation, task_id: str) -> None:
    """Run a failed or cancelled task again, as a new one."""
    invocation.output.show(ask(invocation, "task.retry", {"taskId": task_id}), text=_retried)


@command.command("output")
@_ID
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended.")
@connected
def output(invocation: Invocation, task_id: str, follow: bool) -> None:
    """Show what a task printed: its stdout on stdout, its stderr on stderr. With --json, piece by piece."""
    with invocation.client() as client:
        follow_task(invocation, client, task_id, follow=follow)


@command.command("submit", context_settings={"allow_interspersed_args": False})
@submission_options
@_PROJECT
@click.argument("argv", metavar="[--] PROGRAM [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED)
@connected
def submit(invocation: Invocation, /, argv: tuple[str, ...], project: str | None, **options: object) -> None:
    """Let the daemon run a program, and do not wait for it.

    It runs in this directory, or in that of its project, with no shell and a small environment.
    """
    args = submission(argv, project, options)
    invocation.output.show(ask(invocation, "task.submit", args), text=_submitted)


@command.command("run", context_settings={"allow_interspersed_args": False})
@submission_options
@_PROJECT
@click.argument("argv", metavar="[--] PROGRAM [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED)
@connected
def run(invocation: Invocation, /, argv: tuple[str, ...], project: str | None, **options: object) -> int:
    """Let the daemon run a program, show what it prints, and end with its exit code.

    It runs in this directory, or in that of its project, with no shell and a small environment, once. Ctrl-C cancels
    it.
    """
    return run_task(invocation, submission(argv, project, {**options, "attempts": options.get("attempts") or 1}))


def _submitted(value: object, style: Style, width: int) -> str:
    task = cell(value.get("taskId") if isinstance(value, dict) else value)
    return f"Task {style.strong(task)} submitted; follow it with poppo-ipc tasks output -f {task}"


def _retried(value: object, style: Style, width: int) -> str:
    if not isinstance(value, dict) or "newTaskId" not in value:
        return cell(value)
    return f"{cell(value.get('message'))} as {style.strong(cell(value['newTaskId']))}"
