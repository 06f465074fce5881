"""`poppo-ipc describe`: the daemon's description, as JSON, a page or types."""

from __future__ import annotations

import click

from poppo_ipc.cli._commands_command import description_of
from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._reference import command_list, event_list

__all__ = ["command"]


@click.command("describe")
@click.option("--markdown", is_flag=True, help="A page of reference.")
@click.option("--typescript", is_flag=True, help="Types for clients in TypeScript: arguments, answers, events.")
@connected
def command(invocation: Invocation, markdown: bool, typescript: bool) -> None:
    """Write a description of the daemon: its commands with their arguments and answers, and its events.

    As JSON it is the daemon's own, with JSON Schemas.
    """
    if markdown + typescript + invocation.json > 1:
        raise Failure("--markdown, --typescript and --json exclude one another", "Choose one", ExitCode.USAGE)
    description = description_of(invocation)
    output = invocation.output
    if markdown:
        from poppo_ipc.cli._reference import markdown as page

        output.raw(page(description))
    elif typescript:
        from poppo_ipc.cli._typescript import typescript as types

        output.raw(types(description))
    else:
        output.show(
            description.answer,
            text=lambda _, style, width: (
                f"{command_list(description, style, width)}\n\n{event_list(description, style, width)}"
            ),
        )
