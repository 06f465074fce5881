"""Workers that wait for work, are called away, and find a store that fails."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.daemon.store import StoreError
from poppo_ipc.daemon.workers import Job

from .kit import LIMIT, Gate, bench

pytestmark = pytest.mark.trio


async def test_many_that_wait_get_one_each_and_none_is_left_waiting(tmp_path: Path) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        got: list[str] = []

        async def work(worker: str) -> None:
            for _ in range(5):
                job = await it.queue.next_job(worker)
                got.append(job.task_id)
                await it.end(job)

        for number in range(8):
            nursery.start_soon(work, f"w{number}")
        await wait_all_tasks_blocked()
        submitted = []
        with trio.fail_after(LIMIT):
            for batch in (1, 7, 20, 12):
                async with trio.open_nursery() as submitting:

                    async def submit() -> None:
                        submitted.append(await it.submit())

                    for _ in range(batch):
                        submitting.start_soon(submit)
                while len(got) < len(submitted):
                    await trio.lowlevel.checkpoint()
        assert sorted(got) == sorted(submitted)
    assert len(got) == 40


async def test_who_waits_does_not_spin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        looks = 0
        real = it.queue.schedule.pick

        def pick(now: int) -> Any:
            nonlocal looks
            looks += 1
            return real(now)

        monkeypatch.setattr(it.queue.schedule, "pick", pick)
        await it.submit(due_ms=it.wall.ms + 10_000_000)
        await it.submit(queue="paused", id="paused")
        await it.control.set_paused(None, "paused", True)
        for number in range(4):
            nursery.start_soon(it.queue.next_job, f"w{number}")
        await wait_all_tasks_blocked()
        looks = 0
        for _ in range(1000):
            await trio.lowlevel.checkpoint()
        assert looks == 0
        await it.submit(id="new")
        await it.settle()
        await wait_all_tasks_blocked()
        # Each looks once or twice for the news, and not again.
        assert looks <= 12
        assert "new" in it.queue.running
        nursery.cancel_scope.cancel()


async def test_called_away_at_any_moment_a_worker_has_the_job_or_nobody_has(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        for ticks in [*range(24), None]:  # at the last it has the job, however long the claim takes
            task_id = await it.submit()
            job: Job | None = None
            async with trio.open_nursery() as nursery:
                taken = trio.Event()

                async def work(taken: trio.Event = taken) -> None:
                    nonlocal job
                    job = await it.queue.next_job("w1")
                    taken.set()

                nursery.start_soon(work)
                if ticks is None:
                    await taken.wait()
                else:
                    for _ in range(ticks):
                        await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await it.check()
            if job is None:
                assert await it.state(task_id) == "pending"
                job = await it.claim()
            assert job.task_id == task_id
            await it.end(job)


async def test_called_away_while_the_claim_waits_it_goes_to_another_that_waits(tmp_path: Path) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def first() -> None:
            with scope:
                await it.queue.next_job("w1")
                pytest.fail("it was called away")

        jobs: list[Job] = []

        async def second() -> None:
            jobs.append(await it.queue.next_job("w2"))

        task_id = await it.submit()
        async with Gate(it.store) as gate:
            nursery.start_soon(first)
            await wait_all_tasks_blocked()
            nursery.start_soon(second)
            await wait_all_tasks_blocked()
            assert task_id not in it.queue.schedule
            scope.cancel()
            await wait_all_tasks_blocked()
            gate.open()
        with trio.fail_after(LIMIT):
            while not jobs:
                await trio.lowlevel.checkpoint()
        assert [job.task_id for job in jobs] == [task_id]
        assert (await it.row(task_id))["worker_id"] == "w2"
        await it.check()


async def test_called_away_between_two_claims_that_failed_it_goes_to_another_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker slept before it asked the failing store again; woken by its end alone, nobody took the task."""
    caplog.set_level(logging.CRITICAL)
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        jobs: list[str] = []
        failing = True
        real = it.store.write

        async def write(*args: Any) -> Any:
            if failing:
                await trio.lowlevel.checkpoint()
                raise StoreError("full")
            return await real(*args)

        task_id = await it.submit()
        monkeypatch.setattr(it.store, "write", write)
        scope = trio.CancelScope()

        async def work(worker: str) -> None:
            with scope if worker == "w1" else trio.CancelScope():
                jobs.append((await it.queue.next_job(worker)).task_id)

        nursery.start_soon(work, "w1")
        await wait_all_tasks_blocked()
        nursery.start_soon(work, "w2")
        await wait_all_tasks_blocked()
        # Both have failed once, and sleep: they do not ask again and again.
        failing = False
        scope.cancel()
        await wait_all_tasks_blocked()
        assert jobs == []
        mock_clock.jump(1.0)
        await wait_all_tasks_blocked()
        await real(lambda transaction: None)
        await wait_all_tasks_blocked()
        assert jobs == [task_id]


async def test_a_claim_that_fails_brings_back_nothing_that_was_cancelled_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It waited on though it was cancelled, and who followed it waited with it."""
    caplog.set_level(logging.CRITICAL)
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit()
        real = it.store.write
        failed = trio.Event()

        async def write(*args: Any) -> Any:
            monkeypatch.setattr(it.store, "write", real)
            await it.queue.cancel(None, task_id)
            failed.set()
            raise StoreError("full")

        monkeypatch.setattr(it.store, "write", write)
        nursery.start_soon(it.queue.next_job, "w1")
        await failed.wait()
        await wait_all_tasks_blocked()
        await it.check()
        assert it.queue.follow(task_id) is None
        nursery.cancel_scope.cancel()


# -- a store that fails ---------------------------------------------------------------------------------------------


async def test_an_end_that_could_not_be_stored_is_stored_later_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit()
        job = await it.claim()
        it.queue.job_output(job, "stdout", b"last words")
        left = 3
        real = it.store.write

        async def write(*args: Any) -> Any:
            nonlocal left
            if left:
                left -= 1
                await trio.lowlevel.checkpoint()
                raise StoreError("full")
            return await real(*args)

        monkeypatch.setattr(it.store, "write", write)
        nursery.start_soon(it.end, job)
        for _ in range(3):
            await wait_all_tasks_blocked()
            assert task_id in it.queue.running
            mock_clock.jump(1.0)
        await wait_all_tasks_blocked()
        await it.check()
        assert await it.state(task_id) == "completed"
        assert await it.output(task_id) == [("stdout", "last words")]
        assert len(it.told("task.completed")) == 1
    assert caplog.text.count("The end of task") == 3


@pytest.mark.parametrize("sleeping", [False, True])
async def test_an_end_that_the_pool_no_longer_waits_for_is_stored_all_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mock_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    sleeping: bool,
) -> None:
    """It was lost: the task ran in no worker, and never ended."""
    caplog.set_level(logging.CRITICAL)
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit()
        job = await it.claim()
        real = it.store.write
        failing = True

        async def write(*args: Any) -> Any:
            if failing:
                await trio.lowlevel.checkpoint()
                if sleeping:
                    raise StoreError("full")
                await trio.sleep_forever()
            return await real(*args)

        monkeypatch.setattr(it.store, "write", write)
        with trio.move_on_after(30):
            async with trio.open_nursery() as ending:
                ending.start_soon(it.end, job)
                await wait_all_tasks_blocked()
                mock_clock.jump(30.0)
        assert task_id in it.queue.running
        nursery.start_soon(it.queue.run)
        await wait_all_tasks_blocked()
        failing = False
        for _ in range(12):
            mock_clock.jump(0.25)
            await wait_all_tasks_blocked()
            await real(lambda transaction: None)
        await it.check()
        assert await it.state(task_id) == "completed"
        assert len(it.told("task.completed")) == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mended", [True, False])
async def test_an_end_that_could_not_be_stored_is_tried_once_more_as_the_daemon_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mended: bool
) -> None:
    """Whatever came of that, it says what is lost."""

    def set_read_only(on: int) -> None:
        it.store._connection.execute(f"PRAGMA query_only = {on}")

    async with bench(tmp_path) as it:
        task_id = await it.submit()
        job = await it.claim()
        it.queue.job_output(job, "stdout", b"last words")
        set_read_only(1)
        with trio.CancelScope() as pool:
            async with trio.open_nursery() as ending:
                ending.start_soon(it.end, job)
                while it.store.failure is None:
                    await trio.lowlevel.checkpoint()
                await wait_all_tasks_blocked()
                pool.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.queue.run)
            await wait_all_tasks_blocked()
            if mended:
                set_read_only(0)
            nursery.cancel_scope.cancel()
        set_read_only(0)
        await it.check()
        assert await it.state(task_id) == ("completed" if mended else "running")
        assert ("The ends of 1 tasks could not be stored" in caplog.text) is not mended
    async with bench(tmp_path) as it:
        assert await it.state(task_id) == ("completed" if mended else "failed")
        assert await it.output(task_id) == ([("stdout", "last words")] if mended else [])


async def test_an_end_is_stored_though_output_of_another_task_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It came after the output, and waited for as long as that did."""
    caplog.set_level(logging.CRITICAL)
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit()
        await it.submit()
        job, other = await it.claim(), await it.claim()
        it.store._connection.execute("PRAGMA query_only = 1")
        with trio.CancelScope() as pool:
            async with trio.open_nursery() as ending:
                ending.start_soon(it.end, job)
                while it.store.failure is None:
                    await trio.lowlevel.checkpoint()
                await wait_all_tasks_blocked()
                pool.cancel()
        it.store._connection.execute("PRAGMA query_only = 0")
        it.queue.job_output(other, "stdout", b"much")

        async def flush(task_ids: Any) -> None:
            raise StoreError("full")

        monkeypatch.setattr(it.queue.printing, "flush", flush)
        nursery.start_soon(it.queue.run)
        await wait_all_tasks_blocked()
        mock_clock.jump(0.25)
        with trio.fail_after(LIMIT):
            while task_id in it.queue.running:
                await trio.lowlevel.checkpoint()
        assert await it.state(task_id) == "completed"
        nursery.cancel_scope.cancel()
