"""The steps of the demo about projects, tasks, workers and the queue."""

from __future__ import annotations

import sys
from typing import Any

import psutil

from poppo_ipc.cli._stage import KILLING, Stage
from poppo_ipc.cli._steps import Screen, expect, expect_that
from poppo_ipc.client import Client, Event, EventStream, connect

__all__ = ["add_project", "first_line", "kill_worker", "pause_queue", "run_tasks", "until"]

_LINES = 3
#: The program that prints its working directory.
_WHERE = ["cmd", "/d", "/c", "cd"] if sys.platform == "win32" else ["pwd"]


async def add_project(place: Stage, screen: Screen) -> None:
    """Add a project, and see it listed."""
    async with connect(place.address, token=place.token) as client, client.subscribe("project.*") as events:
        directory = place.directory / "a-project"
        directory.mkdir()
        added = await client.call("project.add", path=str(directory), name="a-project")
        screen.show("project.add", added, added["message"])
        event = await until(events, "project.added", projectId=added["project"]["id"])
        screen.show("the daemon says", event.data, f"project.added, {event.data['name']}")
        listed = await client.call("project.list")
        screen.show("project.list", listed, ", ".join(f"{p['name']} is {p['status']}" for p in listed["projects"]))
        expect("the projects", [project["id"] for project in listed["projects"]], [added["project"]["id"]])
        place.project = str(added["project"]["id"])


async def run_tasks(place: Stage, screen: Screen) -> None:
    """Run a function and a program in workers, and follow what they print."""
    async with connect(place.address, token=place.token) as client, client.subscribe("task.*") as events:
        task = await _submit(client, place, "demo.report", {"title": "report", "lines": _LINES})
        wanted = "".join(f"report: line {number} of {_LINES}\n" for number in range(1, _LINES + 1))
        await _follow(client, screen, task, wanted)
        event = await until(events, "task.completed", taskId=task)
        screen.show("the daemon says", event.data, f"task.completed by {event.data['workerId']}")
        result = (await client.call("task.status", taskId=task))["result"]
        screen.show("its result", result)
        expect("the result", result, {"lines": _LINES})
        task = await _submit(client, place, "command", {"argv": _WHERE})
        await _follow(client, screen, task, f"{(place.directory / 'a-project').resolve()}\n")
        await until(events, "task.completed", taskId=task)


async def kill_worker(place: Stage, screen: Screen) -> None:
    """Kill a worker in the middle of its task, and see another do it again."""
    mark = place.directory / "started"
    async with connect(place.address, token=place.token) as client, client.subscribe("task.*", "worker.*") as events:
        task = await _submit(client, place, "demo.fragile", {"started": str(mark)})
        pid = int(await first_line(client, task))
        first = await until(events, "task.started", taskId=task)
        psutil.Process(pid).kill()
        screen.show(KILLING, pid, f"pid {pid}, {first.data['workerId']}, in the middle of a task")
        failed = await until(events, "task.failed", taskId=task)
        screen.show("the daemon says", failed.data, f"attempt {failed.data['attempt']}: {failed.data['error']}")
        expect("whether it is tried again", failed.data["willRetry"], True)
        done = await until(events, "task.completed", taskId=task)
        screen.show("and then", done.data, f"attempt {done.data['attempt']} completed by {done.data['workerId']}")
        expect_that("the second worker", done.data["workerId"] != first.data["workerId"], "another", done.data)
        expect("the attempts", done.data["attempt"], 2)


async def pause_queue(place: Stage, screen: Screen) -> None:
    """Pause the queue, see that nothing starts, and let it go on."""
    async with (
        connect(place.address, token=place.token) as client,
        client.subscribe("task.started", "queue.*") as events,
    ):
        for command, state in (("queue.pause", "paused"), ("queue.resume", "running")):
            answer = await client.call(command)
            screen.show(command, answer, answer["message"])
            event = await _next(events)
            expect("what the daemon says", (event.name, event.data["status"]), ("queue.status-changed", state))
            if state == "paused":
                tasks = [await _submit(client, place, "demo.report", {"title": "late", "lines": 1}) for _ in range(3)]
                status = await client.call("queue.status")
                screen.show("three tasks", status, f"{status['pending']} wait, {status['running']} run")
                expect("how many wait", (status["pending"], status["running"]), (3, 0))
        # Nothing has started before: the first event after the pause was that of its end.
        started = {(await _next(events)).data["taskId"] for _ in tasks}
        screen.show("and then", sorted(started), f"{len(started)} started")
        expect("what has started", started, set(tasks))


async def _submit(client: Client, place: Stage, type: str, payload: dict[str, Any]) -> str:
    answer = await client.call("task.submit", type=type, projectId=place.project, payload=payload)
    return str(answer["taskId"])


async def _follow(client: Client, screen: Screen, task: str, wanted: str) -> None:
    printed = ""
    async with client.stream("task.output", taskId=task) as items:
        async for item in items:
            printed += item["text"]
            for line in item["text"].splitlines():
                screen.show("it prints", line)
    expect("what it printed", printed.replace("\r\n", "\n"), wanted)


async def first_line(client: Client, task: str) -> str:
    """Wait until a task has printed a line, and give it."""
    printed = ""
    async with client.stream("task.output", taskId=task) as items:
        async for item in items:
            printed += item["text"]
            if "\n" in printed:
                break
    return printed.partition("\n")[0].strip()


async def until(events: EventStream, name: str, **data: Any) -> Event:
    """The next event of this name with this data; those before it are left out."""
    while True:
        event = await _next(events)
        if event.name == name and data.items() <= event.data.items():
            return event


async def _next(events: EventStream) -> Event:
    event = await anext(events)
    expect_that("the next thing", isinstance(event, Event), "an event", event)
    assert isinstance(event, Event)
    return event
