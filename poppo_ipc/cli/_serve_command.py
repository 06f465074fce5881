"""`poppo-ipc serve`: its options, and what keeps it from starting."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from poppo_ipc.cli._connection import Invocation
from poppo_ipc.cli._failures import ExitCode
from poppo_ipc.cli._flags import given_flags, setting_flags
from poppo_ipc.daemon._config_model import ConfigError
from poppo_ipc.errors import PoppoError

if TYPE_CHECKING:
    from poppo_ipc.cli._serve import ServeOptions

__all__ = ["command", "serve_options", "tell_problems"]


@click.command("serve", options_metavar="[--config FILE] [--SETTING VALUE ...]")
@click.option("--config", metavar="FILE", envvar="POPPO_CONFIG", help="A TOML file with settings (POPPO_CONFIG).")
@click.option("--detached", is_flag=True, hidden=True)  # how `start` runs it
@setting_flags
@click.pass_context
def command(ctx: click.Context, /, config: str | None, detached: bool, **settings: Any) -> int:
    """Run the daemon in the foreground.

    Each setting is that of its flag, or else of its variable, or else of the file, or else the default. It says
    "ready on ADDRESS" on stderr once clients can connect; reads the settings again on SIGHUP or the command
    daemon.reload; ends in order on SIGTERM, SIGINT (on Windows Ctrl-C and Ctrl-Break) or the command daemon.stop, and
    at once on a second signal.
    Without a token file and --no-auth the token is that of POPPO_TOKEN, or else of the file "token" in the state
    directory, which is made where there is none. A socket handed over by a service manager (LISTEN_FDS) is used.
    """
    from poppo_ipc.cli._serve import serve

    try:
        serve(serve_options(ctx, config, settings), detached=detached)
    except ConfigError as error:
        return tell_problems(error)
    except PoppoError as error:
        _tell(error.message)
        return ExitCode.FAILED
    return ExitCode.DONE


def serve_options(ctx: click.Context, config: str | None, settings: Mapping[str, Any]) -> ServeOptions:
    """Where the settings come from, by the options of this command."""
    from poppo_ipc.cli._serve import ServeOptions

    # What was said before the command's name holds too.
    before = ctx.ensure_object(Invocation)
    flags = given_flags(settings)
    if before.socket is not None:
        flags.setdefault("socket", before.socket)
    if before.token_file is not None:
        flags.setdefault("token_file", before.token_file)
    return ServeOptions(file=Path(config).expanduser() if config else None, flags=flags)


def tell_problems(error: ConfigError) -> int:
    """Tell what is wrong with the settings, one thing a line; gives the exit code."""
    for problem in error.problems:
        _tell(str(problem))
    # What was typed is usage; what a file or a variable says is not.
    typed = all(problem.source.startswith("--") for problem in error.problems)
    return ExitCode.USAGE if typed else ExitCode.FAILED


def _tell(text: str) -> None:
    print(f"poppo-ipc: {' '.join(text.split())}", file=sys.stderr)
