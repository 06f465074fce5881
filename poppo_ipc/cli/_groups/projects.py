"""`projects`: `project.*`."""

from __future__ import annotations

import os
from typing import Any

import click

from poppo_ipc.cli._arguments import given_args, parse_args
from poppo_ipc.cli._asking import ask
from poppo_ipc.cli._complete import project_ids
from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._groups._done import do
from poppo_ipc.cli._lazy_group import SuggestingGroup
from poppo_ipc.cli._plain import Style, cell

__all__ = ["command"]

_ID = click.argument("project_id", metavar="ID", shell_complete=project_ids)
_SETTINGS = click.argument("settings", metavar="[KEY=VALUE]...", nargs=-1)
_CONFIG = click.option("--config", metavar="JSON", help="Settings as one JSON object.")


@click.group("projects", cls=SuggestingGroup)
def command() -> None:
    """List, add, change and remove projects."""


@command.command("list")
@connected
def list_projects(invocation: Invocation) -> None:
    """List the projects."""
    answer = ask(invocation, "project.list", idempotent=True)
    invocation.output.show(answer, columns=("id", "name", "status", "enabled", "lastActivity", "path"))


@command.command("add")
@click.argument("path", type=click.Path())
@click.option("--name", help="Its name; that of its directory where none is given.")
@_CONFIG
@_SETTINGS
@connected
def add(invocation: Invocation, path: str, name: str | None, config: str | None, settings: tuple[str, ...]) -> None:
    """Add the project in the directory PATH, with settings such as retries=3."""
    whole = os.path.abspath(os.path.expanduser(path))
    args = {"path": whole, "name": name, "config": _settings(config, settings) or None}
    invocation.output.show(ask(invocation, "project.add", args), text=_added)


@command.command("status")
@_ID
@connected
def status(invocation: Invocation, project_id: str) -> None:
    """Show a project whole."""
    invocation.output.show(ask(invocation, "project.status", {"projectId": project_id}, idempotent=True))


@command.command("start")
@_ID
@connected
def start(invocation: Invocation, project_id: str) -> None:
    """Start a project."""
    do(invocation, "project.start", {"projectId": project_id})


@command.command("stop")
@_ID
@connected
def stop(invocation: Invocation, project_id: str) -> None:
    """Stop a project."""
    do(invocation, "project.stop", {"projectId": project_id})


@command.command("restart")
@_ID
@connected
def restart(invocation: Invocation, project_id: str) -> None:
    """Stop a project and start it again."""
    do(invocation, "project.restart", {"projectId": project_id})


@command.command("update")
@_ID
@_CONFIG
@_SETTINGS
@connected
def update(invocation: Invocation, project_id: str, config: str | None, settings: tuple[str, ...]) -> None:
    """Change settings of a project: retries=3 limits.cpu=2; null deletes one."""
    changes = _settings(config, settings)
    if not changes:
        raise Failure("No setting was given", "Write KEY=VALUE, or --config JSON", ExitCode.USAGE)
    do(invocation, "project.update", {"projectId": project_id, "config": changes})


@command.command("remove")
@_ID
@click.option("--force", is_flag=True, default=False, help="Stop its running tasks first.")
@connected
def remove(invocation: Invocation, project_id: str, force: bool) -> None:
    """Remove a project."""
    do(invocation, "project.remove", {"projectId": project_id, "force": True if force else None})


def _settings(config: str | None, settings: tuple[str, ...]) -> dict[str, Any]:
    for setting in settings:
        if "=" not in setting.lstrip("="):
            raise Failure(f"{setting!r} is no setting", "Write KEY=VALUE", ExitCode.USAGE)
    base = given_args(config, "--config") if config is not None else {}
    return parse_args("project.update", [f"--{setting}" for setting in settings], None, base)


def _added(value: Any, style: Style, width: int) -> str:
    project = value.get("project") if isinstance(value, dict) else None
    if not isinstance(project, dict):
        return cell(value)
    return f"Project {style.strong(cell(project.get('id')))} added: {cell(project.get('path'))}"
