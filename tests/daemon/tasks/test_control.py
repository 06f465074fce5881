"""Queues as a whole: pausing, clearing, numbers, and what is kept of what has ended."""

from __future__ import annotations

import math
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.commands.standard import Percentiles, QueueStats, QueueStatus
from poppo_ipc.daemon.tasks import percentile
from poppo_ipc.daemon.workers import Ending

from .kit import START, Bench, Wall, bench

trio_test = pytest.mark.trio


def tasks_in(table: str, connection: sqlite3.Connection) -> list[Any]:
    return connection.execute(f"SELECT DISTINCT task_id FROM {table}").fetchall()


async def paused(it: Bench, *queues: str) -> list[bool]:
    return [it.control.status(queue).paused for queue in queues]


@trio_test
async def test_pausing_and_resuming_says_so_and_tells_of_changes_alone(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await it.submit(queue="q")
        await it.submit(queue="other")
        steps = [("q", True, "Queue q paused"), ("q", True, "Queue q paused"), ("q", False, "Queue q resumed")]
        for queue, state, text in steps:
            assert await it.control.set_paused(None, queue, state) == {"message": text}
        for state, text in ((True, "Queue all paused"), (True, "Queue all paused"), (False, "Queue all resumed")):
            assert await it.control.set_paused(None, None, state) == {"message": text}
        counts = {"total": 1, "pending": 1, "running": 0, "completed": 0, "failed": 0}
        both = {"total": 2, "pending": 2, "running": 0, "completed": 0, "failed": 0}
        assert it.told("queue.status-changed") == [
            {"queue": "q", "status": "paused", **counts},
            {"queue": "q", "status": "running", **counts},
            {"queue": "all", "status": "paused", **both},
            {"queue": "all", "status": "running", **both},
        ]


@trio_test
async def test_a_paused_queue_starts_nothing_and_a_resumed_one_wakes_who_waits(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        held = await it.submit(queue="held")
        await it.control.set_paused(None, "held", True)
        free = await it.submit(queue="free")
        assert (await it.claim()).task_id == free
        assert it.queue.schedule.pick(it.wall.ms) is None
        await it.control.set_paused(None, "held", False)
        assert (await it.claim()).task_id == held


@trio_test
async def test_all_means_those_to_come_too_and_one_can_be_resumed_out_of_it_also_after_a_start(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await it.control.set_paused(None, "before", True)
        await it.control.set_paused(None, None, True)
        assert await paused(it, "before", "known", "new") == [True, True, True]
        assert it.control.status().paused
        await it.control.set_paused(None, "known", False)
        assert await paused(it, "before", "known", "new") == [True, False, True]
    async with bench(tmp_path) as it:
        assert await paused(it, "before", "known", "new") == [True, False, True]
        assert it.control.status().paused
        await it.control.set_paused(None, "known", True)
        assert len(it.told("queue.status-changed")) == 1
        await it.control.set_paused(None, None, False)
        # What was paused by itself is resumed with all.
        assert await paused(it, "before", "known", "new") == [False, False, False]
    async with bench(tmp_path) as it:
        assert await paused(it, "before", "known", "new") == [False, False, False]
        assert not it.control.status().paused


@trio_test
async def test_a_queue_of_any_name_is_one_queue(tmp_path: Path) -> None:
    """`*` was what stood for all in the database."""
    async with bench(tmp_path) as it:
        await it.control.set_paused(None, "*", True)
        await it.control.set_paused(None, "all", True)
    async with bench(tmp_path) as it:
        assert await paused(it, "*", "all", "q") == [True, True, False]
        assert not it.control.status().paused


@trio_test
async def test_counts_by_queue_and_of_all(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        for ending in (Ending.COMPLETED, Ending.FAILED):
            await it.submit(queue="q")
            await it.run_one(ending, error="x")
        await it.queue.cancel(None, await it.submit(queue="q"))
        await it.submit(queue="q")
        await it.claim()
        for _ in range(3):
            await it.submit(queue="other")
        expected = QueueStatus(total=4, pending=0, running=1, completed=1, failed=1, paused=False)
        assert it.control.status("q") == expected
        assert it.control.status() == QueueStatus(total=7, pending=3, running=1, completed=1, failed=1)
        assert it.control.status("none") == QueueStatus(total=0, pending=0, running=0, completed=0, failed=0)
        assert it.queue.counts.queues == {"q", "other"}


# -- clearing -------------------------------------------------------------------------------------------------------


@trio_test
@pytest.mark.parametrize(
    ("queue", "state", "text", "left"),
    [
        (None, None, "Cleared 6 jobs from queue all", {"running"}),
        ("q", None, "Cleared 4 jobs from queue q", {"running", "other pending", "other completed"}),
        ("q", "failed", "Cleared 1 jobs from queue q",
         {"pending", "running", "completed", "cancelled", "other pending", "other completed"}),
        (None, "pending", "Cleared 2 jobs from queue all",
         {"running", "completed", "failed", "cancelled", "other completed"}),
        (None, "running", "Cleared 0 jobs from queue all",
         {"pending", "running", "completed", "failed", "cancelled", "other pending", "other completed"}),
        ("none", None, "Cleared 0 jobs from queue none",
         {"pending", "running", "completed", "failed", "cancelled", "other pending", "other completed"}),
    ],
)  # fmt: skip
async def test_clearing(tmp_path: Path, queue: str | None, state: str | None, text: str, left: set[str]) -> None:
    async with bench(tmp_path) as it:
        await it.submit(id="completed", queue="q")
        it.queue.job_output(job := await it.claim(), "stdout", b"printed")
        await it.end(job)
        await it.submit(id="failed", queue="q")
        await it.run_one(Ending.FAILED, error="x")
        await it.submit(id="cancelled", queue="q")
        await it.queue.cancel(None, "cancelled")
        await it.submit(id="other completed", queue="other")
        await it.run_one()
        await it.submit(id="running", queue="q")
        await it.claim()
        await it.submit(id="pending", queue="q")
        await it.submit(id="other pending", queue="other")
        assert await it.control.clear(None, queue, state) == {"message": text}
        rows = await it.store.read(lambda c: c.execute("SELECT id FROM tasks").fetchall())
        assert {row["id"] for row in rows} == left
        await it.check()
        # Nothing of them stays behind.
        for table in ("attempts", "output"):
            rows = await it.store.read(partial(tasks_in, table))
            assert {row["task_id"] for row in rows} <= left


# -- numbers over a period ------------------------------------------------------------------------------------------


@given(numbers=st.lists(st.integers(0, 100), min_size=1, max_size=50), share=st.sampled_from((0.5, 0.95, 0.99)))
def test_a_percentile_is_the_least_number_that_so_many_do_not_exceed(numbers: list[int], share: float) -> None:
    ordered = sorted(numbers)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(number <= found for number in numbers) >= math.ceil(share * len(numbers))
    assert sum(number < found for number in numbers) < math.ceil(share * len(numbers))


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile([], 0.5) is None


def nearest_rank(numbers: list[int]) -> Percentiles:
    ordered = sorted(numbers)
    return Percentiles(*(float(ordered[math.ceil(p * len(ordered) / 100) - 1]) for p in (50, 95, 99)))


@trio_test
async def test_how_a_queue_has_done_in_a_period(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        waits: list[int] = []
        runs: list[int] = []

        async def work(wait: int, run: int, ending: Ending, **fields: Any) -> None:
            await it.submit(queue="q", **fields)
            it.wall.ms += wait
            job = await it.claim()
            it.wall.ms += run
            await it.end(job, ending, error="x")

        await work(9999, 9999, Ending.COMPLETED)
        it.wall.ms = START + 3_600_000
        for number in range(1, 25):
            waits.append(number * 7 % 50)
            runs.append(number * 11 % 90)
            await work(waits[-1], runs[-1], Ending.FAILED if number % 5 == 0 else Ending.COMPLETED)
        # It waited from the time at which it was due.
        await it.submit(queue="q", due_ms=it.wall.ms + 500)
        it.wall.ms += 503
        job = await it.claim()
        it.wall.ms += 4
        await it.end(job)
        waits.append(3)
        runs.append(4)
        await it.queue.cancel(None, await it.submit(queue="q"))
        await it.submit(queue="q")
        await it.submit(queue="other")
        found = await it.control.stats("q", "30m", 1800)
        assert found == QueueStats(
            queue="q",
            period="30m",
            total=27,
            pending=1,
            running=0,
            completed=21,
            failed=4,
            throughput=0.7,
            wait_ms=nearest_rank(waits),
            run_ms=nearest_rank(runs),
            failures=4,
        )
        assert (await it.control.stats(None, "1d", 86400)).completed == 22
        empty = await it.control.stats("none", "30m", 1800)
        assert (empty.total, empty.throughput, empty.wait_ms) == (0, 0.0, Percentiles())


@trio_test
async def test_a_clock_that_was_set_back_gives_no_time_below_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await it.submit()
        it.wall.ms -= 5000
        it.queue.schedule.pick(START)
        await it.submit(id="next", due_ms=0)
        job = await it.claim()
        it.wall.ms -= 5000
        await it.end(job)
        assert (await it.control.stats(None, "1h", 3600)).run_ms == Percentiles(0.0, 0.0, 0.0)


# -- keeping --------------------------------------------------------------------------------------------------------


async def kept(it: Bench) -> set[str]:
    rows = await it.store.read(lambda c: c.execute("SELECT id FROM tasks").fetchall())
    return {row["id"] for row in rows}


@trio_test
async def test_what_ended_too_long_ago_goes_and_the_rest_stays(tmp_path: Path) -> None:
    async with bench(tmp_path, keep_seconds=100.0) as it:
        for number in range(4):
            await it.submit(id=f"old {number}")
            await it.run_one()
        await it.submit(id="running")
        await it.claim()
        await it.submit(id="pending", due_ms=it.wall.ms + 10_000_000)
        it.wall.ms += 60_000
        await it.submit(id="young")
        await it.run_one(Ending.FAILED, error="x")
        assert await it.control.trim() == 0
        it.wall.ms += 40_001
        assert await it.control.trim() == 4
        assert await kept(it) == {"running", "pending", "young"}
        await it.check()


@trio_test
async def test_of_too_many_that_ended_the_oldest_go_also_of_one_millisecond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that ended in the same millisecond either all were kept or none."""
    monkeypatch.setattr("poppo_ipc.daemon.tasks._control._PIECE", 3)
    async with bench(tmp_path, keep_count=4) as it:
        for number in range(16):
            await it.submit(id=f"{number:02}")
            it.wall.ms += number % 2 if number < 8 else 0
            await it.run_one()
        await it.submit(id="pending")
        assert await it.control.trim() == 12
        assert await kept(it) == {"12", "13", "14", "15", "pending"}
        assert await it.control.trim() == 0
        await it.check()


@trio_test
async def test_what_was_trimmed_is_gone_from_the_counts_after_a_start_too(tmp_path: Path) -> None:
    wall = Wall()
    async with bench(tmp_path, wall=wall, keep_count=1) as it:
        for _ in range(3):
            await it.submit()
            await it.run_one()
            wall.ms += 1
        await it.control.trim()
        assert it.control.status().total == 1
    async with bench(tmp_path, wall=wall) as it:
        assert it.control.status().total == 1
        await it.check()
