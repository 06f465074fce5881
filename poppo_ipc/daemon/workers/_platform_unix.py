"""The calls that only Unix has, and what Linux has beyond Unix: groups, parents that die, orphans, exits.

Imported by worker processes too: nothing beyond the standard library at import.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what Windows lacks

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from poppo_ipc.errors import Unavailable

if TYPE_CHECKING:
    import psutil

__all__ = [
    "kill_group",
    "open_exit_handle",
    "pipe_level",
    "restore_signals",
    "resume",
    "sweep_children",
    "tie_to_parent",
    "wait_exit",
    "wait_read",
]

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

#: Seconds in which killed children must be gone. They die at once, but for one that the kernel holds in a call.
_SWEEP_SECONDS: Final = 5.0
_SWEEP_POLL: Final = 0.001

#: Seconds that a writer waits for the daemon to have read the other stream.
_TURN_SECONDS: Final = 1.0
_TURN_POLL: Final = 0.00005


# -- in the worker ----------------------------------------------------------------------------------------------


def tie_to_parent(parent: int) -> bool:
    """Make this process die with its parent, and adopt the orphans among its descendants, where the system can.

    True where both were done (Linux). Raises SystemExit where the parent is dead already.
    """
    tied = False
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        dies: int = libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        adopts: int = libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        tied = dies == 0 and adopts == 0
    # It may have died between the fork and the call above, and would then send no signal any more.
    if os.getppid() != parent:
        raise SystemExit(0)
    return tied


def sweep_children(adopts_orphans: bool) -> bool:
    """Kill and reap whatever a task left behind; True when nothing is left. Takes 5 s at most.

    One system call where there is nothing, on a system where orphans come to this process (`adopts_orphans`).
    """
    deadline = 0.0
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            if adopts_orphans or not _group_members():
                return True
            pid = 0
        if pid:
            continue
        now = time.monotonic()
        if not deadline:
            deadline = now + _SWEEP_SECONDS
        elif now > deadline:
            return False
        _kill_leftovers()
        time.sleep(_SWEEP_POLL)


def _kill_leftovers() -> None:
    import psutil

    for process in (*psutil.Process().children(recursive=True), *_group_members()):
        with suppress(psutil.Error):  # gone, or no longer ours
            process.kill()


def _group_members() -> list[psutil.Process]:
    """The other processes of this process's group, for a system where orphans go elsewhere."""
    import psutil

    own = os.getpid()
    members = []
    for process in psutil.process_iter():
        try:
            if process.pid != own and os.getpgid(process.pid) == own and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (psutil.Error, OSError):
            continue  # gone, or not to be looked at
    return members


def restore_signals() -> None:
    """Unblock all signals: which are blocked is inherited from the daemon."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def wait_read(fd: int) -> None:
    """Wait until nothing is in a pipe that nobody has read yet, asked from its writing end; for 1 s at most."""
    deadline = time.monotonic() + _TURN_SECONDS
    while pipe_level(fd) and time.monotonic() < deadline:
        time.sleep(_TURN_POLL)


def pipe_level(fd: int) -> int:
    """Bytes in a pipe that nobody has read yet, asked from its writing end; 0 where that cannot be told."""
    import fcntl
    import struct
    import termios

    try:
        return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0])
    except OSError:
        return 0


# -- in the daemon ----------------------------------------------------------------------------------------------


def kill_group(leader: int) -> None:
    """SIGKILL the whole group of `leader`, a child that is not reaped yet: its number could be another's by then."""
    with suppress(ProcessLookupError, PermissionError):  # nothing but zombies: macOS calls that "not permitted"
        os.killpg(leader, signal.SIGKILL)


def resume(pid: int) -> None:
    """Let a child that is not reaped yet go on, where somebody has stopped it."""
    os.kill(pid, signal.SIGCONT)


def open_exit_handle(pid: int) -> int:
    """A descriptor that becomes readable when the process exits; -1 where the system has none."""
    if sys.platform == "linux":
        return os.pidfd_open(pid)
    return -1


async def wait_exit(pid: int, handle: int) -> None:
    """Wait until a child has exited, and leave it to be reaped. `handle` is that of `open_exit_handle`."""
    import trio

    if sys.platform == "linux":
        await trio.lowlevel.wait_readable(handle)
    elif sys.platform == "darwin":
        import select

        event = select.kevent(
            pid, filter=select.KQ_FILTER_PROC, flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT, fflags=select.KQ_NOTE_EXIT
        )

        def abort(_: object) -> trio.lowlevel.Abort:
            event.flags = select.KQ_EV_DELETE
            trio.lowlevel.current_kqueue().control([event], 0)
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            trio.lowlevel.current_kqueue().control([event], 0)
        except ProcessLookupError:
            return  # it has exited already
        await trio.lowlevel.wait_kevent(pid, select.KQ_FILTER_PROC, abort)
    else:
        raise Unavailable(f"Worker processes are not supported on {sys.platform}")
