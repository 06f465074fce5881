"""Other processes: whether they run, since when, and how they ended."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
from typing import Final

from .calls import (
    BOOL,
    DWORD,
    ERROR_ACCESS_DENIED,
    HANDLE,
    KERNEL32,
    PDWORD,
    check,
    close_handle,
    declare,
)
from .events import wait_any_handle

__all__ = ["exit_code", "process_runs", "started_at"]

_SYNCHRONIZE: Final = 0x00100000
_QUERY_LIMITED_INFORMATION: Final = 0x1000
#: A FILETIME counts 100 ns from 1601 on.
_TICKS_A_SECOND: Final = 10_000_000
_EPOCH_SECONDS: Final = 11_644_473_600

_OpenProcess = declare(KERNEL32, "OpenProcess", HANDLE, DWORD, BOOL, DWORD)
_GetProcessTimes = declare(KERNEL32, "GetProcessTimes", BOOL, HANDLE, *[ctypes.POINTER(ctypes.c_uint64)] * 4)
_GetExitCodeProcess = declare(KERNEL32, "GetExitCodeProcess", BOOL, HANDLE, PDWORD)


def process_runs(pid: int) -> bool:
    """Whether a process of this number runs, also one that is not ours to look into."""
    process = _OpenProcess(_SYNCHRONIZE, False, pid)
    if not process:
        return ctypes.get_last_error() == ERROR_ACCESS_DENIED
    try:
        return not _has_ended(process)
    finally:
        close_handle(process)


def started_at(pid: int) -> float | None:
    """When it was started, in seconds since 1970; None where it has ended, or we may not look at it."""
    if not 0 < pid < 1 << 32:
        return None
    process = _OpenProcess(_SYNCHRONIZE | _QUERY_LIMITED_INFORMATION, False, pid)
    if not process:
        return None
    try:
        times = [ctypes.c_uint64() for _ in range(4)]
        if _has_ended(process) or not _GetProcessTimes(process, *map(ctypes.byref, times)):
            return None
        return times[0].value / _TICKS_A_SECOND - _EPOCH_SECONDS
    finally:
        close_handle(process)


def exit_code(process: int) -> int:
    """The exit code of a process that has ended, by its handle."""
    code = DWORD()
    check(_GetExitCodeProcess(process, ctypes.byref(code)))
    return code.value


def _has_ended(process: int) -> bool:
    return wait_any_handle([process], 0) is not None
