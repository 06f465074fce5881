"""`poppo-ipc commands`: what the daemon can be asked, and what it tells."""

from __future__ import annotations

from typing import Any

import click

from poppo_ipc.cli._complete import command_names
from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._described import Description, describe
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._reference import command_help, command_list, event_list

__all__ = ["command", "description_of"]


@click.command("commands")
@click.argument("name", metavar="[COMMAND]", required=False, shell_complete=command_names)
@click.option("--events", is_flag=True, help="The events in place of the commands.")
@connected
def command(invocation: Invocation, name: str | None, events: bool) -> None:
    """List what the daemon can be asked, or document one command."""
    description = description_of(invocation)
    if name is not None:
        entry = description.command(name)
        invocation.output.show(entry, text=lambda value, style, width: command_help(value, style).rstrip("\n"))
    elif events:
        invocation.output.show(_sorted(description.events), text=lambda _, s, width: event_list(description, s, width))
    else:
        invocation.output.show(
            _sorted(description.commands), text=lambda _, s, width: command_list(description, s, width)
        )


def description_of(invocation: Invocation) -> Description:
    """The daemon's description. Raises Failure where it has none."""
    with invocation.client() as client:
        description = describe(client)
    if description is None:
        what = "This daemon does not describe its commands"
        raise Failure(what, "Call them by name: poppo-ipc call COMMAND [--NAME VALUE]...", ExitCode.FAILED)
    return description


def _sorted(entries: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for _, entry in sorted(entries.items())]
