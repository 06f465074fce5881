"""The end of a task and the claim of the next, with one commit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.daemon.store import StoreError
from poppo_ipc.daemon.tasks import _rows as rows
from poppo_ipc.daemon.workers import Ending, Job, JobOutcome

from .kit import Bench, Gate, bench

pytestmark = pytest.mark.trio


async def exchange(it: Bench, job: Job, ending: Ending = Ending.COMPLETED) -> Job | None:
    return await it.queue.exchange_job(job, "w1", JobOutcome(ending=ending))


async def test_the_end_and_the_next_claim_share_one_commit_in_this_order(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        first, second = await it.submit(), await it.submit()
        job = await it.claim()
        it.queue.job_output(job, "stdout", b"last words")
        await it.settle()
        commits = it.store.commits
        following = await exchange(it, job)
        assert it.store.commits == commits + 1
        assert following is not None
        assert (following.task_id, following.attempt, following.payload) == (second, 1, {"number": 2})
        told = [(name, data["taskId"], data["workerId"], data["attempt"]) for name, data, _ in it.heard]
        assert told == [
            ("task.started", first, "w1", 1),
            ("task.completed", first, "w1", 1),
            ("task.started", second, "w1", 1),
        ]
        assert await it.output(first) == [("stdout", "last words")]
        assert await it.state(first) == "completed"
        assert await it.state(second) == "running"
        await it.check()


async def test_where_nothing_waits_the_end_is_stored_and_nothing_waited_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        assert await exchange(it, await it.claim()) is None
        assert await it.state(task_id) == "completed"
        await it.check()


async def test_one_that_failed_is_tried_again_after_the_one_that_waits(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        first, second = await it.submit(max_attempts=2), await it.submit()
        following = await exchange(it, await it.claim(), Ending.FAILED)
        assert following is not None
        assert following.task_id == second
        it.wall.ms += 60_000
        again = await exchange(it, following)
        assert again is not None
        assert (again.task_id, again.attempt) == (first, 2)
        await it.check()


async def test_what_is_cancelled_before_it_is_claimed_is_not_given(tmp_path: Path) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        first, second = await it.submit(), await it.submit()
        job = await it.claim()
        given: list[Job | None] = []

        async def give() -> None:
            given.append(await exchange(it, job))

        async with Gate(it.store) as gate:
            nursery.start_soon(it.queue.cancel, None, second)
            await wait_all_tasks_blocked()
            nursery.start_soon(give)
            await wait_all_tasks_blocked()
            gate.open()
        await it.settle()
        await wait_all_tasks_blocked()
        assert given == [None]
        assert await it.state(first) == "completed"
        assert await it.state(second) == "cancelled"
        await it.check()


@pytest.mark.parametrize("error", [StoreError("no"), RuntimeError("no")])
async def test_a_claim_that_fails_takes_no_end_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with bench(tmp_path) as it:
        first, second = await it.submit(), await it.submit()
        job = await it.claim()

        def fail(*args: Any) -> None:
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(rows, "claim", fail)
            assert await exchange(it, job) is None
        assert await it.state(first) == "completed"
        assert len(it.told("task.completed")) == 1
        assert await it.state(second) == "pending"
        await it.check()
        assert (await it.claim()).task_id == second


async def test_a_disk_that_fails_for_a_while_takes_the_end_once_and_leaves_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        first, second = await it.submit(), await it.submit()
        job = await it.claim()
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
        nursery.start_soon(exchange, it, job)
        for _ in range(2):
            await wait_all_tasks_blocked()
            assert first in it.queue.running
            assert second in it.queue.schedule
            mock_clock.jump(1.0)
        await wait_all_tasks_blocked()
        await it.check()
        assert await it.state(first) == "completed"
        assert await it.state(second) == "pending"
        assert len(it.told("task.completed")) == 1


async def test_given_up_before_the_commit_the_end_is_stored_later_and_the_next_waits(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        first, second = await it.submit(), await it.submit()
        job = await it.claim()
        async with Gate(it.store) as gate:
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_soon, scope)
                await exchange(it, job)
            assert scope.cancelled_caught
            assert second in it.queue.schedule
            gate.open()
        await it.settle()
        assert await it.state(first) == "running"
        nursery.start_soon(it.queue.run)
        await wait_all_tasks_blocked()
        mock_clock.jump(1.0)
        await wait_all_tasks_blocked()
        await it.settle()
        assert await it.state(first) == "completed"
        assert await it.state(second) == "pending"
        assert len(it.told("task.completed")) == 1
        await it.check()
        nursery.cancel_scope.cancel()


async def test_one_that_was_to_be_stopped_but_completed_denies_that_it_was_cancelled(tmp_path: Path) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit()
        job = await it.claim()
        states: dict[str, str] = {}

        async def stop() -> None:
            states.update(await it.queue.stop([task_id]))

        nursery.start_soon(stop)
        await it.settle()
        await exchange(it, job)
        await wait_all_tasks_blocked()
        assert states == {task_id: "completed"}
        assert await it.state(task_id) == "completed"
        await it.check()


async def _cancel_soon(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()
