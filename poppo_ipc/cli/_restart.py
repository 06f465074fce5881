"""`poppo-ipc restart`: the end of one daemon, and the start of the next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve

from poppo_ipc.cli._connection import Invocation, waiting_options
from poppo_ipc.cli._flags import setting_flags
from poppo_ipc.cli._serve_command import serve_options
from poppo_ipc.cli._start import show_begun

if TYPE_CHECKING:
    from poppo_ipc.cli._serve import ServeOptions
    from poppo_ipc.cli._starting import Begun

__all__ = ["command"]


@click.command("restart", options_metavar="[--config FILE] [--SETTING VALUE ...]")
@click.option("--config", metavar="FILE", help="A TOML file with settings, in place of the one it was started with.")
@waiting_options
@setting_flags
@click.pass_context
def command(ctx: click.Context, /, config: str | None, **settings: Any) -> int:
    """Stop the daemon in order, and start it again in the background.

    With the settings that start gave it, and those given now in their place. A daemon that start did not start has
    the settings given now, and else those of the environment. Where none runs, it is started. What runs has its grace
    time; clients that reconnect go on. --timeout is how long each of the two may take (30 seconds).
    """
    invocation = ctx.ensure_object(Invocation)
    given = serve_options(ctx, config, settings)
    return show_begun(invocation, lambda: _restart(given, invocation))


def _restart(given: ServeOptions, invocation: Invocation) -> Begun:
    from poppo_ipc.cli._gone import pid_of_daemon, stop_and_wait
    from poppo_ipc.cli._started import Started
    from poppo_ipc.cli._starting import address_of, start_daemon, token_for
    from poppo_ipc.client import SyncClient
    from poppo_ipc.client._probe import nothing_listens
    from poppo_ipc.errors import ConnectFailed

    address = address_of(_with_config_variable(given).load())
    kept = Started.read(address)
    options = _with_config_variable(given) if kept is None else kept.over(given)
    # Before anything ends: with wrong settings the old one runs on.
    config = options.load()
    token = token_for(options, config)
    client = SyncClient(address, token=token, client_name="poppo-ipc", reconnect=False)
    try:
        client.__enter__()
    except ConnectFailed as error:
        if not nothing_listens(error):
            raise
        return start_daemon(options, invocation.timeout)
    with client:
        pid = pid_of_daemon(client, address)
        if kept is not None and kept.pid != pid:
            # Started by other means since: what is kept are another's settings.
            options = _with_config_variable(given)
            options.load()
        elif kept is not None and kept.token_in_environment and token is not None:
            options = evolve(options, environ={**options.environ, "POPPO_TOKEN": token})
        stop_and_wait(client, address, pid, invocation.timeout)
    return start_daemon(options, invocation.timeout)


def _with_config_variable(given: ServeOptions) -> ServeOptions:
    from pathlib import Path

    named = os.environ.get("POPPO_CONFIG")
    return evolve(given, file=Path(named).expanduser()) if given.file is None and named else given
