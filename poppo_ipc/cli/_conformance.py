"""`poppo-ipc conformance`: whether a server, or a client program, keeps the wire contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._plain import Style
from poppo_ipc.cli._safe import safe

if TYPE_CHECKING:
    from poppo_ipc.testing.conformance import Finding, Report

__all__ = ["command"]

_PATIENCE = 10.0

Roles = dict[str, tuple[str, dict[str, Any]]]


def _roles(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Roles:
    found: Roles = {}
    for value in values:
        role, _, rest = value.partition("=")
        name, _, args = rest.partition(" ")
        try:
            given = json.loads(args) if args else {}
        except ValueError as error:
            raise click.BadParameter(f"the arguments of {name} are no JSON: {error}", ctx, param) from error
        if not name or not isinstance(given, dict) or role not in ("echo", "wait", "count", "emit"):
            raise click.BadParameter(
                "write echo=, wait=, count= or emit= and a COMMAND, with a JSON object", ctx, param
            )
        found[role] = (name, given)
    return found


@click.command("conformance")
@click.option("--client", is_flag=True, help="Check the client program COMMAND, and not a server.")
@click.option("--only", multiple=True, metavar="NAME", help="Only checks whose names contain this; may be repeated.")
@click.option("--list", "listed", is_flag=True, help="List the checks, and make none.")
@click.option(
    "--use", callback=_roles, multiple=True, metavar="ROLE=COMMAND [JSON]",
    help="The server's command for the role echo, wait, count or emit; may be repeated.",
)  # fmt: skip
@click.option("--auth-seconds", type=click.FloatRange(min=0, min_open=True), default=5.0, show_default=True,
              help="After how long the server closes who does not authenticate.")  # fmt: skip
@click.option("--auth-tries", type=click.IntRange(min=1), default=3, show_default=True,
              help="After how many wrong tokens it does.")  # fmt: skip
@click.argument("words", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
@connected
def command(
    invocation: Invocation,
    client: bool,
    only: tuple[str, ...],
    listed: bool,
    use: Roles,
    auth_seconds: float,
    auth_tries: int,
    words: tuple[str, ...],
) -> int:
    """Check whether a server or a client keeps the wire contract, in whatever language it is written.

    The server is talked to from raw sockets. For some checks it needs a command that gives its arguments back (echo),
    one that never ends (wait), a stream of `count` items (count) and one that publishes an event (emit): it may have
    these as conformance.echo and so on, or others are named with --use. What a server does not offer is no failure.

    With --client the program after -- is run once for each check, led by POPPO_SOCKET and POPPO_TOKEN to a server that
    behaves in one way. It has to ask one command, whichever, and to end with exit code 0 only where that was answered
    well. The exit code is 1 where a check failed; --timeout is how long each step may take (10).
    """
    from poppo_ipc.testing.conformance import check_client, check_server, client_checks, server_checks

    if client != bool(words) and not listed:
        raise click.UsageError("give a command after --, as in: poppo-ipc conformance --client -- COMMAND...")
    show = _shown(invocation)
    patience = invocation.timeout or _PATIENCE
    try:
        if listed:
            checks = [*client_checks(*only)] if client else [*server_checks(*only)]
            rows = [{"name": each.name, "rule": each.rule} for each in checks]
            invocation.output.show(rows, text=lambda value, style, width: _list(value))
            return ExitCode.DONE
        if client:
            report = check_client(words, only=only, patience=patience, told=show)
        else:
            report = check_server(
                invocation.address(), token=invocation.token(), only=only, patience=patience,
                auth_seconds=auth_seconds, auth_tries=auth_tries, roles=use, told=show,
            )  # fmt: skip
    except (LookupError, ValueError) as error:
        raise Failure(str(error.args[0]), "See poppo-ipc conformance --list", ExitCode.USAGE) from error
    invocation.output.show(report.as_json(), text=lambda value, style, width: _counts(report))
    return ExitCode.DONE if report.ok else ExitCode.FAILED


def _list(rows: list[dict[str, str]]) -> str:
    size = max((len(row["name"]) for row in rows), default=0)
    return "\n".join(f"{row['name'].ljust(size)}  {row['rule']}" for row in rows)


def _shown(invocation: Invocation) -> Callable[[Finding], None]:
    """Shows each finding to a person as soon as it is there; a program gets them all at the end."""
    output = invocation.output

    def show(finding: Finding) -> None:
        if output.for_person:
            output.item(finding, text=_line)

    return show


def _line(finding: Finding, style: Style) -> str:
    lines = [safe(line) for line in finding.explain().split("\n")]
    status = finding.status.value
    mark = {"passed": style.good("ok  "), "failed": style.bad("FAIL")}.get(status, style.faint("-   "))
    return "\n      ".join([f"{mark}  {lines[0]}", *(line.removeprefix("  ") for line in lines[1:])])


def _counts(report: Report) -> str:
    return ", ".join(f"{count} {what}" for what, count in report.counts().items())
