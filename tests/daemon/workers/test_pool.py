"""How many workers there are, who goes first, and that no job is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from poppo_ipc.daemon.workers import Ending, PoolOptions, WorkerPool
from poppo_ipc.errors import InvalidArgs, NotFound, ShuttingDown

from .kit import KILL_GRACE, LIMIT, Bench, Events, Gate, Source, alive, interrupted, registry, running, wait_gone

pytestmark = pytest.mark.trio


async def _settled(bench: Bench, count: int) -> None:
    await bench.events.until(lambda: len(bench.events.present) == count)


async def test_scaling_from_none_to_four_to_one_under_load_loses_nothing() -> None:
    async with running(count=0) as bench:
        source = bench.source
        jobs = [source.submit("add", {"a": n}) for n in range(300)]
        assert bench.pool.status().total == 0
        await bench.pool.scale(4)
        await _settled(bench, 4)
        await source.until(lambda: len(source.outcomes) >= 50)
        await bench.pool.scale(1)
        await _settled(bench, 1)
        for number, job in enumerate(jobs):
            outcome = await source.outcome(job)
            assert (outcome.ending, outcome.result) == (Ending.COMPLETED, number + 1)
        await bench.pool.scale(0)
        await _settled(bench, 0)
        last = source.submit("noop")
        await trio.testing.wait_all_tasks_blocked()
        assert len(source.taken) == 300
        await bench.pool.scale(1)
        assert (await source.outcome(last)).ending is Ending.COMPLETED


async def test_the_newest_idle_go_first_and_a_busy_one_finishes() -> None:
    with Gate() as gate:
        async with running(count=3) as bench:
            # Idle workers take turns; the newest is to be the busy one.
            while len(bench.source.taken) < 3 or bench.source.taken[-3][1] != "worker-3":
                await bench.source.run("noop")
            job = bench.source.submit("gate", gate.payload)
            await bench.source.said(job)
            busy = bench.source.taken[-1][1]
            assert busy == "worker-3"
            idle = ["worker-1", "worker-2"]
            await bench.pool.scale(2)
            await _settled(bench, 2)
            assert set(bench.events.present) == {busy, idle[0]}
            assert bench.events.reason(idle[1]) == "scaled down"
            await bench.pool.scale(0)
            await _settled(bench, 1)
            assert bench.workers()[busy].state == "busy"
            assert bench.workers()[busy].current_task == job.task_id
            await gate.open()
            assert (await bench.source.outcome(job)).ending is Ending.COMPLETED
            await _settled(bench, 0)


async def test_scaling_up_again_keeps_a_busy_worker_that_was_to_go() -> None:
    with Gate() as gate:
        async with running(count=1) as bench:
            job = bench.source.submit("gate", gate.payload)
            await bench.source.said(job)
            await bench.pool.scale(0)
            await bench.pool.scale(1)
            await gate.open()
            await bench.source.outcome(job)
            await bench.source.run("noop")
            assert [entry[:2] for entry in bench.events.log] == [("added", "worker-1")]


async def test_restarting_one_and_all_under_load_loses_nothing() -> None:
    with Gate() as gate:
        async with running(count=2) as bench:
            source = bench.source
            held = source.submit("gate", gate.payload)
            await source.said(held)
            ((_, busy),) = source.taken
            (idle,) = set(bench.events.present) - {busy}
            jobs = [source.submit("noop") for _ in range(200)]
            await bench.pool.restart(idle)
            await bench.events.until(lambda: bench.events.reason(idle) == "restarted")
            await bench.pool.restart(None)
            await bench.pool.restart(None)
            for job in jobs:
                assert (await source.outcome(job)).ending is Ending.COMPLETED
            assert busy in bench.events.present
            await gate.open()
            assert (await source.outcome(held)).ending is Ending.COMPLETED
            await bench.events.until(lambda: bench.events.reason(busy) == "restarted")
            await _settled(bench, 2)
            assert not {busy, idle} & set(bench.events.present)


async def test_what_makes_no_sense_is_refused() -> None:
    async with running(count=1) as bench:
        with pytest.raises(NotFound, match="No worker 'worker-9'"):
            await bench.pool.restart("worker-9")
        with pytest.raises(InvalidArgs, match="Invalid worker count"):
            await bench.pool.scale(-1)
        await bench.pool.drain(0.0)
        with pytest.raises(ShuttingDown):
            await bench.pool.scale(1)
        with pytest.raises(ShuttingDown):
            await bench.pool.restart(None)


async def test_a_worker_is_recycled_after_so_many_tasks() -> None:
    async with running(count=1, max_tasks=3) as bench:
        pids = [(await bench.source.run("pid")).result for _ in range(7)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
        assert bench.events.reason("worker-1") == "recycled after 3 tasks"


async def test_a_worker_that_has_grown_is_recycled() -> None:
    async with running(count=1, max_bytes=100 << 20) as bench:
        before = (await bench.source.run("pid")).result
        assert (await bench.source.run("pid")).result == before
        await bench.source.run("grow", {"size": 150 << 20})
        assert (await bench.source.run("pid")).result != before
        assert str(bench.events.reason("worker-1")).startswith("recycled at 1")


async def test_the_status_is_what_the_system_says() -> None:
    async with running(count=2) as bench:
        idle = bench.pool.status()
        assert (idle.total, idle.active, idle.idle, idle.target) == (2, 0, 2, 2)
        job = bench.source.submit("spin")
        await bench.source.said(job)
        ((_, busy),) = bench.source.taken
        begun = trio.current_time()
        while bench.workers()[busy].cpu < 5.0:
            assert trio.current_time() - begun < LIMIT
        status = bench.pool.status()
        assert (status.total, status.active, status.idle) == (2, 1, 1)
        worker = bench.workers()[busy]
        assert (worker.state, worker.current_task, worker.tasks_completed) == ("busy", job.task_id, 0)
        assert worker.pid in alive([worker.pid or 0])
        assert worker.memory > 5 << 20
        assert worker.uptime > 0
        bench.pool.cancel_job(job.task_id)
        await bench.source.outcome(job)


# -- the end ----------------------------------------------------------------------------------------------------


async def test_draining_lets_jobs_finish_within_the_grace() -> None:
    with Gate() as gate:
        async with running(count=2) as bench:
            job = bench.source.submit("gate", gate.payload)
            await bench.source.said(job)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bench.pool.drain, LIMIT)
                await _settled(bench, 1)
                untaken = bench.source.submit("noop")
                await gate.open()
            assert (await bench.source.outcome(job)).ending is Ending.COMPLETED
            assert bench.pool.status().total == 0
            assert untaken.task_id not in bench.source.outcomes


async def test_draining_stops_what_runs_after_the_grace() -> None:
    async with running(count=2, kill_grace=0.3) as bench:
        polite, rude = bench.source.submit("tidy"), bench.source.submit("stubborn")
        await bench.source.said(polite)
        await bench.source.said(rude)
        await bench.pool.drain(0.1)
        assert interrupted(bench.source.outcomes[polite.task_id])
        assert interrupted(bench.source.outcomes[rude.task_id])
        assert "tidied\n" in bench.source.printed(polite)
        assert {entry[2] for entry in bench.events.log if entry[0] == "removed"} == {"the daemon stops"}


async def test_cancelled_it_kills_and_still_has_the_end_stored() -> None:
    source, events = Source(), Events()
    pool = WorkerPool(registry(), source, events, PoolOptions(count=2, kill_grace=KILL_GRACE))
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        job = source.submit("family", {"then": "stubborn"})
        await source.said(job, "ready")
        pids = await source.family(job)
        begun = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - begun < KILL_GRACE / 2
    assert interrupted(source.outcomes[job.task_id])
    assert events.present == []
    assert wait_gone(pids) == []
    assert pool.status().total == 0


async def test_a_source_that_fails_ends_the_pool_and_its_processes() -> None:
    class Broken(Source):
        async def next_job(self, worker_id: str) -> Any:
            raise RuntimeError("the store is gone")

    events = Events()
    with pytest.raises(ExceptionGroup) as caught:
        await WorkerPool(registry(), Broken(), events, PoolOptions(count=2)).run()
    assert caught.value.subgroup(RuntimeError) is not None
    assert events.present == []


async def test_a_job_that_comes_out_while_the_grace_ends_is_not_begun() -> None:
    """A source that stores as it takes cannot be stopped in the middle; what it then gives must not run unbounded."""

    class Slow(Source):
        async def next_job(self, worker_id: str) -> Any:
            job = await super().next_job(worker_id)
            with trio.CancelScope(shield=True):
                asked.set()
                await gate.wait()
            return job

    asked, gate = trio.Event(), trio.Event()
    source, events = Slow(), Events()
    pool = WorkerPool(registry(), source, events, PoolOptions(count=1))
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            job = source.submit("hang")
            await asked.wait()
            nursery.start_soon(pool.drain, 0.0)
            await trio.testing.wait_all_tasks_blocked(0.01)
            gate.set()
    assert interrupted(source.outcomes[job.task_id])
    assert source.printed(job) == ""
