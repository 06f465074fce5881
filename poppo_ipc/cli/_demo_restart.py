"""The step of the demo in which the daemon dies."""

from __future__ import annotations

from typing import Any

from poppo_ipc.cli._demo_work import first_line
from poppo_ipc.cli._stage import KILLED, KILLING, Stage
from poppo_ipc.cli._steps import Screen, expect, expect_that
from poppo_ipc.client import Backoff, Client, ClientState, Event, EventStream, StateStream, connect

__all__ = ["survive_a_crash"]

_FAILED_TRIES = 3
_TASKS = 3


async def survive_a_crash(place: Stage, screen: Screen) -> None:
    """Kill the daemon under a client that listens, start another, and see that nothing is lost."""
    backoff = Backoff(start=0.05, factor=2.0, cap=0.4)
    mark = place.directory / "running"
    async with (
        connect(place.address, token=place.token, backoff=backoff) as client,
        client.subscribe("**") as events,
        client.state_changes() as changes,
    ):
        running = await _submit(client, place, "demo.fragile", {"started": str(mark)})
        await first_line(client, running)
        await client.call("queue.pause")
        waiting = [await _submit(client, place, "demo.report", {"title": "kept", "lines": 1}) for _ in range(_TASKS)]
        before, epoch = await _look(client), client.epoch
        screen.show("before", before, f"1 project, 1 task runs, {_TASKS} wait in a paused queue")
        await _kill(place, screen)
        await _watch_tries(changes, screen)
        daemon = await place.start_daemon()
        screen.show("a new daemon", daemon.pid, f"pid {daemon.pid}")
        tries = await _until_connected(changes)
        screen.show("connected again", tries, f"after {_FAILED_TRIES + tries} waits")
        expect("the numbering of events", client.epoch, epoch)
        expect("the projects, the tasks and the pause", await _look(client), before)
        screen.show("afterwards", None, "the same project and tasks, and the queue is still paused")
        await client.call("queue.resume")
        seen = await _until_completed(events, {running, *waiting})
        numbers = [event.seq for event in seen]
        screen.show("all tasks", len(waiting) + 1, "completed: what ran was run again, what waited was run")
        expect("the numbers of all events", numbers, list(range(numbers[0] or 0, (numbers[0] or 0) + len(numbers))))
        screen.show("events", numbers, f"{len(numbers)} came, {numbers[0]} to {numbers[-1]}: no gap, none twice")


async def _submit(client: Client, place: Stage, type: str, payload: dict[str, Any]) -> str:
    answer = await client.call("task.submit", type=type, projectId=place.project, payload=payload)
    return str(answer["taskId"])


async def _look(client: Client) -> dict[str, Any]:
    """What must not be lost."""
    projects = (await client.call("project.list"))["projects"]
    tasks = (await client.call("task.list"))["tasks"]
    status = await client.call("queue.status")
    return {
        "projects": sorted((project["id"], project["name"], project["path"]) for project in projects),
        "tasks": sorted(task["id"] for task in tasks),
        "paused": status["paused"],
    }


async def _kill(place: Stage, screen: Screen) -> None:
    daemon = place.running
    code = await daemon.kill()
    screen.show(KILLING, daemon.pid, f"pid {daemon.pid} is gone")
    expect("the exit code", code, KILLED)
    left = place.has_socket()
    screen.show(f"its {place.what}", left, "was left behind" if left else "is gone")
    expect(f"whether a dead daemon's {place.what} is left", left, place.what == "socket")


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


async def _until_completed(events: EventStream, tasks: set[str]) -> list[Event]:
    """All events up to the one by which the last of the tasks is completed."""
    seen: list[Event] = []
    left = set(tasks)
    while left:
        event = await anext(events)
        expect_that("the next thing", isinstance(event, Event), "an event, and no gap", event)
        assert isinstance(event, Event)
        seen.append(event)
        if event.name == "task.completed":
            left.discard(event.data["taskId"])
    return seen
