"""What macOS has in place of Linux's handles of processes, with its calls played by those of Linux.

Kqueue is played by what kqueue(2) tells of the filters that are used: EVFILT_PROC with NOTE_EXIT comes once when the
process exits, and is ESRCH for one that has; EVFILT_READ comes for as long as there is something or the end. On macOS
itself these tests run on the real one, as do all others of workers.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing

from poppo_ipc.daemon.workers import _guardian as guardian
from poppo_ipc.daemon.workers import _platform_unix as platform

PROC, READ, ADD, DELETE, ONESHOT, EXIT = -5, -1, 0x1, 0x2, 0x10, 0x80000000
CONSTANTS = {
    "KQ_FILTER_PROC": PROC, "KQ_FILTER_READ": READ, "KQ_EV_ADD": ADD, "KQ_EV_DELETE": DELETE,
    "KQ_EV_ONESHOT": ONESHOT, "KQ_NOTE_EXIT": EXIT,
}  # fmt: skip


class Event:
    def __init__(self, ident: int, filter: int = READ, flags: int = ADD, fflags: int = 0) -> None:
        self.ident, self.filter, self.flags, self.fflags = ident, filter, flags, fflags


class Watched(NamedTuple):
    event: Event
    fd: int


class Queue:
    def __init__(self) -> None:
        self._watched: list[Watched] = []

    def control(self, changes: list[Event] | None, most: int, timeout: float | None = None) -> list[Event]:
        for event in changes or ():
            if event.filter == PROC:
                assert event.fflags == EXIT
                # Of Linux alone, as is this class; but which system it is cannot be asked while one plays another.
                fd = os.pidfd_open(event.ident)  # type: ignore[attr-defined,unused-ignore]
                self._watched.append(Watched(event, fd))
            else:
                self._watched.append(Watched(event, event.ident))
        if not most:
            return []
        ready, _, _ = select.select([each.fd for each in self._watched], [], [], timeout)
        found = [each for each in self._watched if each.fd in ready][:most]
        for each in found:
            if each.event.filter == PROC:
                self._watched.remove(each)
                os.close(each.fd)
        return [each.event for each in found]

    def close(self) -> None:
        for each in self._watched:
            if each.event.filter == PROC:
                os.close(each.fd)


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue | None]:
    """The queue that plays; None on macOS."""
    if sys.platform == "darwin":
        yield None
        return
    queue = Queue()
    for name, value in CONSTANTS.items():
        monkeypatch.setattr(select, name, value, raising=False)
    monkeypatch.setattr(select, "kqueue", lambda: queue, raising=False)
    monkeypatch.setattr(select, "kevent", Event, raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    yield queue
    queue.close()


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("reason", ["the worker exits", "an order", "the end of the lifeline"])
def test_a_guardian_waits_for_each_reason_to_kill(
    macos: Queue | None, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(guardian, "_terminate", asked.append)
    ours, its = socket.socketpair()
    watched, watches = os.pipe()
    with ours, its, sleeper() as worker:
        arguments = (worker.pid, os.getppid(), its.fileno(), watches)
        thread = threading.Thread(target=guardian._watch, args=arguments)
        thread.start()
        assert os.read(watched, 1) == b"", "the worker may begin only when it is watched"
        os.close(watched)
        ours.send(guardian.TERMINATE)
        if reason == "the worker exits":
            worker.kill()
        elif reason == "an order":
            ours.send(guardian.KILL)
        else:
            ours.shutdown(socket.SHUT_WR)
        thread.join(30)
        assert not thread.is_alive()
        # The death of the worker may be seen before the order.
        assert asked in ([worker.pid], []) if reason == "the worker exits" else asked == [worker.pid]


def test_a_guardian_whose_daemon_has_died_watches_nobody(macos: Queue | None) -> None:
    watched, watches = os.pipe()
    ours, its = socket.socketpair()
    with ours, its, sleeper() as worker, sleeper() as other:
        guardian._watch(worker.pid, other.pid, its.fileno(), watches)
        os.set_blocking(watched, False)
        with pytest.raises(BlockingIOError):
            os.read(watched, 1)
    os.close(watched)
    os.close(watches)


def test_a_worker_is_not_tied_to_its_parent_there_but_ends_where_that_has_died(macos: Queue | None) -> None:
    assert platform.tie_to_parent(os.getppid()) is False
    with pytest.raises(SystemExit):
        platform.tie_to_parent(1 if os.getppid() != 1 else 2)


@pytest.mark.trio
async def test_the_exit_of_a_child_is_waited_for_by_an_event_that_comes_once(
    macos: Queue | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[int, int]] = []
    if macos is not None:
        _play_trio(macos, waited, monkeypatch)
    assert platform.open_exit_handle(os.getpid()) == -1
    with sleeper() as child:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(platform.wait_exit, child.pid, -1)
            await trio.testing.wait_all_tasks_blocked(0.01)
            child.kill()
        child.wait()
        await platform.wait_exit(child.pid, -1)  # it has exited: no event would come
        if macos is not None:
            assert waited == [(child.pid, PROC)]


def _play_trio(queue: Queue, waited: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait_kevent(ident: int, filter: int, abort: Any) -> None:
        waited.append((ident, filter))
        # As Trio does for an event of its own queue.
        (event,) = await trio.to_thread.run_sync(queue.control, None, 1)
        assert (event.ident, event.flags) == (ident, ADD | ONESHOT)

    monkeypatch.setattr(trio.lowlevel, "current_kqueue", lambda: queue, raising=False)
    monkeypatch.setattr(trio.lowlevel, "wait_kevent", wait_kevent, raising=False)
