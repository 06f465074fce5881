"""Cancelling a running task with an idempotency key: whenever the daemon dies, who asks again gets the same answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.daemon.store import StoredEvent
from poppo_ipc.daemon.workers import Ending
from poppo_ipc.errors import CallTimeout, CommandError

from .kit import Gate
from .test_commands import Served, served

pytestmark = pytest.mark.trio

CANCELLED = {"message": "Task t cancelled"}
COMPLETED = ("CONFLICT", "Task t is completed already")


async def cancel(it: Served, key: str = "k") -> Any:
    try:
        return await it.client.call("task.cancel", taskId="t", idempotency_key=key)
    except CommandError as error:
        return error.code, error.message


def die(directory: Path, name: str) -> Path:
    """The state as it is on the disk in this moment: what a daemon leaves that is killed now."""
    left = directory / name
    left.mkdir()
    for file in ("db", "db-wal"):
        shutil.copyfile(directory / file, left / file)
    return left


def die_at(it: Served, directory: Path, name: str, event: str) -> None:
    """Die when an event is on the disk, and before anybody is told of it or answered."""
    tell: Callable[[list[StoredEvent]], None] = it.bench.store._on_events

    def told(events: list[StoredEvent]) -> None:
        if any(each.name == event for each in events):
            die(directory, name)
        tell(events)

    it.bench.store.on_events(told)


async def asked_again(left: Path, key: str = "k") -> tuple[Any, str | None]:
    async with served(left) as it:
        answers = [await cancel(it, key) for _ in range(2)]
        assert answers[0] == answers[1]
        await it.bench.check()
        return answers[0], await it.bench.state("t")


@pytest.mark.parametrize(
    ("ending", "event", "answer", "state"),
    [
        (Ending.CANCELLED, "task.failed", CANCELLED, "cancelled"),
        (Ending.FAILED, "task.failed", CANCELLED, "cancelled"),
        (Ending.INTERRUPTED, "task.failed", CANCELLED, "cancelled"),
        (Ending.COMPLETED, "task.completed", COMPLETED, "completed"),
    ],
)
async def test_dead_between_the_end_of_the_task_and_the_answer(
    tmp_path: Path, ending: Ending, event: str, answer: Any, state: str
) -> None:
    """The key was unknown, and the task had ended already: CONFLICT, where this very command had cancelled it."""
    given: list[Any] = []
    async with served(tmp_path) as it, trio.open_nursery() as nursery:
        await it.bench.submit(id="t", max_attempts=3)
        job = await it.bench.claim()

        async def ask() -> None:
            given.append(await cancel(it))

        nursery.start_soon(ask)
        while it.bench.pool.stopped != ["t"]:
            await trio.lowlevel.checkpoint()
        die(tmp_path, "before the end")
        die_at(it, tmp_path, "after the end", event)
        await it.bench.end(job, ending)
        commits = it.bench.store.commits
        while not given:
            await trio.lowlevel.checkpoint()
        # It was on the disk: nothing can come between.
        assert answer == COMPLETED or it.bench.store.commits == commits
        # Alive, the same is answered again.
        assert await cancel(it) == answer
    assert given == [answer]
    assert await asked_again(tmp_path / "after the end") == (answer, state)
    # Where the end was not stored, the next daemon cancels what was to be stopped.
    assert await asked_again(tmp_path / "before the end") == (CANCELLED, "cancelled")
    # A restart in order, too.
    assert await asked_again(tmp_path) == (answer, state)


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.COMPLETED])
async def test_the_wish_and_the_end_in_one_commit(tmp_path: Path, ending: Ending) -> None:
    """What was kept for the wish is corrected by an end that was stored with it."""
    given: list[Any] = []
    completed = ending is Ending.COMPLETED
    async with served(tmp_path) as it, trio.open_nursery() as nursery:
        await it.bench.submit(id="t", max_attempts=3)
        job = await it.bench.claim()

        async def ask() -> None:
            given.append(await cancel(it))

        real = it.bench.queue.stop

        async def stop(*args: Any, **named: Any) -> Any:
            # Both wait for the store, the wish first.
            async with Gate(it.bench.store) as gate, trio.open_nursery() as both:
                states: list[Any] = []

                async def wish() -> None:
                    states.append(await real(*args, **named))

                both.start_soon(wish)
                await wait_all_tasks_blocked()
                both.start_soon(it.bench.end, job, ending)
                await wait_all_tasks_blocked()
                die_at(it, tmp_path, "after", "task.completed" if completed else "task.failed")
                gate.open()
            return states[0]

        it.bench.queue.stop = stop  # type: ignore[method-assign]
        nursery.start_soon(ask)
    expected = COMPLETED if completed else CANCELLED
    assert given == [expected]
    assert await asked_again(tmp_path / "after") == (expected, "completed" if completed else "cancelled")


async def test_each_key_of_several_that_cancel_has_its_answer(tmp_path: Path) -> None:
    given: dict[str, Any] = {}
    async with served(tmp_path) as it, trio.open_nursery() as nursery:
        await it.bench.submit(id="t")
        await it.bench.submit(id="other")
        job, other = await it.bench.claim(), await it.bench.claim()

        async def ask(key: str) -> None:
            given[key] = await cancel(it, key)

        for key in ("a", "b"):
            nursery.start_soon(ask, key)
        nursery.start_soon(lambda: it.client.call("task.cancel", taskId="other", idempotency_key="o"))
        while len(it.bench.pool.stopped) < 3:
            await trio.lowlevel.checkpoint()
        await it.bench.end(other, Ending.CANCELLED)
        die_at(it, tmp_path, "after", "task.completed")
        await it.bench.end(job)
    assert given == {"a": COMPLETED, "b": COMPLETED}
    for key in ("a", "b"):
        assert await asked_again(tmp_path / "after", key) == (COMPLETED, "completed")
    async with served(tmp_path / "after") as it:
        # That of another task was left as it is.
        answer = await it.client.call("task.cancel", taskId="other", idempotency_key="o")
        assert answer == {"message": "Task other cancelled"}


async def test_without_a_key_nothing_is_kept(tmp_path: Path) -> None:
    async with served(tmp_path) as it, trio.open_nursery() as nursery:
        await it.bench.submit(id="t")
        job = await it.bench.claim()
        nursery.start_soon(it.bench.queue.cancel, None, "t")
        await wait_all_tasks_blocked()
        while not it.bench.pool.stopped:
            await trio.lowlevel.checkpoint()
        await it.bench.end(job, Ending.CANCELLED)
        assert await it.bench.store.read(lambda c: c.execute("SELECT * FROM answers").fetchall()) == []


async def test_out_of_time_the_stopping_goes_on_and_the_next_daemon_knows_how_it_ended(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await it.bench.submit(id="t")
        job = await it.bench.claim()
        with pytest.raises(CallTimeout):
            await it.client.call("task.cancel", taskId="t", idempotency_key="k", timeout=0.05)
        # As for any command that ran out of time.
        assert (await cancel(it))[0] == "TIMEOUT"
        await it.bench.end(job, Ending.CANCELLED)
        assert await it.bench.state("t") == "cancelled"
    assert await asked_again(tmp_path) == (CANCELLED, "cancelled")
