"""The step of the demo in which the daemon dies."""

from __future__ import annotations

import signal

from poppo_ipc.cli._stage import Stage
from poppo_ipc.cli._steps import Screen, expect, expect_that
from poppo_ipc.client import Backoff, ClientState, Event, EventStream, Gap, GapReason, StateStream, connect

__all__ = ["survive_a_crash"]

_FAILED_TRIES = 3


async def survive_a_crash(place: Stage, screen: Screen) -> None:
    """Kill the daemon under a client that listens, start another, and see the client go on with it."""
    backoff = Backoff(start=0.05, factor=2.0, cap=0.4)
    async with (
        connect(place.address, token=place.token, backoff=backoff) as client,
        client.subscribe("build.*") as events,
        client.state_changes() as changes,
    ):
        await client.call("demo.build", number=1)
        before = [await _event(events), await _event(events)]
        epoch = client.epoch
        screen.show("events before", [event.seq for event in before], _numbers(before))
        await _kill(place, screen)
        await _watch_tries(changes, screen)
        daemon = await place.start_daemon()
        screen.show("a new daemon", daemon.pid, f"pid {daemon.pid}")
        tries = await _until_connected(changes)
        screen.show("connected again", tries, f"after {_FAILED_TRIES + tries} waits")
        expect_that("the numbering of events", client.epoch != epoch, "a new one", client.epoch)
        await client.call("demo.build", number=2)
        gap = await anext(events)
        expect("what comes first", gap, Gap(missed=None, reason=GapReason.RESTARTED))
        screen.show("a gap, not silence", "restarted", "events may be missing: this daemon has them in memory alone")
        after = [await _event(events), await _event(events)]
        screen.show("events after", [event.seq for event in after], _numbers(after))
        expect("the builds", [event.data["number"] for event in before + after], [1, 1, 2, 2])


async def _kill(place: Stage, screen: Screen) -> None:
    daemon = place.running
    code = await daemon.kill()
    screen.show("SIGKILL", daemon.pid, f"pid {daemon.pid} is gone")
    expect("the exit code", code, -signal.SIGKILL)
    left = place.has_socket()
    screen.show("its socket", left, "was left behind" if left else "is gone")
    expect("whether a dead daemon's socket is left", left, True)


async def _watch_tries(changes: StateStream, screen: Screen) -> None:
    """Show the client's state from `connected` on, through the loss and some tries that fail."""
    tries = 0
    async for change in changes:
        wait = change.retry_in
        if change.state is ClientState.CONNECTED:
            screen.show("the client is", change.state.value)
            continue
        expect("the state after the loss", change.state, ClientState.AWAY)
        expect_that("the client", wait is not None, "about to try again", change)
        assert wait is not None
        screen.show(f"the client is {change.state.value}", wait, f"tries again in {wait * 1000:.0f} ms")
        tries += 1
        if tries == _FAILED_TRIES:
            return


async def _until_connected(changes: StateStream) -> int:
    tries = 0
    async for change in changes:
        if change.state is ClientState.CONNECTED:
            break
        expect("the state until it is back", change.state, ClientState.AWAY)
        tries += 1
    return tries


async def _event(events: EventStream) -> Event:
    event = await anext(events)
    expect_that("the next thing", isinstance(event, Event), "an event", event)
    assert isinstance(event, Event)
    return event


def _numbers(events: list[Event]) -> str:
    return ", ".join(f"{event.name} (seq {event.seq})" for event in events)
