"""`poppo-ipc start`: the daemon in the background."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from poppo_ipc.cli._connection import Invocation, waiting_options
from poppo_ipc.cli._failures import ExitCode
from poppo_ipc.cli._flags import setting_flags
from poppo_ipc.cli._serve_command import serve_options, tell_problems
from poppo_ipc.daemon._config_model import ConfigError

if TYPE_CHECKING:
    from poppo_ipc.cli._starting import Begun

__all__ = ["command", "show_begun"]


@click.command("start", options_metavar="[--config FILE] [--SETTING VALUE ...]")
@click.option("--config", metavar="FILE", envvar="POPPO_CONFIG", help="A TOML file with settings (POPPO_CONFIG).")
@waiting_options
@setting_flags
@click.pass_context
def command(ctx: click.Context, /, config: str | None, **settings: Any) -> int:
    """Start the daemon in the background.

    With the settings of serve. Waits until clients can connect, for --timeout seconds at most (30), and says its pid
    and address; one that is not ready by then is ended. Where it runs already, it says so, and that is no failure. The
    daemon has a session of its own: neither Ctrl-C nor the end of the terminal reaches it.
    """
    from poppo_ipc.cli._starting import start_daemon

    invocation = ctx.ensure_object(Invocation)
    options = serve_options(ctx, config, settings)
    return show_begun(invocation, lambda: start_daemon(options, invocation.timeout))


def show_begun(invocation: Invocation, begin: Callable[[], Begun]) -> int:
    """Start it, and tell how that went; gives the exit code."""
    from poppo_ipc.cli._starting import StartRefused

    try:
        begun = begin()
    except ConfigError as error:
        return tell_problems(error)
    except StartRefused as refused:
        for line in refused.lines:
            print(line, file=sys.stderr)
        return refused.exit_code
    invocation.output.show(begun.result(), text=lambda *_: str(begun))
    return ExitCode.DONE
