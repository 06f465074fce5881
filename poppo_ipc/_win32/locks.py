"""A file that is locked as long as its owner lives, with the owner's pid in it."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import msvcrt
import os
from typing import Final

from .calls import BOOL, DWORD, ERROR_LOCK_VIOLATION, HANDLE, KERNEL32, POVERLAPPED, Overlapped, declare

__all__ = ["lock_file", "read_pid", "unlock_file", "write_pid"]

_EXCLUSIVE: Final = 0x2
_FAIL_IMMEDIATELY: Final = 0x1
_PID_BYTES: Final = 32
# A lock bars others from the bytes under it, and the pid is for all to read. So what is locked is a byte that no such
# file ever has.
_LOCKED_HIGH: Final = 0x4000_0000

_LockFileEx = declare(KERNEL32, "LockFileEx", BOOL, HANDLE, DWORD, DWORD, DWORD, DWORD, POVERLAPPED)


def lock_file(path: str) -> int | None:
    """Open the file, made if absent, and lock it; its descriptor, or None if another has it locked.

    The lock ends with `unlock_file` or with this process, however that dies. While it is open nobody can delete it.
    Raises OSError.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_BINARY | os.O_NOINHERIT, 0o600)
    try:
        place = Overlapped()
        place.OffsetHigh = _LOCKED_HIGH
        if _LockFileEx(msvcrt.get_osfhandle(fd), _EXCLUSIVE | _FAIL_IMMEDIATELY, 0, 1, 0, ctypes.byref(place)):
            return fd
        error = ctypes.get_last_error()
        if error != ERROR_LOCK_VIOLATION:
            raise ctypes.WinError(error)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def unlock_file(fd: int) -> None:
    """Give the lock back."""
    os.close(fd)


def write_pid(fd: int, pid: int | None) -> None:
    """Write whose lock it is, or that it is nobody's."""
    os.ftruncate(fd, 0)
    if pid is not None:
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"%d\n" % pid)


def read_pid(path: str) -> int | None:
    """Whose lock the file says it is."""
    try:
        with open(path, "rb") as file:
            return int(file.read(_PID_BYTES))
    except (OSError, ValueError):
        return None
