"""Job objects as groups of processes that can be ended together: Win32's calls for that, typed."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
from ctypes import wintypes
from typing import Final

__all__ = ["Group"]

_PROCESS_TERMINATE: Final = 0x0001
_PROCESS_SET_QUOTA: Final = 0x0100
#: The exit code of what is ended here: the same as that of `Popen.kill`.
_KILLED: Final = 1

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_CreateJobObject = _kernel32.CreateJobObjectW
_CreateJobObject.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
_CreateJobObject.restype = wintypes.HANDLE
_AssignProcessToJobObject = _kernel32.AssignProcessToJobObject
_AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
_AssignProcessToJobObject.restype = wintypes.BOOL
_TerminateJobObject = _kernel32.TerminateJobObject
_TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
_TerminateJobObject.restype = wintypes.BOOL
_OpenProcess = _kernel32.OpenProcess
_OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
_OpenProcess.restype = wintypes.HANDLE
_CloseHandle = _kernel32.CloseHandle
_CloseHandle.argtypes = (wintypes.HANDLE,)
_CloseHandle.restype = wintypes.BOOL


class Group:
    """A job without limits: what is in it, and what that starts, lives on when this object is gone."""

    def __init__(self) -> None:
        self._handle: int = _checked(_CreateJobObject(None, None))

    def add(self, pid: int) -> None:
        """Put a process of ours, and what it starts from now on, into the group. Raises OSError."""
        process = _checked(_OpenProcess(_PROCESS_TERMINATE | _PROCESS_SET_QUOTA, False, pid))
        try:
            _checked(_AssignProcessToJobObject(self._handle, process))
        finally:
            _CloseHandle(process)

    def kill(self) -> None:
        """End all of them. They are about to be gone when it returns."""
        if self._handle:
            _checked(_TerminateJobObject(self._handle, _KILLED))

    def close(self) -> None:
        """Have no more to do with them. Idempotent."""
        handle, self._handle = self._handle, 0
        if handle:
            _CloseHandle(handle)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()


def _checked(result: int | None) -> int:
    if not result:
        raise ctypes.WinError(ctypes.get_last_error())
    return result
