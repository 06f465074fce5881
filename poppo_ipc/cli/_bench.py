"""`poppo-ipc bench`: its options."""

from __future__ import annotations

import json
from typing import Any

import click

from poppo_ipc.cli._complete import command_names
from poppo_ipc.cli._connection import Invocation, connected

__all__ = ["command"]


def _object(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any]:
    try:
        found = {} if value is None else json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"that is no JSON: {error}", ctx, param) from error
    if not isinstance(found, dict):
        raise click.BadParameter("it has to be a JSON object", ctx, param)
    return found


@click.command("bench")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=5.0, show_default=True, help="How long."
)
@click.option(
    "--in-flight", type=click.IntRange(1, 4096), default=1, show_default=True, metavar="N",
    help="How many questions are open at once.",
)  # fmt: skip
@click.option(
    "--command", "name", default="daemon.status", show_default=True, metavar="NAME", shell_complete=command_names,
    help="What to ask.",
)  # fmt: skip
@click.option("--args", callback=_object, metavar="JSON", help="The arguments of that, as a JSON object.")
@connected
def command(invocation: Invocation, seconds: float, in_flight: int, name: str, args: dict[str, Any]) -> int:
    """Measure how fast the daemon answers.

    It asks the running daemon again and again, first for a moment that is not counted, and shows how long each answer
    took and how many there were. With --in-flight 1 each question waits for the answer to the one before; a daemon
    allows 64 at once for each client where nobody changed that. The command is run very often: choose one that only
    reads. Ctrl-C ends it early, and shows what was measured.
    """
    from poppo_ipc.cli._bench_figures import Measurement
    from poppo_ipc.cli._bench_run import measure

    return measure(invocation, Measurement(command=name, args=args, seconds=seconds, in_flight=in_flight))
