"""`poppo-ipc call COMMAND`: any command of the daemon, with flags made from its own description."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from poppo_ipc.cli._arguments import given_args, parse_args
from poppo_ipc.cli._asking import show_stream
from poppo_ipc.cli._complete import command_names, flags_of_command, values_of_argument
from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._described import Description, describe
from poppo_ipc.cli._failures import failure_of

__all__ = ["command"]


class CallCommand(click.Command):
    """Completes the flags of the daemon's command beside its own."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Options of `call`, and of the command that is named."""
        return [*flags_of_command(ctx, incomplete), *super().shell_complete(ctx, incomplete)]


@click.command(
    "call",
    cls=CallCommand,
    add_help_option=False,
    no_args_is_help=True,
    context_settings={"ignore_unknown_options": True},
    options_metavar="[OPTIONS]",
    epilog="A command's argument that is named as one of these options is given in --args.",
)
@click.argument("name", metavar="COMMAND", required=False, shell_complete=command_names)
@click.argument(
    "arguments", metavar="[--NAME VALUE]...", nargs=-1, type=click.UNPROCESSED, shell_complete=values_of_argument
)
@click.option("--args", "given", metavar="JSON", help="All arguments as one JSON object; flags are laid over it.")
@click.option("-h", "--help", "wants_help", is_flag=True, help="Show this, or the arguments of COMMAND.")
@connected
@click.pass_context
def command(
    ctx: click.Context,
    invocation: Invocation,
    name: str | None,
    arguments: tuple[str, ...],
    given: str | None,
    wants_help: bool,
) -> None:
    """Ask the daemon to run any of its commands.

    The arguments are those that the daemon tells of: poppo-ipc call project.add --help shows them. A field of an object
    is --config.retries 3, or the object is one JSON text; a list is JSON, or its flag several times; --force alone is
    true, --no-force false. What a daemon without ipc.describe is given is JSON where it parses, else text.

    The answer of a command that streams is shown item by item, as JSON Lines to a program, and then the closing
    result where there is one.
    """
    if name is None:
        click.echo(ctx.get_help())
        return
    base = given_args(given) if given is not None else {}
    with invocation.client() as client:
        described = describe(client)
        if wants_help:
            _show_help(invocation, described, name)
            return
        entry = None if described is None else described.command(name)
        args = parse_args(name, arguments, None if entry is None else entry.get("args") or {}, base)
        idempotent = None if entry is None else bool(entry.get("idempotent"))
        if entry is not None and entry.get("streaming"):
            result = show_stream(invocation, client, name, args, idempotent=idempotent)
            if result is not None:
                invocation.output.item(result)
            return
        _show_answer(invocation, client, name, args, idempotent)


def _show_answer(invocation: Invocation, client: Any, name: str, args: dict[str, Any], idempotent: bool | None) -> None:
    from poppo_ipc.errors import CommandError

    try:
        answer = client.call(name, args, idempotent=idempotent)
    except CommandError as error:
        raise failure_of(error, name) from error
    invocation.output.show(answer)


def _show_help(invocation: Invocation, described: Description | None, name: str) -> None:
    from poppo_ipc.cli._reference import command_help, undescribed_help

    output = invocation.output
    if described is None:
        output.raw(undescribed_help(name))
    else:
        output.raw(command_help(described.command(name), output.style))
