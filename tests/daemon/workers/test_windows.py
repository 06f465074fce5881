"""Workers on Windows: what a job object and a console of one's own give."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import os
import re
import subprocess
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc._exits import KILLED
from poppo_ipc._win32 import jobs
from poppo_ipc._win32.calls import close_handle
from poppo_ipc._win32.events import Event
from poppo_ipc._win32.pipes import has_gone
from poppo_ipc._win32.processes import exit_code
from poppo_ipc._win32.security import descriptor_of, own_sid, owner_of
from poppo_ipc._win32.starting import start_in_job
from poppo_ipc.daemon.workers import Ending
from poppo_ipc.daemon.workers import _pipes_windows as pipes
from poppo_ipc.daemon.workers._child_windows import WindowsChild

from .kit import KILL_GRACE, alive, running, wait_gone

_SLEEP = "import time; time.sleep(1000)"


def _start(job: jobs.Job, code: str) -> tuple[int, int]:
    null = pipes.open_null()
    try:
        return start_in_job(
            [sys.executable, "-I", "-S", "-c", code],
            environment=os.environ,
            job=job.handle,
            streams=(null, null, null),
            handles=(),
        )
    finally:
        close_handle(null)


def test_a_process_is_in_its_job_from_its_first_moment_and_ends_with_the_last_handle() -> None:
    job = jobs.Job()
    process, pid = _start(job, _SLEEP)
    try:
        assert pid in job.processes()
        assert job.active >= 1
        job.close()
        assert wait_gone([pid]) == []
        job.close()  # once more is no harm
    finally:
        close_handle(process)


def test_a_job_is_asked_to_kill_when_closed_and_to_let_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for: wine does as it is told, but tells no limits."""
    asked: list[int] = []
    real = jobs._SetInformation

    def note(handle: int, kind: int, information: Any, size: int) -> int:
        asked.append(ctypes.cast(information, ctypes.POINTER(jobs._ExtendedLimits)).contents.basic.flags)
        return int(real(handle, kind, information, size))

    monkeypatch.setattr(jobs, "_SetInformation", note)
    jobs.Job().close()
    kill_on_close, breakaway, silent_breakaway = 0x2000, 0x0800, 0x1000
    (flags,) = asked
    assert flags & (kill_on_close | breakaway | silent_breakaway) == kill_on_close


def test_only_a_process_of_the_job_is_killed_by_its_number() -> None:
    job = jobs.Job()
    process, pid = _start(job, _SLEEP)
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", _SLEEP]) as stranger:
        try:
            job.kill_one(stranger.pid, KILLED)
            job.kill_one(pid, KILLED)
            job.kill_one(0x7FFFFFFC, KILLED)  # nobody
            assert wait_gone([pid]) == []
            assert exit_code(process) == KILLED
            assert stranger.poll() is None
        finally:
            stranger.kill()
            close_handle(process)
            job.close()


def test_a_list_of_processes_has_room_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_FEW", 1)
    job = jobs.Job()
    started = [_start(job, _SLEEP) for _ in range(3)]
    try:
        assert {pid for _, pid in started} <= set(job.processes())
    finally:
        for process, _ in started:
            close_handle(process)
        job.close()
    assert wait_gone([pid for _, pid in started]) == []


def test_what_cannot_be_started_leaves_nothing() -> None:
    job = jobs.Job()
    with pytest.raises(FileNotFoundError):
        start_in_job(["C:\\absent.exe"], environment={}, job=job.handle, streams=(0, 0, 0), handles=())
    assert job.processes() == []
    job.close()


def test_a_pipe_is_this_users_and_the_systems_alone() -> None:
    ours, theirs = pipes.pipe_to()
    me = own_sid()
    assert owner_of(ours) == me
    assert sorted(re.findall(r"\(A;;\w+;;;([\w-]+)\)", descriptor_of(ours))) == sorted([me, "SY"])
    close_handle(ours)
    close_handle(theirs)


@pytest.mark.trio
async def test_our_end_of_a_pipe_is_read_without_waiting() -> None:
    ours, theirs = pipes.pipe_from()
    event = Event()
    trio.lowlevel.register_with_iocp(ours)
    import _winapi

    with pytest.raises(BlockingIOError):
        pipes.read_now(ours, event, 100)
    _winapi.WriteFile(theirs, b"abc")
    await trio.lowlevel.readinto_overlapped(ours, bytearray())
    assert pipes.read_now(ours, event, 2) == b"ab"
    assert pipes.read_now(ours, event, 2) == b"c"
    close_handle(theirs)
    with pytest.raises(OSError, match=r".") as caught:
        pipes.read_now(ours, event, 2)
    assert has_gone(caught.value)
    close_handle(ours)


@pytest.mark.trio
async def test_what_is_closed_while_somebody_waits_for_it_can_still_be_cancelled() -> None:
    """As where a worker cannot be killed: Trio asks for an operation to be given up by its handle."""
    child = WindowsChild(sys.executable)
    async with trio.open_nursery() as nursery:
        for wait in (child.wait_message, partial(child.wait_output, "stdout"), partial(child.wait_output, "stderr")):
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        child.close()
        nursery.cancel_scope.cancel()
    assert wait_gone([child.pid]) == []


@pytest.mark.trio
async def test_a_function_that_closes_every_descriptor_can_still_be_stopped() -> None:
    async with running() as bench:
        job = bench.source.submit("close_all")
        await bench.source.said(job)
        assert bench.pool.cancel_job(job.task_id)
        outcome = await bench.source.outcome(job)
        assert outcome.ending is Ending.CANCELLED
        assert outcome.duration < KILL_GRACE / 2, "it took the kill grace"


@pytest.mark.trio
async def test_who_ignores_ctrl_c_hands_that_down_to_no_worker() -> None:
    """As a process that was started in a group of its own does."""
    set_handler = ctypes.WinDLL("kernel32").SetConsoleCtrlHandler
    set_handler(None, True)
    try:
        async with running() as bench:
            job = bench.source.submit("tidy")
            await bench.source.said(job)
            assert bench.pool.cancel_job(job.task_id)
            assert (await bench.source.outcome(job)).duration < KILL_GRACE / 2, "it took the kill grace"
            assert "tidied\n" in bench.source.printed(job)
    finally:
        set_handler(None, False)


@pytest.mark.trio
async def test_the_status_counts_what_is_in_the_job() -> None:
    async with running(kill_grace=0.3) as bench:
        before = bench.only()
        job = bench.source.submit("family", {"then": "hang"})
        await bench.source.said(job)
        assert bench.only().memory > before.memory + (4 << 20)
        assert alive([before.pid or 0]) == [before.pid]
        bench.pool.cancel_job(job.task_id)
        await bench.source.outcome(job)
