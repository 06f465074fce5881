"""Cancelling and time limits: what is stopped, how, and what the outcome says."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import trio

from poppo_ipc.daemon.workers import Ending
from poppo_ipc.daemon.workers._process import WorkerProcess

from .functions import STOP
from .kit import KILL_GRACE, Gate, alive, running, wait_gone

pytestmark = pytest.mark.trio


@pytest.mark.parametrize("type", ["hang", "spin", "tidy", "trio_hang"])
async def test_a_function_is_interrupted_and_its_worker_replaced(type: str) -> None:
    async with running() as bench:
        first = bench.only()
        job = bench.source.submit(type)
        await bench.source.said(job)
        assert bench.pool.cancel_job(job.task_id)
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.result, outcome.error) == (Ending.CANCELLED, None, "cancelled")
        assert outcome.duration < KILL_GRACE / 2, "it took the kill grace"
        if type in ("tidy", "trio_hang"):
            assert "tidied\n" in bench.source.printed(job)
        assert not bench.pool.cancel_job(job.task_id)
        assert (await bench.source.run("pid")).result != first.pid
        assert bench.events.reason(first.id) == "stopped with its task"
        assert alive([first.pid or 0]) == []


_SIGNAL = "import signal, time; signal.signal(signal.Signals(%d), %s); print('ready', flush=True); time.sleep(1000)"


@pytest.mark.parametrize("type", ["stubborn", "command"])
async def test_what_ignores_the_order_is_killed_after_the_grace(type: str) -> None:
    async with running(kill_grace=0.3) as bench:
        argv = [sys.executable, "-c", _SIGNAL % (STOP, "signal.SIG_IGN")]
        job = bench.source.submit(type, {"argv": argv} if type == "command" else None)
        await bench.source.said(job)
        begun = trio.current_time()
        assert bench.pool.cancel_job(job.task_id)
        assert bench.pool.cancel_job(job.task_id), "asking again changes nothing"
        assert (await bench.source.outcome(job)).ending is Ending.CANCELLED
        assert trio.current_time() - begun >= 0.3


async def test_a_command_may_end_in_its_own_way() -> None:
    async with running() as bench:
        script = _SIGNAL % (STOP, "lambda *_: exit(print('tidied'))")
        job = bench.source.submit("command", {"argv": [sys.executable, "-c", script]})
        await bench.source.said(job)
        assert bench.pool.cancel_job(job.task_id)
        assert (await bench.source.outcome(job)).ending is Ending.CANCELLED
        assert bench.source.printed(job).split() == ["ready", "tidied"]


@pytest.mark.parametrize("then", ["hang", "stubborn"])
async def test_children_and_orphans_and_new_sessions_are_stopped_too(then: str) -> None:
    async with running(kill_grace=0.3) as bench:
        job = bench.source.submit("family", {"then": then})
        await bench.source.said(job, "ready")
        pids = await bench.source.family(job)
        assert alive(pids) == pids
        assert bench.pool.cancel_job(job.task_id)
        assert (await bench.source.outcome(job)).ending is Ending.CANCELLED
        assert wait_gone(pids) == []


async def test_a_time_limit_stops_as_cancelling_does() -> None:
    async with running() as bench:
        job = bench.source.submit("tidy", timeout=0.3)
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.error) == (Ending.TIMED_OUT, "timed out after 0.3 s")
        assert "tidied\n" in bench.source.printed(job)
        assert 0.3 <= outcome.duration < KILL_GRACE / 2
        assert (await bench.source.run("add", {"a": 1}, timeout=10.0)).ending is Ending.COMPLETED


async def test_cancelling_before_the_job_and_after_it_is_refused() -> None:
    async with running(count=0) as bench:
        job = bench.source.submit("noop")
        assert not bench.pool.cancel_job(job.task_id)
        await bench.pool.scale(1)
        assert (await bench.source.outcome(job)).ending is Ending.COMPLETED
        assert not bench.pool.cancel_job(job.task_id)
        assert not bench.pool.cancel_job("absent")


async def test_cancelling_in_the_moment_a_job_is_handed_over() -> None:
    """The order may be half sent, unread, or begun: it ends as cancelled, and the next job runs."""
    async with running() as bench:
        for payload in ({}, {"x": "y" * 4_000_000}):
            job = bench.source.submit("echo", payload)
            await bench.source.until(lambda job=job: job.task_id in [task for task, _ in bench.source.taken])
            while not bench.pool.cancel_job(job.task_id):
                assert job.task_id not in bench.source.outcomes
                await trio.lowlevel.checkpoint()
            assert (await bench.source.outcome(job)).ending is Ending.CANCELLED
        assert (await bench.source.run("add", {"a": 1})).result == 2


async def test_cancelling_at_any_moment_tells_the_truth() -> None:
    """Swept over a job's whole life: True means cancelled, False completed, and no job is ever lost."""
    async with running(count=2, kill_grace=2.0) as bench:
        endings = set()
        for steps in range(24):
            job = bench.source.submit("turns", {"count": 3})
            await bench.source.until(lambda job=job: job.task_id in [task for task, _ in bench.source.taken])
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            if steps >= 20:
                await bench.source.outcome(job)
            said = bench.pool.cancel_job(job.task_id)
            ending = (await bench.source.outcome(job)).ending
            assert ending is (Ending.CANCELLED if said else Ending.COMPLETED)
            endings.add(ending)
        assert endings == {Ending.CANCELLED, Ending.COMPLETED}


async def test_cancelling_in_the_very_step_of_the_end_spares_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is there and the pool is asked in the same step: what was promised holds, the worker goes on."""
    async with running() as bench:
        said = []
        real = WorkerProcess.receive

        async def receive(process: WorkerProcess) -> Any:
            answer = await real(process)
            said.append(bench.pool.cancel_job("t1"))
            return answer

        monkeypatch.setattr(WorkerProcess, "receive", receive)
        pid = bench.only().pid
        assert (await bench.source.run("noop")).ending is Ending.CANCELLED
        monkeypatch.undo()
        assert said == [True]
        assert (await bench.source.run("pid")).result == pid


async def test_sigterm_from_elsewhere_is_a_crash_of_a_busy_worker() -> None:
    async with running() as bench:
        job = bench.source.submit("tidy")
        await bench.source.said(job)
        os.kill(bench.only().pid or 0, 15)
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.error) == (
            Ending.CRASHED,
            "worker killed by SIGTERM in the middle of the task",
        )
        assert "tidied\n" in bench.source.printed(job)


async def test_a_function_that_changes_the_signals_does_not_shield_the_next() -> None:
    async with running() as bench:
        source = bench.source
        stubborn = source.submit("ignore_signals")
        assert (await source.outcome(stubborn)).ending is Ending.COMPLETED
        job = source.submit("tidy")
        await source.said(job)
        assert bench.pool.cancel_job(job.task_id)
        assert (await source.outcome(job)).duration < KILL_GRACE / 2


async def test_a_gated_command_ends_when_it_may() -> None:
    """The counterpart: what nobody stops runs to its end."""
    with Gate() as gate:
        async with running() as bench:
            job = bench.source.submit("gate", gate.payload)
            await bench.source.said(job)
            await gate.open("through")
            assert (await bench.source.outcome(job)).result == "through"
