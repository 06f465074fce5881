"""Job objects: what a worker and all that it starts are in, and cannot leave. The foreign calls of that subject.

A job made here kills its processes when its last handle is closed, and its only handle is the daemon's: however the
daemon ends, Windows closes it. See https://learn.microsoft.com/windows/win32/procthread/job-objects
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import struct
from ctypes import wintypes
from typing import Final

__all__ = ["Job"]

_BASIC_ACCOUNTING: Final = 1
_PROCESS_LIST: Final = 3
_EXTENDED_LIMITS: Final = 9
_DIE_ON_UNHANDLED_EXCEPTION: Final = 0x0400
_KILL_ON_JOB_CLOSE: Final = 0x2000

_PROCESS_TERMINATE: Final = 0x0001
_PROCESS_QUERY_INFORMATION: Final = 0x0400

_ERROR_MORE_DATA: Final = 234

#: Processes that a list has room for at first, and the room of its two counts.
_FEW: Final = 64
_COUNTS_SIZE: Final = 8 // ctypes.sizeof(ctypes.c_size_t)


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("per_process_time", ctypes.c_int64),
        ("per_job_time", ctypes.c_int64),
        ("flags", wintypes.DWORD),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_process_limit", wintypes.DWORD),
        ("affinity", ctypes.c_size_t),
        ("priority_class", wintypes.DWORD),
        ("scheduling_class", wintypes.DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("basic", _BasicLimits),
        ("io", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class _Accounting(ctypes.Structure):
    _fields_ = (
        ("times", ctypes.c_int64 * 4),
        ("page_faults", wintypes.DWORD),
        ("total", wintypes.DWORD),
        ("active", wintypes.DWORD),
        ("terminated", wintypes.DWORD),
    )


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)

_CreateJobObject = _kernel32.CreateJobObjectW
_CreateJobObject.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
_CreateJobObject.restype = wintypes.HANDLE
_SetInformation = _kernel32.SetInformationJobObject
_SetInformation.argtypes = (wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD)
_SetInformation.restype = wintypes.BOOL
_QueryInformation = _kernel32.QueryInformationJobObject
_QueryInformation.argtypes = (wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD, wintypes.LPVOID)
_QueryInformation.restype = wintypes.BOOL
_TerminateJobObject = _kernel32.TerminateJobObject
_TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
_TerminateJobObject.restype = wintypes.BOOL
_IsProcessInJob = _kernel32.IsProcessInJob
_IsProcessInJob.argtypes = (wintypes.HANDLE, wintypes.HANDLE, ctypes.POINTER(wintypes.BOOL))
_IsProcessInJob.restype = wintypes.BOOL
_OpenProcess = _kernel32.OpenProcess
_OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
_OpenProcess.restype = wintypes.HANDLE
_TerminateProcess = _kernel32.TerminateProcess
_TerminateProcess.argtypes = (wintypes.HANDLE, wintypes.UINT)
_TerminateProcess.restype = wintypes.BOOL
_CloseHandle = _kernel32.CloseHandle
_CloseHandle.argtypes = (wintypes.HANDLE,)
_CloseHandle.restype = wintypes.BOOL


class Job:
    """A job object with no process in it yet; `handle` is for the start of one inside it. Raises OSError."""

    def __init__(self) -> None:
        self.handle: int = _CreateJobObject(None, None) or 0
        _check(self.handle)
        limits = _ExtendedLimits()
        # Nobody is there to answer the box in which Windows would tell of a crash.
        limits.basic.flags = _KILL_ON_JOB_CLOSE | _DIE_ON_UNHANDLED_EXCEPTION
        try:
            _check(_SetInformation(self.handle, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)))
        except OSError:
            self.close()
            raise

    @property
    def active(self) -> int:
        """Processes that have not ended."""
        found = _Accounting()
        _check(_QueryInformation(self.handle, _BASIC_ACCOUNTING, ctypes.byref(found), ctypes.sizeof(found), None))
        return int(found.active)

    def processes(self) -> list[int]:
        """The numbers of the processes that have not ended."""
        # JOBOBJECT_BASIC_PROCESS_ID_LIST: two counts of 32 bits, then the numbers, each of the size of a pointer.
        room = _FEW
        while True:
            found = (ctypes.c_size_t * (_COUNTS_SIZE + room))()
            done = _QueryInformation(self.handle, _PROCESS_LIST, found, ctypes.sizeof(found), None)
            assigned, count = struct.unpack_from("II", found)
            if done and count >= assigned:
                return found[_COUNTS_SIZE : _COUNTS_SIZE + count]
            if not done and ctypes.get_last_error() != _ERROR_MORE_DATA:
                raise ctypes.WinError(ctypes.get_last_error())
            room = 2 * max(room, assigned)

    def kill(self, code: int) -> None:
        """End all processes, with this exit code. They are about to be gone when it returns."""
        _check(_TerminateJobObject(self.handle, code))

    def kill_one(self, pid: int, code: int) -> None:
        """End one process, if it is of this job: its number may be another's by now."""
        process = _OpenProcess(_PROCESS_TERMINATE | _PROCESS_QUERY_INFORMATION, False, pid)
        if not process:
            return  # it has gone
        try:
            inside = wintypes.BOOL()
            if _IsProcessInJob(process, self.handle, ctypes.byref(inside)) and inside.value:
                _TerminateProcess(process, code)  # refused for one that is about to go
        finally:
            _CloseHandle(process)

    def close(self) -> None:
        """Give the handle back; it is the last one, so this ends whatever still runs. Idempotent."""
        handle, self.handle = self.handle, 0
        if handle:
            _CloseHandle(handle)


def _check(done: int) -> None:
    if not done:
        raise ctypes.WinError(ctypes.get_last_error())
