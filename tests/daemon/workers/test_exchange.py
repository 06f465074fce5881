"""A worker gets its next job with the end of the last, and who is to go gets none."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from poppo_ipc.daemon.workers import Ending, Job, JobOutcome, PoolOptions, WorkerPool
from poppo_ipc.daemon.workers._process import WorkerProcess

from .kit import LIMIT, Events, Gate, Source, alive, interrupted, kill, registry, running

pytestmark = pytest.mark.trio


class Exchanging(Source):
    """Tells which jobs were taken with the end of another; holds such an exchange until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.exchanged: list[str] = []
        self.asked = trio.Event()
        self.gate = trio.Event()

    async def exchange_job(self, job: Job, worker_id: str, outcome: JobOutcome) -> Job | None:
        following = await super().exchange_job(job, worker_id, outcome)
        if following is not None:
            self.exchanged.append(following.task_id)
            self.asked.set()
            await self.gate.wait()
        return following


async def test_jobs_that_wait_come_with_the_end_of_the_one_before() -> None:
    source = Exchanging()
    source.gate.set()
    pool = WorkerPool(registry(), source, Events(), PoolOptions(count=1))
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            jobs = [source.submit("add", {"a": number}) for number in range(5)]
            await nursery.start(pool.run)
            results = [(await source.outcome(job)).result for job in jobs]
            await pool.drain(LIMIT)
    assert results == [1, 2, 3, 4, 5]
    assert source.exchanged == [job.task_id for job in jobs[1:]]


@pytest.mark.parametrize("how", ["recycled", "restarted", "scaled down", "stopped", "died"])
async def test_who_is_to_go_takes_no_job_with_the_end_of_its_last(how: str) -> None:
    with Gate() as gate:
        async with running(count=1, max_tasks=1 if how == "recycled" else None) as bench:
            held = bench.source.submit("exit_now", {"code": 3}) if how == "died" else None
            held = held or bench.source.submit("gate", gate.payload)
            following = bench.source.submit("noop")
            if how != "died":
                await bench.source.said(held)
            if how == "restarted":
                await bench.pool.restart(None)
            elif how == "scaled down":
                await bench.pool.scale(0)
            if how == "stopped":
                bench.pool.cancel_job(held.task_id)
            elif how != "died":
                await gate.open()
            await bench.events.until(lambda: bench.events.reason("worker-1") is not None)
            await bench.pool.scale(1)
            assert (await bench.source.outcome(following)).ending is Ending.COMPLETED
            assert bench.source.taken == [(held.task_id, "worker-1"), (following.task_id, "worker-2")]


async def test_one_that_comes_out_while_the_grace_ends_is_not_begun() -> None:
    source = Exchanging()
    pool = WorkerPool(registry(), source, Events(), PoolOptions(count=1))
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            first, second = source.submit("noop"), source.submit("hang")
            await source.asked.wait()
            assert source.outcomes[first.task_id].ending is Ending.COMPLETED
            nursery.start_soon(pool.drain, 0.0)
            await trio.testing.wait_all_tasks_blocked(0.01)
            source.gate.set()
    assert interrupted(source.outcomes[second.task_id])
    assert source.printed(second) == ""


async def test_one_that_comes_out_of_a_cancelled_pool_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    real = WorkerProcess.send

    async def send(process: WorkerProcess, data: bytes) -> None:
        sent.append(data)
        await real(process, data)

    monkeypatch.setattr(WorkerProcess, "send", send)
    source = Exchanging()
    pool = WorkerPool(registry(), source, Events(), PoolOptions(count=1))
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            (worker,) = pool.status().workers
            first, second = source.submit("noop"), source.submit("hang")
            await source.asked.wait()
            nursery.cancel_scope.cancel()
            # In its shield the exchange goes on.
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked(0.01)
            source.gate.set()
    assert source.outcomes[first.task_id].ending is Ending.COMPLETED
    assert interrupted(source.outcomes[second.task_id])
    assert [task.task_id for task in (first, second) if any(task.task_id.encode() in data for data in sent)] == ["t1"]
    assert alive([worker.pid or 0]) == []


async def test_one_that_comes_out_for_a_worker_that_has_died_is_given_back_unbegun() -> None:
    source = Exchanging()
    pool = WorkerPool(registry(), source, Events(), PoolOptions(count=1))
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            (worker,) = pool.status().workers
            source.submit("noop")
            second = source.submit("noop")
            await source.asked.wait()
            kill(worker.pid)
            while alive([worker.pid or 0]):
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked(0.01)
            source.gate.set()
            outcome = await source.outcome(second)
            await pool.drain(0.0)
    assert interrupted(outcome)
    assert "before it began the task" in str(outcome.error)
