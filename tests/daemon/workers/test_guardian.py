"""The process between a daemon and its worker: what it kills, what it leaves alone, and how it ends."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import trio

from poppo_ipc.daemon.workers import Ending, _guardian

from .kit import KILL_GRACE, LIMIT, alive, guardian_of, running, wait_gone


@pytest.mark.trio
@pytest.mark.parametrize(
    ("then", "how"),
    [
        ("hang", "killed by SIGKILL"),
        ("exit", "exited with code 3"),
        ("segfault", "killed by SIGSEGV"),
        ("nohup", "killed by SIGKILL"),
    ],
)
async def test_a_process_that_left_everything_goes_with_a_worker_that_dies(then: str, how: str) -> None:
    async with running() as bench:
        worker = bench.only().pid
        assert worker is not None
        job = bench.source.submit("escape", {"then": then})
        if then == "hang":
            await bench.source.said(job)
            assert len(alive(await bench.source.family(job))) == 1
            os.kill(worker, signal.SIGKILL)
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.error) == (Ending.CRASHED, f"worker {how} in the middle of the task")
        pids = await bench.source.family(job)
        assert len(pids) == (2 if then == "nohup" else 1)
        assert alive([worker, *pids]) == [], "the job may run again, and the last run still does"


@pytest.mark.trio
@pytest.mark.parametrize("then", ["exit", "hang"])
async def test_a_chain_of_forks_is_caught(tmp_path: Path, then: str) -> None:
    fifo = tmp_path / "chain"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        async with running(kill_grace=0.1) as bench:
            job = bench.source.submit("fork_chain", {"path": str(fifo), "then": then})
            await bench.source.said(job)
            if then == "hang":
                assert select.select([held], [], [], 0)[0] == [], "the chain has ended by itself"
                assert bench.pool.cancel_job(job.task_id)
            assert (await bench.source.outcome(job)).ending is not Ending.COMPLETED
            assert select.select([held], [], [], 0)[0] == [held]
            assert os.read(held, 1) == b""
    finally:
        os.close(held)


@pytest.mark.trio
async def test_each_process_gets_a_sigterm_wherever_it_is() -> None:
    script = """
    trap "echo inside" TERM
    sleep 1000 &
    setsid sh -c 'trap "echo outside; exit 0" TERM; echo ready; sleep 1000 & wait' &
    wait
    wait
    """
    async with running() as bench:
        job = bench.source.submit("command", {"argv": ["sh", "-c", script]})
        await bench.source.said(job)
        assert bench.pool.cancel_job(job.task_id)
        assert (await bench.source.outcome(job)).ending is Ending.CANCELLED
        assert sorted(bench.source.printed(job, "stdout").split()) == ["inside", "outside", "ready"]


def _files(pid: int) -> list[str]:
    return [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]


@pytest.mark.trio
async def test_a_guardian_is_not_stopped_by_signals_and_holds_nothing_of_the_worker() -> None:
    async with running(count=2) as bench:
        for info in bench.pool.status().workers:
            assert info.pid is not None
            assert os.getpgid(info.pid) == os.getsid(info.pid) == info.pid
            guardian = guardian_of(info.pid)
            assert guardian.parent() == psutil.Process()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                guardian.send_signal(number)
            # The third stream is the lifeline; neither pipe of the output is among them, nor another's lifeline.
            files = _files(guardian.pid)
            kinds = sorted(name.partition(":")[0] for name in files)
            assert kinds == ["/dev/null"] * 3 + ["anon_inode"] * 2 + ["socket"]
            sockets = [name for name in _files(info.pid) if name.startswith("socket")]
            assert len(sockets) == 1
            assert sockets[0] not in files
        assert (await bench.source.run("noop")).ending is Ending.COMPLETED
        assert sorted(bench.events.log) == [("added", "worker-1"), ("added", "worker-2")]


@pytest.mark.trio
async def test_a_guardian_that_somebody_stopped_takes_orders() -> None:
    async with running() as bench:
        job = bench.source.submit("tidy")
        await bench.source.said(job)
        guardian_of(bench.only().pid or 0).suspend()
        assert bench.pool.cancel_job(job.task_id)
        assert (await bench.source.outcome(job)).duration < KILL_GRACE / 2, "it took the kill grace"
        assert "tidied\n" in bench.source.printed(job)


@pytest.mark.trio
async def test_a_worker_whose_guardian_is_killed_is_replaced() -> None:
    async with running() as bench:
        first = bench.only()
        job = bench.source.submit("hang")
        await bench.source.said(job)
        assert first.pid is not None
        guardian_of(first.pid).kill()
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.error) == (
            Ending.CRASHED,
            "worker killed by SIGKILL in the middle of the task",
        )
        assert await trio.to_thread.run_sync(wait_gone, [first.pid]) == []
        assert (await bench.source.run("noop")).ending is Ending.COMPLETED


# -- its parts --------------------------------------------------------------------------------------------------


@pytest.fixture
def tree() -> Iterator[dict[int, int]]:
    """Four processes, three levels deep, the lower three in a group of their own; each with its parent."""
    script = "setsid sh -c 'sleep 1000 & sleep 1000 & echo $$ && wait' & wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as top:
        assert top.stdout is not None
        group = int(top.stdout.readline())
        try:
            yield {process.pid: process.ppid() for process in psutil.Process().children(recursive=True)}
        finally:
            for leader in (group, top.pid):
                with suppress(ProcessLookupError):
                    os.killpg(leader, signal.SIGKILL)


def test_all_descendants_are_found_with_and_without_the_kernels_lists(
    tree: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(tree) == 4
    assert dict(_guardian._descendants()) == tree
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    monkeypatch.setattr(_guardian, "_listed_children", None)
    assert dict(_guardian._descendants()) == tree


def test_a_sigterm_goes_once_to_each(tree: dict[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """To a group in one go, and to those outside it one by one."""
    (top,) = [pid for pid, parent in tree.items() if parent == os.getpid()]
    sent: list[tuple[str, int, int]] = []
    monkeypatch.setattr(_guardian, "_signal", lambda pid, parent, number: sent.append(("process", pid, number)))
    monkeypatch.setattr(os, "killpg", lambda group, number: sent.append(("group", group, number)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", lambda pid, number: sent.append(("alone", pid, number)))
        _guardian._terminate(top)
    expected = [("process", pid, signal.SIGTERM) for pid in tree if pid != top]
    assert sorted(sent) == sorted([*expected, ("group", top, signal.SIGTERM)])
    monkeypatch.undo()


def test_a_process_is_signalled_as_the_child_of_its_parent_only(tree: dict[int, int]) -> None:
    """With another parent than the one it was found with, it could be anybody's number by now."""
    (top,) = [pid for pid, parent in tree.items() if parent == os.getpid()]
    leaves = [pid for pid in tree if pid not in tree.values()]
    assert len(leaves) == 2
    for pid in leaves:
        _guardian._signal(pid, top, signal.SIGKILL)
    assert sorted(alive(tree)) == sorted(tree)
    for pid in leaves:
        _guardian._signal(pid, tree[pid], signal.SIGKILL)
    assert wait_gone(leaves) == []


def test_it_gives_up_on_what_cannot_be_killed_but_not_on_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    sleeper = ["sleep", "1000"]
    worker = os.posix_spawnp("sleep", sleeper, os.environ)
    stray = os.posix_spawnp("sleep", sleeper, os.environ)
    rounds = []

    def kill(group: int) -> None:
        """As if the kernel held the stray for good, and the worker until long after the time is over."""
        rounds.append(group)
        if len(rounds) == 5:
            os.kill(worker, signal.SIGKILL)
            while alive([worker]):
                time.sleep(0.001)

    monkeypatch.setattr(_guardian, "_kill_descendants", kill)
    monkeypatch.setattr(_guardian, "_KILL_SECONDS", 0.0)
    try:
        assert _guardian._kill_all(worker, theirs) == signal.SIGKILL
        assert rounds == [worker] * 5
        assert os.read(ours, 2) == _guardian.WORKER_GONE
        assert alive([stray]) == [stray]
    finally:
        os.kill(stray, signal.SIGKILL)
        os.waitpid(stray, 0)
        os.close(ours)
        os.close(theirs)


ENDINGS: list[int] = [signal.SIGTERM, signal.SIGINT, signal.SIGABRT]
if sys.platform != "darwin":  # which has no real-time signals
    ENDINGS.append(signal.SIGRTMIN + 3)


@pytest.mark.parametrize("number", ENDINGS)
def test_it_ends_by_the_signal_that_the_worker_ended_by(number: int, tmp_path: Path) -> None:
    """Also by one that Python or it itself has blocked, or has a handler for; and without leaving a second core."""
    script = f"""
import resource, signal, sys
from poppo_ipc.daemon.workers import _guardian
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
_guardian._end_as({int(number)})
"""
    done = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    _, status = os.waitpid(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    assert (done.returncode, os.WCOREDUMP(status)) == (-number, False)


def test_a_guardian_whose_daemon_is_dead_already_lets_nobody_work() -> None:
    """Started with the number of a process that is not its parent."""
    ours, theirs = os.pipe()
    command = [sys.executable, "-P", _guardian.__file__, "3", str(theirs), str(os.getppid())]
    with subprocess.Popen(["sh", "-c", 'exec "$@" 3< /dev/null', "sh", *command], pass_fds=[theirs]) as guardian:
        os.close(theirs)
        assert guardian.wait(LIMIT) == -signal.SIGKILL
        assert os.read(ours, 2) == _guardian.WORKER_GONE
        assert os.read(ours, 1) == b""
    os.close(ours)
