"""A task queue on a real store, with clocks and chance in the hands of the test."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from poppo_ipc.daemon.projects import Projects
from poppo_ipc.daemon.store import Store, StoredAnswers, StoredEvents, Transaction, open_store
from poppo_ipc.daemon.tasks import NewTask, QueueControl, Retry, TaskOptions, TaskQueue
from poppo_ipc.daemon.workers import Ending, Job, JobOutcome
from poppo_ipc.server import EventFrame

#: Seconds of real time after which a test that waits for a thread has failed.
LIMIT = 20.0
#: When all tests begin, in Unix milliseconds.
START = 1_700_000_000_000


def encode(name: str, data: Any, seq: int) -> bytes:
    return json.dumps([name, data, seq]).encode()


class Wall:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.ms = START

    def __call__(self) -> int:
        return self.ms


class Gate:
    """Holds the store's thread, so that what comes meanwhile waits for the next commit, in the order it came in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._opened = threading.Event()
        self._reached = threading.Event()

    async def __aenter__(self) -> Gate:
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()

        def change(transaction: Transaction) -> None:
            self._reached.set()
            assert self._opened.wait(LIMIT)

        nursery.start_soon(self._store.write, change)
        await trio.to_thread.run_sync(self._reached.wait, LIMIT)
        return self

    def open(self) -> None:
        self._opened.set()

    async def __aexit__(self, *exc: Any) -> Any:
        self.open()
        return await self._manager.__aexit__(*exc)


class Pool:
    """Who stops tasks: it only remembers which."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    def cancel_job(self, task_id: str) -> bool:
        self.stopped.append(task_id)
        return True


@attrs.define
class Bench:
    store: Store
    events: StoredEvents
    answers: StoredAnswers
    queue: TaskQueue
    control: QueueControl
    projects: Projects
    wall: Wall
    pool: Pool
    heard: list[list[Any]]

    async def submit(self, **fields: Any) -> str:
        return (await self.queue.submit(None, self.task(**fields)))["taskId"]

    def task(self, **fields: Any) -> NewTask:
        number = next(self.queue.numbers)
        given: dict[str, Any] = {
            "id": f"t-{number}",
            "number": number,
            "type": "work",
            "project": None,
            "queue": "default",
            "payload": {"number": number},
            "priority": 0,
            "timeout_ms": None,
            "max_attempts": 1,
            "due_ms": self.wall.ms,
            "created_ms": self.wall.ms,
        }
        return NewTask(**(given | fields))

    async def claim(self, worker: str = "w1") -> Job:
        with trio.fail_after(LIMIT):
            return await self.queue.next_job(worker)

    async def end(self, job: Job, ending: Ending = Ending.COMPLETED, worker: str = "w1", **fields: Any) -> None:
        await self.queue.job_ended(job, worker, JobOutcome(ending=ending, **fields))

    async def run_one(self, ending: Ending = Ending.COMPLETED, **fields: Any) -> Job:
        job = await self.claim()
        await self.end(job, ending, **fields)
        return job

    async def row(self, task_id: str) -> dict[str, Any]:
        found = await self.store.read(lambda c: c.execute("SELECT * FROM tasks WHERE id = ?", (task_id,)).fetchone())
        return {} if found is None else dict(found)

    async def state(self, task_id: str) -> str | None:
        return (await self.row(task_id)).get("status")

    async def attempts(self, task_id: str) -> list[tuple[int, str | None, str | None]]:
        rows = await self.store.read(
            lambda c: c.execute("SELECT * FROM attempts WHERE task_id = ? ORDER BY attempt", (task_id,)).fetchall()
        )
        return [(row["attempt"], row["ending"], row["error"]) for row in rows]

    async def output(self, task_id: str) -> list[tuple[str, str]]:
        rows = await self.store.read(
            lambda c: c.execute("SELECT * FROM output WHERE task_id = ? ORDER BY part", (task_id,)).fetchall()
        )
        return [(row["stream"], row["text"]) for row in rows]

    async def settle(self) -> None:
        """Wait until all that was written before is on disk, and told of."""
        await self.store.write(lambda transaction: None)

    def told(self, name: str) -> list[Any]:
        return [data for event, data, _ in self.heard if event == name]

    async def check(self) -> None:
        """Memory and the database tell the same story, and events have no gaps."""
        await self.settle()
        rows = await self.store.read(lambda c: c.execute("SELECT id, queue, project_id, status FROM tasks").fetchall())
        by_state: dict[str, set[str]] = {}
        for row in rows:
            by_state.setdefault(row["status"], set()).add(row["id"])
        waiting = {task.id for task in self.queue.schedule} | set(self.queue._picked)
        assert waiting == by_state.get("pending", set())
        assert set(self.queue.running) == by_state.get("running", set())
        for queue in {row["queue"] for row in rows}:
            for state, number in self.queue.counts.of_queue(queue).items():
                assert number == sum(row["queue"] == queue and row["status"] == state for row in rows)
        assert self.queue.counts.of_queue(None).values() or not rows
        assert sum(self.queue.counts.of_queue(None).values()) == len(rows)
        assert [seq for _, _, seq in self.heard] == list(
            range(self.store.seq - len(self.heard) + 1, self.store.seq + 1)
        )


@asynccontextmanager
async def bench(
    directory: Path, *, wall: Wall | None = None, random: Callable[[], float] = lambda: 1.0, **options: Any
) -> AsyncIterator[Bench]:
    """Everything but a server and workers. `random` is the chance in retries: 1.0 for the whole of each delay."""
    wall = wall or Wall()
    heard: list[list[Any]] = []
    async with open_store(directory / "db", encode) as store:
        events = await StoredEvents.load(store, 10_000, 1 << 24)
        answers = await StoredAnswers.load(store, 1000, 1 << 24, 600)
        settings = {"retry": Retry(base=1.0, factor=2.0, cap=60.0, random=random), **options}
        queue = TaskQueue(store, answers, TaskOptions(**settings), clock=wall)
        pool = queue.stopper = Pool()
        projects = Projects(store, answers, queue)

        def emit(name: str, seq: int, frame: bytes) -> None:
            events.log.append(EventFrame(frame, seq, name))
            heard.append(json.loads(frame))

        events.connect(emit)
        await projects.load()
        await queue.load()
        yield Bench(store, events, answers, queue, QueueControl(queue), projects, wall, pool, heard)
