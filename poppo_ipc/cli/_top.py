"""`poppo-ipc top`: what has to be true before it takes the screen."""

from __future__ import annotations

import sys

import click

from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._failures import ExitCode, Failure

__all__ = ["command"]


@click.command("top")
@connected
def command(invocation: Invocation) -> int:
    """Watch and steer the daemon in a full-screen view.

    It shows requests, queues, workers, tasks, events and the log as they are, and the keys that pause, scale, cancel
    and retry. While the daemon is away it waits for it. The ? key shows all keys, and q ends it.
    """
    if invocation.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure("top needs a terminal", "For a program there is poppo-ipc status --json", ExitCode.USAGE)
    with invocation.client():
        pass  # whoever cannot be connected is told before the screen is taken
    from poppo_ipc.cli._async_client import lasting_client
    from poppo_ipc.cli.top._app import TopApp

    app = TopApp(lambda: lasting_client(invocation, retry_initial=True), str(invocation.address()))
    app.run()
    if app.failure is not None:
        raise app.failure
    return app.return_code or ExitCode.DONE
