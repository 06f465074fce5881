"""Workers that die, in every way and at every moment."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import sys
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing

from poppo_ipc.daemon.workers import Ending, PoolOptions, WorkerPool
from poppo_ipc.errors import DeclarationError

from .kit import KILLED, LIMIT, Events, Source, alive, kill, registry, running

pytestmark = pytest.mark.trio

if sys.platform == "win32":
    SEGFAULT, TOLD = "an access violation (0xC0000005)", "Windows fatal exception: access violation"
else:
    SEGFAULT, TOLD = "SIGSEGV", "Fatal Python error: Segmentation fault"


@pytest.mark.parametrize(
    ("type", "payload", "error"),
    [
        ("segfault", {}, f"worker killed by {SEGFAULT} in the middle of the task"),
        ("kill_self", {}, f"worker {KILLED} in the middle of the task"),
        ("exit_now", {"code": 3}, "worker exited with code 3 in the middle of the task"),
        ("exit_now", {"code": 0}, "worker exited with code 0 in the middle of the task"),
        ("exit_after_turns", {}, "worker exited with code 3 in the middle of the task"),
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
            assert TOLD in bench.source.printed(job, "stderr")
        assert (await bench.source.run("pid")).result != first.pid
        (removed,) = [entry for entry in bench.events.log if entry[0] == "removed"]
        assert removed[1] == first.id
        assert removed[2] in error


async def test_what_a_crashed_worker_leaves_is_gone_before_its_job_may_run_again() -> None:
    async with running() as bench:
        job = bench.source.submit("family", {"then": "crash"})
        assert (await bench.source.outcome(job)).ending is Ending.CRASHED
        assert alive(await bench.source.family(job)) == []


async def test_a_fork_that_holds_the_socket_cannot_hide_the_death() -> None:
    async with running() as bench:
        job = bench.source.submit("fork_hold")
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.error) == (
            Ending.CRASHED,
            "worker killed by SIGKILL in the middle of the task",
        )
        if bench.source.printed(job):
            assert alive(await bench.source.family(job)) == []
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
        kill(first.pid)
        await bench.events.until(lambda: len(bench.events.log) >= 4)
        assert bench.events.reason(first.id) == KILLED
        assert len(bench.events.present) == 2
        assert second.id in bench.events.present
        assert (await bench.source.run("noop")).ending is Ending.COMPLETED


async def test_a_job_that_a_dying_worker_never_read_is_to_be_run_again() -> None:
    """Stopped, the worker cannot read; killed, it has not begun."""
    async with running() as bench:
        pid = bench.only().pid
        assert pid is not None
        psutil.Process(pid).suspend()
        job = bench.source.submit("noop")
        await bench.source.until(lambda: bench.source.taken)
        await trio.testing.wait_all_tasks_blocked()
        kill(pid)
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.error) == (Ending.INTERRUPTED, f"worker {KILLED} before it began the task")


# -- workers that do not come up --------------------------------------------------------------------------------


def _interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> tuple[str, Path]:
    """An interpreter that runs something else in place of a worker, and the file in which each start leaves a line."""
    count = tmp_path / "starts"
    code = f"open({str(count)!r}, 'a').write('start\\n'); {code}"
    if sys.platform == "win32":
        from poppo_ipc.daemon.workers import _child_windows

        monkeypatch.setattr(_child_windows, "_RUN", code)
        return sys.executable, count
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable} -IS\n{code}\n")
    script.chmod(0o755)
    return str(script), count


async def test_workers_that_die_at_once_are_started_ever_more_slowly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os; os.write(2, b'no such module'); os._exit(9)"
    python, count = _interpreter(tmp_path, monkeypatch, code)
    source, events = Source(), Events()
    options = PoolOptions(count=1, python=python, backoff_base=0.02, backoff_cap=0.2)
    pool = WorkerPool(registry(), source, events, options)
    enough = trio.Event()
    delays: list[float] = []

    def note(record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) == 3:
            delays.append(float(str(record.args[2])))
            if len(delays) == 6:
                enough.set()
        return True

    caplog.handler.addFilter(note)
    begun = trio.current_time()
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.run)
            await enough.wait()
            nursery.cancel_scope.cancel()
    assert delays == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.2, 0.2])
    assert trio.current_time() - begun >= sum(delays[:5])
    assert 6 <= len(count.read_text().splitlines()) <= 7
    assert caplog.records[0].getMessage().startswith("worker-1 exited with code 9: no such module; the next one")
    assert events.log == []


async def test_a_worker_that_says_nothing_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, count = _interpreter(tmp_path, monkeypatch, "import time; time.sleep(1000)")
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
    # It may have been killed before it came to that.
    assert not count.exists() or len(count.read_text().splitlines()) == 1


async def test_a_single_death_does_not_slow_the_next_start() -> None:
    """After a job each start is at once, however often: the delays are for those that never get one."""
    async with running(backoff_base=30.0) as bench:
        for _ in range(3):
            assert (await bench.source.run("kill_self")).ending is Ending.CRASHED


async def test_running_out_of_descriptors_at_any_step_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is left of the half-made worker, and when there are descriptors again, the pool comes up."""
    if sys.platform == "win32":
        raise NotImplementedError
    import resource

    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    failures = 0
    happened = trio.Event()

    def note(record: logging.LogRecord) -> bool:
        happened.set()
        return True

    async def start(nursery: trio.Nursery, pool: WorkerPool) -> None:
        await nursery.start(pool.run)
        happened.set()

    caplog.handler.addFilter(note)
    for spare in range(1, 32):
        caplog.clear()
        happened = trio.Event()
        source = Source()
        pool = WorkerPool(registry(), source, Events(), PoolOptions(count=1, backoff_base=0.02))
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                used = {int(name) for name in os.listdir("/proc/self/fd")}
                free = (number for number in itertools.count() if number not in used)
                resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, spare, None)), usual[1]))
                try:
                    nursery.start_soon(start, nursery, pool)
                    await happened.wait()
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, usual)
                assert (await source.run("noop")).ending is Ending.COMPLETED
                nursery.cancel_scope.cancel()
        assert psutil.Process().children() == []
        if not caplog.records:
            break
        assert "cannot be started: Too many open files" in caplog.text
        failures += 1
    assert 6 <= failures < 30


async def test_a_worker_that_cannot_be_watched_is_not_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    from poppo_ipc.daemon.workers import _platform_unix

    made = []

    def open_handle(pid: int) -> int:
        made.append(pid)
        if len(made) == 1:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return real(pid)

    real = _platform_unix.open_exit_handle
    monkeypatch.setattr(_platform_unix, "open_exit_handle", open_handle)
    async with running() as bench:
        assert len(made) == 2
        assert alive(made) == made[1:]
        assert [worker.id for worker in bench.pool.status().workers] == ["worker-2"]


async def test_an_interpreter_that_is_not_there_is_refused() -> None:
    pool = WorkerPool(registry(), Source(), Events(), PoolOptions(python="/no/such/python"))
    with pytest.raises(DeclarationError, match="cannot be executed: /no/such/python"):
        await pool.run()
