"""Following events: from the subscription to stdout, and what becomes of the connection to stderr."""

from __future__ import annotations

import sys

import trio
from attrs import frozen

from poppo_ipc.cli._async_client import lasting_client
from poppo_ipc.cli._connection import Invocation
from poppo_ipc.cli._events_lines import event_line, event_object, gap_line, gap_object
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._interruptible import run_interruptible
from poppo_ipc.cli._live_lines import LiveLines
from poppo_ipc.cli._plain import Style, duration_text
from poppo_ipc.cli._safe import safe
from poppo_ipc.client import Client, ClientState, Event, Gap, Position

__all__ = ["Following", "follow_events"]

#: Events that are held while they are shown; a replay comes all at once.
_BUFFER = 65_536


@frozen(kw_only=True)
class Following:
    """What is to be shown."""

    patterns: tuple[str, ...]
    since: tuple[str | None, int] | None = None
    """The epoch, None for the daemon's present one, and the last event that is known."""
    count: int | None = None
    """How many events; None for no end."""
    clock: str = "local"


def follow_events(invocation: Invocation, following: Following) -> int:
    """Show events until there were enough; gives the exit code.

    Raises KeyboardInterrupt on Ctrl-C, BrokenPipeError when nobody reads any more, and what the client raises when
    there can be no connection any more.
    """

    async def main() -> int:
        lines = LiveLines(as_json=True if invocation.json else None)
        async with lasting_client(invocation, event_buffer=_BUFFER) as client, trio.open_nursery() as watching:
            watching.start_soon(_tell_states, client)
            async with trio.open_nursery() as writing:
                writing.start_soon(lines.run)
                await _follow(client, following, lines)
                lines.close()
            watching.cancel_scope.cancel()
        return ExitCode.DONE

    return run_interruptible(main)


async def _follow(client: Client, following: Following, lines: LiveLines) -> None:
    left = following.count
    async with client.subscribe(*following.patterns, since=_position(client, following)) as events:
        async for thing in events:
            epoch = events.position.epoch if events.position is not None else None
            _show(thing, epoch, following.clock, lines)
            await lines.room()
            if left is not None and isinstance(thing, Event):
                left -= 1
                if not left:
                    return


def _position(client: Client, following: Following) -> Position | None:
    if following.since is None:
        return None
    epoch, number = following.since
    if client.session is None or not client.session.has_replay or client.epoch is None:
        raise Failure("This daemon cannot repeat events", "Leave out --since", ExitCode.USAGE)
    return Position(epoch or client.epoch, number)


def _show(thing: Event | Gap, epoch: str | None, clock: str, lines: LiveLines) -> None:
    if isinstance(thing, Gap):
        gap = thing
        lines.output.item(gap_object(gap), text=lambda _, style: gap_line(gap, style))
    else:
        event = thing

        def text(_: object, style: Style) -> str:
            return event_line(event, style, clock)

        lines.output.item(event_object(event, epoch), text=text)


async def _tell_states(client: Client) -> None:
    """Say on stderr when the daemon was lost, and when it is back."""
    lost: float | None = None
    async with client.state_changes() as changes:
        async for change in changes:
            if change.state is ClientState.AWAY and lost is None:
                lost = trio.current_time()
                reason = "" if change.error is None else f": {change.error.what}"
                _tell(f"lost the daemon{reason}; trying again")
            elif change.state is ClientState.CONNECTED and lost is not None:
                _tell(f"the daemon is back after {_away_text(trio.current_time() - lost)}")
                lost = None


def _tell(text: str) -> None:
    print(f"poppo-ipc: {safe(text)}", file=sys.stderr, flush=True)


def _away_text(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration_text(seconds)
