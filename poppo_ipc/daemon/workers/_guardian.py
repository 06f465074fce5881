"""The guardian of a worker: sees to it that nothing of the worker outlives it, or the daemon, however those die.

    daemon
      └─ guardian   what the daemon starts and reaps: `python _guardian.py CONTROL LIFELINE DAEMON`
           └─ worker   a fork of it, in a session and a group of its own: `Hello.pid`, and what a status shows
                └─ whatever the tasks start

It waits for the end of the worker, for that of the daemon, and for an order over the lifeline, a socket whose other
end only the daemon holds. Then it kills every descendant, and ends in the same way as the worker did.

On Linux it adopts the orphans among its descendants (those of a living worker go to the worker, which sweeps after
each task), so that a process can leave the group, the session and its parents, but not the guardian; and the worker
dies with it. Not covered are: a guardian that is itself stopped, or killed by SIGKILL (its worker dies, but whatever
that had started stays); a process of another user (`sudo`); and what a task has others start for it, such as cron or
a systemd unit. On macOS, which knows neither adoption nor that death, it is the group that is killed, with those
outside it that the process tree still shows.

A worker has a process like this beside it all the time, so it is forked off before anything big is imported, and runs
as a file: as a module of the package it would load the package too. Only the standard library at import.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what Windows lacks

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import select
import signal
import time
from collections.abc import Iterator

__all__ = ["KILL", "TERMINATE", "WORKER_GONE"]

#: Orders to the guardian: SIGTERM to all processes of the worker; SIGKILL to them all. The end of the stream kills too.
TERMINATE = b"T"
KILL = b"K"
#: What the guardian says: the worker has exited, and it now kills what is left.
WORKER_GONE = b"G"

_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

#: Seconds in which killed processes must be gone: less than those that the daemon waits for the guardian. They die at
#: once, but for one that the kernel holds in a call, and that dies when it comes out.
_KILL_SECONDS = 4.0
_PAUSE_FIRST = 0.0005
_PAUSE_LAST = 0.25

#: Seconds for one walk over the descendants, and dead ones to be reaped in one go: somebody may fork all the while.
_WALK_SECONDS = 1.0
_REAP_AT_ONCE = 1000


def main() -> None:
    """Become the guardian of a worker that is this process's child; in that child, run the worker."""
    control, lifeline, daemon = (int(word) for word in sys.argv[1:4])
    # Before there is a worker that could have orphans. It is not handed down.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # In the guardian they stay blocked: it ends with the worker, not by a signal meant for a group or a terminal.
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    guardian = os.getpid()
    watched, watches = os.pipe()
    worker = os.fork()
    if worker:
        os.close(watched)
        _guard(worker, daemon, control, lifeline, watches)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.close(lifeline)
    os.close(watches)
    from poppo_ipc.daemon.workers._main_unix import main as work

    os.read(watched, 1)
    os.close(watched)
    work(control, guardian)


def _guard(worker: int, daemon: int, control: int, lifeline: int, watches: int) -> None:
    """The guardian's life; does not return. Closes `watches` as soon as the worker may begin."""
    status = None
    try:
        try:
            _let_go(control)
            _watch(worker, daemon, lifeline, watches)
        finally:  # a worker that cannot be watched must not work
            status = _kill_all(worker, lifeline)
    finally:
        _end_as(status)


def _let_go(control: int) -> None:
    """Close what the worker has: the daemon sees the ends of the streams by the worker's death."""
    os.close(control)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)
    os.chdir("/")
    _prctl(_PR_SET_NAME, b"poppo-guardian")


# -- waiting ----------------------------------------------------------------------------------------------------


def _watch(worker: int, daemon: int, lifeline: int, watches: int) -> None:
    """Wait for a reason to kill. Raises OSError where that is not possible.

    The daemon's death is watched too, as a fork of the daemon may hold its end of the lifeline.
    """
    if sys.platform == "linux":
        handles = [os.pidfd_open(worker), os.pidfd_open(daemon)]
        poll = select.poll()
        for fd in (*handles, lifeline):
            poll.register(fd, select.POLLIN)

        def reasons() -> bool:
            return any(fd in handles for fd, _ in poll.poll())
    else:
        queue = select.kqueue()
        changes = [
            select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT) for pid in (worker, daemon)
        ]
        queue.control([*changes, select.kevent(lifeline, select.KQ_FILTER_READ, select.KQ_EV_ADD)], 0)

        def reasons() -> bool:
            return any(event.filter == select.KQ_FILTER_PROC for event in queue.control(None, 3))

    if os.getppid() != daemon:
        return  # it had died before, and the number may be another's
    os.close(watches)
    while not reasons():
        if os.read(lifeline, 1) != TERMINATE:
            return
        _terminate(worker)


# -- signals ----------------------------------------------------------------------------------------------------


def _say(lifeline: int, what: bytes) -> None:
    try:
        os.write(lifeline, what)
    except OSError:
        return  # the daemon is no more


def _terminate(worker: int) -> None:
    # Once to each process: a second SIGTERM is an order to hurry, to some.
    _signal_descendants(signal.SIGTERM, but=worker)
    _signal_worker(worker, signal.SIGTERM)


def _kill_all(worker: int, lifeline: int) -> int | None:
    """Kill and reap all descendants; returns how the worker ended.

    Gives up on others after some seconds, never on the worker: those of its children that it has yet to leave would
    escape.
    """
    status = None
    deadline = time.monotonic() + _KILL_SECONDS
    pause = _PAUSE_FIRST
    while True:
        _kill_descendants(worker if status is None else 0)
        count = 0
        while count < _REAP_AT_ONCE:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return status
            if not pid:
                break
            count += 1
            if pid == worker:
                status = code
                _say(lifeline, WORKER_GONE)
        if status is not None and time.monotonic() > deadline:
            return status
        if count:
            pause = _PAUSE_FIRST  # what those have left is here now: no time to lose
        else:
            time.sleep(pause)
            pause = min(2 * pause, _PAUSE_LAST)


def _kill_descendants(worker: int) -> None:
    """SIGKILL to all descendants, and to the group of `worker` unless that is 0: it must not be reaped yet."""
    if sys.platform != "linux":
        _signal_descendants(signal.SIGKILL)  # as long as the process tree shows them
        if worker:
            _signal_worker(worker, signal.SIGKILL)
        return
    own, own_group = os.getpid(), os.getpgrp()
    for pid, parent in _descendants():
        if parent == own:
            # The whole group in one go, however fast it forks. The number is the group's as long as its member is not
            # reaped, and all its members are descendants: only these can be in a session that one of them has made.
            group = _group_of(pid)
            if group not in (-1, own_group):
                _signal_group(group, signal.SIGKILL)
        _signal(pid, parent, signal.SIGKILL)


def _signal_worker(worker: int, number: int) -> None:
    """Signal the worker, which must not be reaped yet, and its group, once it has made one."""
    if not _signal_group(worker, number):
        os.kill(worker, number)


def _signal_group(group: int, number: int) -> bool:
    """Signal a group that has a member which is not reaped yet. False where there is no such group."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # nothing but zombies, which macOS calls that, or all are another user's
    return True


def _signal_descendants(number: int, *, but: int = 0) -> None:
    """Signal all descendants but those of one group. One that is not there any more, or another user's, is passed."""
    if sys.platform == "linux":
        for pid, parent in _descendants():
            if not but or _group_of(pid) != but:
                _signal(pid, parent, number)
        return
    try:
        import psutil
    except ImportError:
        return
    try:
        found = psutil.Process().children(recursive=True)
    except psutil.Error:
        return
    for process in found:
        if not but or _group_of(process.pid) != but:
            try:
                process.send_signal(number)
            except psutil.Error:
                continue


def _signal(pid: int, parent: int, number: int) -> None:
    own = os.getpid()
    try:
        if parent == own:
            os.kill(pid, number)  # nobody else reaps it, so its number is its own
        elif sys.platform == "linux":
            handle = os.pidfd_open(pid)
            try:
                # Still the child of that parent, or just orphaned: then the handle is of no other process.
                if _parent_of(pid) in (parent, own):
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
    except OSError:
        pass


# -- descendants ------------------------------------------------------------------------------------------------


def _descendants() -> Iterator[tuple[int, int]]:
    """The numbers of all descendants, each with its parent's. The children of each are looked for after it is given
    out: by then, what has been killed forks no more."""
    own = os.getpid()
    children = _listed_children if os.path.exists(f"/proc/self/task/{own}/children") else _all_children().__getitem__
    deadline = time.monotonic() + _WALK_SECONDS
    seen = {own}
    waiting = [own]
    while waiting and time.monotonic() < deadline:
        parent = waiting.pop()
        for pid in children(parent):
            if pid not in seen:
                seen.add(pid)
                waiting.append(pid)
                yield pid, parent


class _Children(dict[int, list[int]]):
    def __missing__(self, pid: int) -> list[int]:
        return []


def _listed_children(pid: int) -> list[int]:
    """The children of a process, by the lists of its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # it has gone, or a thread of it: its children are found with their next parent
    return found


def _all_children() -> _Children:
    """The children of every process, on a kernel that keeps no lists. Takes some milliseconds."""
    found = _Children()
    try:
        names = os.listdir("/proc")
    except OSError:
        names = []
    for name in names:
        parent = _parent_of(int(name)) if name.isdecimal() else None
        if parent is not None:
            found.setdefault(parent, []).append(int(name))
    return found


def _parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])  # its name may have spaces and brackets
    except OSError:
        return None


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1


# -- the end ----------------------------------------------------------------------------------------------------


def _end_as(status: int | None) -> None:
    """End this process as one with this wait status has ended."""
    if status is None:
        os._exit(1)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        number = -code
        _leave_no_core()
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))
    os._exit(code % 256)


def _leave_no_core() -> None:
    """The worker has left one, if any."""
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)  # what a limit of 0 does not do where cores are piped into a program
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
