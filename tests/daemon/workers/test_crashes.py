"""Workers that die, in every way and at every moment."""

from __future__ import annotations

import logging
import os
import resource
import signal
from pathlib import Path

import pytest
import trio
import trio.testing

from poppo_ipc.daemon.workers import Ending, PoolOptions, WorkerPool
from poppo_ipc.errors import DeclarationError

from .kit import LIMIT, Events, Source, registry, running, wait_gone

pytestmark = pytest.mark.trio


@pytest.mark.parametrize(
    ("type", "payload", "error"),
    [
        ("segfault", {}, "worker killed by SIGSEGV in the middle of the task"),
        ("kill_self", {}, "worker killed by SIGKILL in the middle of the task"),
        ("exit_now", {"code": 3}, "worker exited with code 3 in the middle of the task"),
        ("exit_now", {"code": 0}, "worker exited with code 0 in the middle of the task"),
    ],
)
async def test_a_worker_that_dies_in_a_job_is_told_apart_and_replaced(type: str, payload: object, error: str) -> None:
    async with running() as bench:
        first = bench.only()
        job = bench.source.submit(type, payload)
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.result, outcome.error) == (Ending.CRASHED, None, error)
        if type == "exit_now":
            assert bench.source.printed(job) == "last words"
        if type == "segfault":
            assert "on the way" in bench.source.printed(job)
            assert "Fatal Python error: Segmentation fault" in bench.source.printed(job, "stderr")
        begun = trio.current_time()
        assert (await bench.source.run("pid")).result != first.pid
        assert trio.current_time() - begun < 5.0
        (removed,) = [entry for entry in bench.events.log if entry[0] == "removed"]
        assert removed[1] == first.id
        assert removed[2] in error


async def test_the_group_of_a_crashed_worker_is_killed() -> None:
    async with running() as bench:
        job = bench.source.submit("family", {"then": "crash"})
        assert (await bench.source.outcome(job)).ending is Ending.CRASHED
        shell, child, orphan, stray = await bench.source.family(job)
        try:
            assert wait_gone([shell, child, orphan]) == []
        finally:
            os.kill(stray, signal.SIGKILL)  # the one that nobody can find any more: it left the group


async def test_a_fork_that_holds_the_socket_cannot_hide_the_death() -> None:
    async with running() as bench:
        job = bench.source.submit("fork_hold")
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.error) == (
            Ending.CRASHED,
            "worker killed by SIGKILL in the middle of the task",
        )
        for pid in (await bench.source.family(job)) if bench.source.printed(job) else []:
            os.kill(pid, signal.SIGKILL)
        assert (await bench.source.run("noop")).ending is Ending.COMPLETED


async def test_a_function_that_closes_every_descriptor_loses_its_worker() -> None:
    async with running() as bench:
        outcome = await bench.source.run("close_all")
        assert (outcome.ending, outcome.error) == (
            Ending.CRASHED,
            "worker closed the daemon's descriptors in the middle of the task",
        )
        assert (await bench.source.run("noop")).ending is Ending.COMPLETED


async def test_a_worker_killed_while_idle_is_replaced_and_no_job_is_lost() -> None:
    async with running(count=2) as bench:
        first, second = bench.pool.status().workers
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        await bench.events.until(lambda: len(bench.events.log) >= 4)
        assert bench.events.reason(first.id) == "killed by SIGKILL"
        assert len(bench.events.present) == 2
        assert second.id in bench.events.present
        assert (await bench.source.run("noop")).ending is Ending.COMPLETED


async def test_a_job_that_a_dying_worker_never_read_is_to_be_run_again() -> None:
    """Stopped, the worker cannot read; killed, it has not begun."""
    async with running() as bench:
        pid = bench.only().pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        job = bench.source.submit("noop")
        await bench.source.until(lambda: bench.source.taken)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(pid, signal.SIGKILL)
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.error) == (
            Ending.INTERRUPTED,
            "worker killed by SIGKILL before it began the task",
        )


# -- workers that do not come up --------------------------------------------------------------------------------


def _interpreter(tmp_path: Path, text: str) -> tuple[str, Path]:
    """Something that is started in place of Python, and the file in which each start leaves a line."""
    count = tmp_path / "starts"
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\necho start >> {count}\n{text}\n")
    script.chmod(0o755)
    return str(script), count


async def test_workers_that_die_at_once_are_started_ever_more_slowly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    python, count = _interpreter(tmp_path, "echo no such module >&2; exit 9")
    source, events = Source(), Events()
    options = PoolOptions(count=1, python=python, backoff_base=0.02, backoff_cap=0.2)
    pool = WorkerPool(registry(), source, events, options)
    with trio.move_on_after(1.0) as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
    assert scope.cancelled_caught, "it came up"
    starts = len(count.read_text().splitlines())
    # 0.02 + 0.04 + 0.08 + 0.16 + 0.2 + 0.2 + … within 1.0 s; without the backoff several hundred.
    assert 3 <= starts <= 12
    delays = [record.args[2] for record in caplog.records if record.args and len(record.args) == 3]  # type: ignore[arg-type]
    assert delays[:5] == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.2][: len(delays)])
    assert caplog.records[0].getMessage().startswith("worker-1 exited with code 9: no such module; the next one")
    assert events.log == []


async def test_a_worker_that_says_nothing_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    python, count = _interpreter(tmp_path, "exec sleep 1000")
    pool = WorkerPool(
        registry(), Source(), Events(), PoolOptions(count=1, python=python, start_timeout=0.2, backoff_base=30.0)
    )
    warned = trio.Event()

    def note(record: logging.LogRecord) -> bool:
        warned.set()
        return True

    caplog.handler.addFilter(note)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run)
        with trio.fail_after(LIMIT):
            await warned.wait()
        nursery.cancel_scope.cancel()
    assert "did not start within 0.2 s" in caplog.text
    assert len(count.read_text().splitlines()) == 1


async def test_a_single_death_does_not_slow_the_next_start() -> None:
    """After a job each start is at once, however often: the delays are for those that never get one."""
    async with running(backoff_base=30.0) as bench:
        for _ in range(3):
            assert (await bench.source.run("kill_self")).ending is Ending.CRASHED


async def test_running_out_of_descriptors_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is left of the half-made workers, and when there are descriptors again, the pool comes up."""
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    warned = trio.Event()

    def note(record: logging.LogRecord) -> bool:
        warned.set()
        return True

    caplog.handler.addFilter(note)
    source = Source()
    pool = WorkerPool(registry(), source, Events(), PoolOptions(count=1, backoff_base=0.02))
    for spare in range(2, 9):
        caplog.clear()
        warned = trio.Event()
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                highest = max(int(name) for name in os.listdir("/proc/self/fd"))
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest + spare, usual[1]))
                try:
                    nursery.start_soon(pool.run)
                    await warned.wait()
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, usual)
                assert "cannot be started: Too many open files" in caplog.text
                assert (await source.run("noop")).ending is Ending.COMPLETED
                nursery.cancel_scope.cancel()


async def test_an_interpreter_that_is_not_there_is_refused() -> None:
    pool = WorkerPool(registry(), Source(), Events(), PoolOptions(python="/no/such/python"))
    with pytest.raises(DeclarationError, match="cannot be executed: /no/such/python"):
        await pool.run()
