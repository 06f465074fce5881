"""`poppo-ipc events`: its options."""

from __future__ import annotations

from typing import Final

import click

from poppo_ipc.cli._connection import Invocation, connected

__all__ = ["command"]

_LARGEST: Final = 2**53


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str | None, int] | None:
    """The epoch, None for the daemon's present one, and the number."""
    if value is None:
        return None
    epoch, _, number = value.rpartition(":")
    if not (number.isascii() and number.isdigit()) or int(number) > _LARGEST or value.startswith(":"):
        said = f"{value!r} is neither SEQ nor EPOCH:SEQ, as the events of --json have them"
        raise click.BadParameter(said, ctx, param)
    return epoch or None, int(number)


@click.command("events")
@click.argument("patterns", nargs=-1, metavar="[PATTERN...]")
@click.option("--since", callback=_since, metavar="SEQ", help="Replay what came after this event: SEQ, or EPOCH:SEQ.")
@click.option("-n", "--count", type=click.IntRange(min=1), metavar="N", help="End after so many events.")
@click.option(
    "--time", "clock", type=click.Choice(["local", "utc", "none"]), default="local", show_default=True,
    help="How the time is shown to people; programs get it in UTC.",
)  # fmt: skip
@connected
def command(
    invocation: Invocation,
    patterns: tuple[str, ...],
    since: tuple[str | None, int] | None,
    count: int | None,
    clock: str,
) -> int:
    """Show what happens in the daemon, as it happens.

    A PATTERN is the name of events, in which * stands for one part and ** for any number of them: task.*; without
    one, all are shown. While the daemon is away it is tried again, and what was missed is shown first. Where events
    are missing for good a line in their place says so. To a pipe, and with --json, each event is a JSON object on a
    line of its own, with the "epoch" and the "seq" to go on from.
    """
    from poppo_ipc.cli._events_follow import Following, follow_events
    from poppo_ipc.protocol import check_pattern

    wanted = patterns or ("**",)
    for pattern in wanted:
        problem = check_pattern(pattern)
        if problem:
            raise click.BadParameter(f"{pattern!r}: {problem}", param_hint="PATTERN")
    return follow_events(invocation, Following(patterns=wanted, since=since, count=count, clock=clock))
