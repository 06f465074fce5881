"""A daemon that is killed again and again under load, and what must be true of it afterwards."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import trio
from attrs import Factory, define
from cli.processes import at

from poppo_ipc.client import Client, Event, Gap, connect
from poppo_ipc.errors import CommandError

PROGRAM = Path(__file__).with_name("daemon_program.py")
CLIENTS = 4


@define
class Record:
    """What the clients were told, and saw."""

    tasks: set[str] = Factory(set)
    projects: set[str] = Factory(set)
    paused: dict[str, bool] = Factory(dict)
    events: list[Event] = Factory(list)
    gaps: list[Gap] = Factory(list)
    refused: Counter[str] = Factory(Counter)


class Victim:
    """The daemon's process, started anew after each kill."""

    def __init__(self, home: Path, workers: int = 2) -> None:
        self.home = home
        self.address = at(home / "d.sock")
        self._workers = workers
        self._process: trio.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until clients can connect."""
        command = [sys.executable, str(PROGRAM), str(self.home), str(self._workers)]
        self._process = await trio.lowlevel.open_process(command, stdout=-1, stdin=-1)
        assert self._process.stdout is not None
        heard = b""
        while b"ready" not in heard:
            some = await self._process.stdout.receive_some()
            assert some, "the daemon did not start"
            heard += some

    async def kill(self) -> int:
        """Kill it, and wait until it has ended."""
        assert self._process is not None
        self._process.kill()
        return await self._process.wait()

    async def stop(self) -> int:
        """End it in order."""
        assert self._process is not None
        if sys.platform == "win32":
            async with connect(self.address, token=None) as client:
                await client.call("daemon.stop")
        else:
            self._process.terminate()
        return await self._process.wait()


async def load(
    client: Client, home: Path, record: Record, number: int, stopping: trio.Event, rng: random.Random
) -> None:
    """Ask for changes, for one of each kind at least, and note each that was acknowledged."""
    count = 0
    while not stopping.is_set() or count < 17:
        count += 1
        try:
            if count % 17 == 0:
                directory = home / f"p{number}-{count}"
                directory.mkdir()
                added = await client.call("project.add", path=str(directory))
                record.projects.add(added["project"]["id"])
            elif count % 13 == 0:
                queue = f"side{number}"
                paused = rng.random() < 0.5
                await client.call("queue.pause" if paused else "queue.resume", queue=queue)
                record.paused[queue] = paused
            else:
                submitted = await client.call("task.submit", type="note", payload={"text": f"{number}.{count}"})
                record.tasks.add(submitted["taskId"])
        except CommandError as error:
            record.refused[error.code] += 1
        await trio.sleep(rng.uniform(0, 0.005))


async def watch(client: Client, record: Record, *, task_status: trio.TaskStatus[None]) -> None:
    """Note every event, through all restarts."""
    # Room for all of them: how fast this process reads is not what is tested.
    async with client.subscribe("**", buffer=1_000_000) as events:
        task_status.started()
        async for event in events:
            if isinstance(event, Gap):
                record.gaps.append(event)
            else:
                record.events.append(event)


async def kill_again_and_again(home: Path, kills: int, seed: int) -> Record:
    """Kill the daemon so often at random moments under load; then let it finish, and give what was told."""
    rng = random.Random(seed)
    record = Record()
    victim = Victim(home)
    await victim.start()
    stopping = trio.Event()
    try:
        async with connect(victim.address, token=None, timeout=60.0) as watcher, trio.open_nursery() as watching:
            await watching.start(watch, watcher, record)
            async with trio.open_nursery() as nursery:
                for number in range(CLIENTS):
                    nursery.start_soon(_client, victim, record, number, stopping, random.Random(rng.random()))
                for _ in range(kills):
                    await trio.sleep(rng.uniform(0.0, 0.25))
                    await victim.kill()
                    await victim.start()
                stopping.set()
            await _all_ended(watcher, record)
            await _seen_all(watcher, record)
            watching.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.fail_after(30):
            await victim.stop()
    return record


async def _client(victim: Victim, record: Record, number: int, stopping: trio.Event, rng: random.Random) -> None:
    async with connect(victim.address, token=None, timeout=60.0, retry_initial=True) as client:
        await load(client, victim.home, record, number, stopping, rng)


async def _all_ended(client: Client, record: Record) -> None:
    while True:
        status = await client.call("queue.status")
        if not status["pending"] and not status["running"]:
            return
        await trio.sleep(0.05)


async def _seen_all(client: Client, record: Record) -> None:
    # An event of its own, behind all others.
    await client.call("queue.pause", queue="last")
    while not any(event.data.get("queue") == "last" for event in record.events[-5:]):  # noqa: ASYNC110 - filled elsewhere
        await trio.sleep(0.01)


async def examine(home: Path, record: Record) -> list[str]:
    """What is not as it has to be, after a last start on the same state."""
    victim = Victim(home, workers=0)
    await victim.start()
    wrong: list[str] = []
    try:
        async with connect(victim.address, token=None) as client:
            tasks: dict[str, Any] = {}
            while True:
                page = (await client.call("task.list", limit=1000, offset=len(tasks)))["tasks"]
                tasks.update({task["id"]: task for task in page})
                if len(page) < 1000:
                    break
            projects = {project["id"] for project in (await client.call("project.list"))["projects"]}
            wrong += [f"task {task} was acknowledged and is not there" for task in record.tasks - set(tasks)]
            wrong += [f"project {each} was acknowledged and is not there" for each in record.projects - projects]
            for task in tasks.values():
                if task["status"] != "completed" and "daemon died" not in (task["error"] or ""):
                    wrong.append(f"task {task['id']} is {task['status']}: {task['error']}")
            for queue, paused in record.paused.items():
                status = await client.call("queue.status", queue=queue)
                if status["paused"] != paused:
                    wrong.append(f"queue {queue} was acknowledged as paused={paused}")
    finally:
        await victim.stop()
    return wrong + _events_wrong(record)


def _events_wrong(record: Record) -> list[str]:
    numbers = [event.seq for event in record.events if event.seq is not None]
    wrong = [f"gap {gap}" for gap in record.gaps]
    if numbers != sorted(set(numbers)):
        wrong.append("events came twice or out of order")
    if numbers and len(numbers) != numbers[-1] - numbers[0] + 1:
        wrong.append(f"events are missing: {len(numbers)} of {numbers[-1] - numbers[0] + 1}")
    completed = Counter(event.data["taskId"] for event in record.events if event.name == "task.completed")
    wrong += [f"task {task} completed {times} times" for task, times in completed.items() if times > 1]
    return wrong
