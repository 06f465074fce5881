"""Who holds the lock beside a daemon's socket."""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["lock_holder"]

_PID_BYTES: Final = 32
#: What the time of a file may be behind the clock by which the start of a process is told.
_CLOCK_SECONDS: Final = 2.0


def lock_holder(path: str) -> tuple[bool | None, int | None]:
    """Whether somebody holds the lock file (None where that cannot be told), and the process that says it does.

    Takes no lock to find out: a daemon that starts at this moment must not find it taken.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return False, None
    except OSError:
        return None, None
    try:
        status, text = os.fstat(descriptor), os.read(descriptor, _PID_BYTES)
    except OSError:
        return None, None
    finally:
        os.close(descriptor)
    pid = int(text) if text.strip().isdigit() else None
    if sys.platform != "win32":
        held = _in_proc_locks(status)
        if held is not None:
            return held, pid if held else None
    alive = pid is not None and _is_alive(pid, status)
    return alive, pid if alive else None


if sys.platform == "win32":
    from .._win32.processes import process_runs, started_at

    def _is_alive(pid: int, written: os.stat_result) -> bool:
        """Whether the process that wrote its number into the file has not ended."""
        # Windows gives numbers to others soon: who started after the number was written is somebody else.
        started = started_at(pid)
        return process_runs(pid) if started is None else started <= written.st_mtime + _CLOCK_SECONDS

    def _in_proc_locks(status: os.stat_result) -> bool | None:
        return None
else:

    def _is_alive(pid: int, written: os.stat_result) -> bool:
        """Whether the process that wrote its number into the file has not ended."""
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        except (ProcessLookupError, OverflowError):
            return False
        return True

    def _in_proc_locks(status: os.stat_result) -> bool | None:
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        try:
            with open("/proc/locks", encoding="ascii", errors="replace") as file:
                # A line with an arrow is somebody who waits.
                return any(place in line.split() for line in file if "->" not in line)
        except OSError:
            return None
