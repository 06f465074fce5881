"""When a process was started: Win32's calls for that, typed."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
from ctypes import wintypes
from typing import Final

__all__ = ["started_at"]

_SYNCHRONIZE: Final = 0x00100000
_PROCESS_QUERY_LIMITED_INFORMATION: Final = 0x1000
_WAIT_TIMEOUT: Final = 258
#: A FILETIME counts 100 ns from 1601 on.
_TICKS_A_SECOND: Final = 10_000_000
_EPOCH_SECONDS: Final = 11_644_473_600

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_OpenProcess = _kernel32.OpenProcess
_OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
_OpenProcess.restype = wintypes.HANDLE
_WaitForSingleObject = _kernel32.WaitForSingleObject
_WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
_WaitForSingleObject.restype = wintypes.DWORD
_GetProcessTimes = _kernel32.GetProcessTimes
_GetProcessTimes.argtypes = (wintypes.HANDLE, *[ctypes.POINTER(ctypes.c_uint64)] * 4)
_GetProcessTimes.restype = wintypes.BOOL
_CloseHandle = _kernel32.CloseHandle
_CloseHandle.argtypes = (wintypes.HANDLE,)
_CloseHandle.restype = wintypes.BOOL


def started_at(pid: int) -> float | None:
    """When it was started, in seconds since 1970; None where it has ended, or we may not look at it."""
    handle = _open(pid)
    if handle is None:
        return None
    try:
        times = [ctypes.c_uint64() for _ in range(4)]
        if not _has_not_ended(handle) or not _GetProcessTimes(handle, *map(ctypes.byref, times)):
            return None
        return times[0].value / _TICKS_A_SECOND - _EPOCH_SECONDS
    finally:
        _CloseHandle(handle)


def _open(pid: int) -> int | None:
    if not 0 < pid < 1 << 32:
        return None
    handle: int | None = _OpenProcess(_SYNCHRONIZE | _PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
    return handle


def _has_not_ended(handle: int) -> bool:
    return int(_WaitForSingleObject(handle, 0)) == _WAIT_TIMEOUT
