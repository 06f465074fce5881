"""`poppo-ipc token`: make one, or show the one in use."""

from __future__ import annotations

import os
import sys

import click

from poppo_ipc.cli._connection import Invocation, connected, default_token_file
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._lazy_group import SuggestingGroup
from poppo_ipc.cli._safe import safe

__all__ = ["command", "token_source"]


@click.group("token", cls=SuggestingGroup)
def command() -> None:
    """Make or show the token: the secret that a client has to know."""


@command.command("new")
@click.argument("path", type=click.Path(), required=False)
@click.option("--force", is_flag=True, help="Take the place of the token that is there.")
@connected
def new(invocation: Invocation, path: str | None, force: bool) -> None:
    """Make a token in a file that only its owner can read: PATH, or else where the daemon looks for it.

    Prints where it is, and not the token. A daemon that runs goes on with the one that it has.
    """
    from poppo_ipc.server import generate_token

    target = os.path.abspath(
        os.path.expanduser(path or invocation.token_file or os.environ.get("POPPO_TOKEN_FILE") or default_token_file())
    )
    try:
        generate_token(target, replace=force)
    except FileExistsError:
        raise Failure(f"There is a token in {target}", "Replace it with --force, or name another file") from None
    invocation.output.show({"path": target}, text=lambda *_: f"Made a token in {safe(target)}")


@command.command("show")
@connected
def show(invocation: Invocation) -> None:
    """Print the token that commands would use, for POPPO_TOKEN="$(poppo-ipc token show)".

    Where it comes from is told on stderr.
    """
    token, source = invocation.token(), token_source(invocation)
    if token is None:
        todo = "Make one with poppo-ipc token new, or set POPPO_TOKEN_FILE to that of the daemon"
        raise Failure("There is no token", todo, ExitCode.NOT_AUTHENTICATED)
    if invocation.json:
        invocation.output.show({"token": token, "source": source})
        return
    if sys.stderr.isatty():
        print(f"from {safe(source)}:", file=sys.stderr)
    invocation.output.raw(f"{safe(token)}\n")


def token_source(invocation: Invocation) -> str:
    """Where the token comes from; "" where there is none."""
    own = default_token_file()
    if invocation.token_file:
        return invocation.token_file
    if os.environ.get("POPPO_TOKEN"):
        return "POPPO_TOKEN"
    if os.environ.get("POPPO_TOKEN_FILE"):
        return f"{os.environ['POPPO_TOKEN_FILE']} (POPPO_TOKEN_FILE)"
    return own if os.path.lexists(own) else ""
