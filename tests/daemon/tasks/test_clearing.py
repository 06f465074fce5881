"""Clearing many tasks: in pieces, between which others store theirs; stopped in the middle, none is half gone."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from poppo_ipc.daemon.tasks import _control
from poppo_ipc.daemon.workers import Ending
from poppo_ipc.errors import CommandError

from .kit import Bench, bench
from .test_commands import served

pytestmark = pytest.mark.trio


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_control, "_PIECE", 10)
    monkeypatch.setattr(_control, "_FEW", 20)


async def left(it: Bench) -> set[str]:
    rows = await it.store.read(lambda c: c.execute("SELECT id FROM tasks").fetchall())
    return {row["id"] for row in rows}


def tasks_in(table: str, connection: sqlite3.Connection) -> list[Any]:
    return connection.execute(f"SELECT task_id FROM {table}").fetchall()


async def fill(it: Bench, count: int, **fields: Any) -> None:
    for number in range(count):
        await it.submit(id=f"{fields.get('queue', 'q')} {number}", **{"queue": "q", **fields})


def deletions(
    it: Bench, monkeypatch: pytest.MonkeyPatch, then: Callable[[int], None] = lambda index: None
) -> list[int]:
    """How many tasks each change deletes; `then` is called when such a one is on disk, before the next begins."""
    sizes: list[int] = []
    real = it.queue.deleted

    def deleted(tasks: Any) -> None:
        sizes.append(len(tasks))
        real(tasks)
        then(len(sizes))

    monkeypatch.setattr(it.queue, "deleted", deleted)
    return sizes


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, [0]), (1, [1]), (10, [10]), (11, [10, 1]), (20, [10, 10]), (25, [10, 10, 5]), (40, [10, 10, 10, 10])],
)
async def test_no_change_deletes_more_than_a_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, sizes: list[int]
) -> None:
    async with bench(tmp_path) as it:
        await fill(it, count)
        seen = deletions(it, monkeypatch)
        assert await it.control.clear(None, "q", None) == {"message": f"Cleared {count} jobs from queue q"}
        assert seen == sizes
        assert await left(it) == set()
        await it.check()


@pytest.mark.parametrize(("queue", "status"), [("q", None), ("q", "pending"), (None, "pending"), ("q", "completed")])
async def test_what_is_cleared_of_many(tmp_path: Path, queue: str | None, status: str | None) -> None:
    async with bench(tmp_path) as it:
        for number in range(15):
            await it.submit(id=f"done {number}", queue="q")
            await it.run_one(Ending.COMPLETED)
        await it.submit(id="running", queue="q")
        await it.claim()
        await fill(it, 25)
        await fill(it, 12, queue="other")
        every = await left(it)
        gone = {name for name in every if name.startswith("q ") and status in (None, "pending")}
        gone |= {name for name in every if name.startswith("done") and status in (None, "completed")}
        gone |= {name for name in every if name.startswith("other") and queue is None}
        answer = await it.control.clear(None, queue, status)
        assert answer == {"message": f"Cleared {len(gone)} jobs from queue {queue or 'all'}"}
        assert await left(it) == every - gone
        await it.check()


async def test_a_piece_has_not_much_output_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_control, "_PIECE_OUTPUT", 1000)
    async with bench(tmp_path) as it:
        for number, printed in enumerate((400, 400, 400, 5000, 0, 0)):
            await it.submit(id=f"{number}", queue="q")
            job = await it.claim()
            it.queue.job_output(job, "stdout", b"x" * printed)
            await it.end(job)
        await fill(it, 20)
        seen = deletions(it, monkeypatch)
        await it.control.clear(None, "q", "completed")
        assert seen == [2, 1, 1, 2]
        assert await it.store.read(lambda c: c.execute("SELECT count(*) FROM output").fetchone()[0]) == 0
        await it.check()


async def test_others_store_theirs_between_the_pieces_and_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        await fill(it, 50)
        order: list[str] = []

        async def submit(number: int) -> None:
            await it.submit(id=f"new {number}", queue="q")
            order.append("submitted")

        def then(index: int) -> None:
            order.append("piece")
            if index <= 3:
                nursery.start_soon(submit, index)

        deletions(it, monkeypatch, then)
        assert await it.control.clear(None, "q", None) == {"message": "Cleared 50 jobs from queue q"}
        # Each is stored at once, and not at the end.
        assert order.index("submitted") < 3
        assert order.count("piece") == 5
        await it.settle()
        assert {"new 1", "new 2"} <= await left(it) <= {"new 1", "new 2", "new 3"}


async def test_what_a_worker_took_meanwhile_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        await fill(it, 30)
        taken: list[str] = []

        async def take() -> None:
            taken.append((await it.claim()).task_id)

        def then(index: int) -> None:
            if index == 1:
                nursery.start_soon(take)

        deletions(it, monkeypatch, then)
        real = it.store.read

        async def read(query: Any) -> Any:
            # The reader that looks for the second piece finds it waiting; it is claimed before that is deleted.
            found = await real(query)
            while it.queue._picked or (it.control.status("q").total < 30 and not taken):
                await trio.lowlevel.checkpoint()
            return found

        monkeypatch.setattr(it.store, "read", read)
        answer = await it.control.clear(None, "q", None)
        assert answer == {"message": "Cleared 29 jobs from queue q"}
        assert await left(it) == set(taken)
        await it.check()


@pytest.mark.parametrize("pieces", [1, 2, 3])
async def test_killed_between_two_pieces_the_rest_is_whole_and_goes_when_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    async with served(tmp_path) as it:
        for number in range(6):
            await it.bench.submit(id=f"printed {number}", queue="q")
            job = await it.bench.claim()
            it.bench.queue.job_output(job, "stdout", b"words")
            await it.bench.end(job)
        await fill(it.bench, 29)

        def then(index: int) -> None:
            if index == pieces:
                (tmp_path / "dead").mkdir()
                for file in ("db", "db-wal"):
                    shutil.copyfile(tmp_path / file, tmp_path / "dead" / file)

        deletions(it.bench, monkeypatch, then)
        answer = await it.client.call("queue.clear", queue="q", idempotency_key="k")
        assert answer == {"message": "Cleared 35 jobs from queue q"}
    async with served(tmp_path / "dead") as it:
        await it.bench.check()
        remaining = await left(it.bench)
        assert len(remaining) == 35 - 10 * pieces
        for table in ("attempts", "output"):
            rows = await it.bench.store.read(partial(tasks_in, table))
            assert {row["task_id"] for row in rows} == {name for name in remaining if name.startswith("printed")}
        answer = await it.client.call("queue.clear", queue="q", idempotency_key="k")
        assert answer == {"message": f"Cleared {len(remaining)} jobs from queue q"}
        assert await left(it.bench) == set()
    # Acknowledged, it is not done again.
    async with served(tmp_path) as it:
        await fill(it.bench, 25)
        answer = await it.client.call("queue.clear", queue="q", idempotency_key="k")
        assert answer == {"message": "Cleared 35 jobs from queue q"}
        assert len(await left(it.bench)) == 25


async def test_a_disk_that_fails_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with served(tmp_path) as it:
        await fill(it.bench, 35)

        def then(index: int) -> None:
            if index == 2:
                it.bench.store._connection.execute("PRAGMA query_only = ON")

        deletions(it.bench, monkeypatch, then)
        with pytest.raises(CommandError, match="The daemon cannot store changes") as caught:
            await it.client.call("queue.clear", queue="q", idempotency_key="k")
        assert caught.value.code == "UNAVAILABLE"
        assert len(await left(it.bench)) == 15
        it.bench.store._connection.execute("PRAGMA query_only = OFF")
        answer = await it.client.call("queue.clear", queue="q", idempotency_key="k")
        assert answer == {"message": "Cleared 15 jobs from queue q"}
        await it.bench.check()
