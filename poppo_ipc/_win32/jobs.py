"""Job objects: processes that can be counted, listed and ended together, with all that they start.

Nobody can leave a job that does not let its processes out. See
https://learn.microsoft.com/windows/win32/procthread/job-objects
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import struct
from ctypes import wintypes
from typing import Final

from .calls import (
    BOOL,
    DWORD,
    ERROR_MORE_DATA,
    HANDLE,
    KERNEL32,
    POINTER,
    TEXT,
    OwnedHandle,
    check,
    close_handle,
    declare,
)

__all__ = ["Job"]

_BASIC_ACCOUNTING: Final = 1
_PROCESS_LIST: Final = 3
_EXTENDED_LIMITS: Final = 9
_DIE_ON_UNHANDLED_EXCEPTION: Final = 0x0400
_KILL_ON_JOB_CLOSE: Final = 0x2000

_PROCESS_TERMINATE: Final = 0x0001
_PROCESS_SET_QUOTA: Final = 0x0100
_PROCESS_QUERY_INFORMATION: Final = 0x0400

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


_CreateJobObjectW = declare(KERNEL32, "CreateJobObjectW", HANDLE, POINTER, TEXT)
_AssignProcessToJobObject = declare(KERNEL32, "AssignProcessToJobObject", BOOL, HANDLE, HANDLE)
_SetInformation = declare(KERNEL32, "SetInformationJobObject", BOOL, HANDLE, ctypes.c_int, POINTER, DWORD)
_QueryInformation = declare(KERNEL32, "QueryInformationJobObject", BOOL, HANDLE, ctypes.c_int, POINTER, DWORD, POINTER)
_TerminateJobObject = declare(KERNEL32, "TerminateJobObject", BOOL, HANDLE, wintypes.UINT)
_IsProcessInJob = declare(KERNEL32, "IsProcessInJob", BOOL, HANDLE, HANDLE, ctypes.POINTER(BOOL))
_OpenProcess = declare(KERNEL32, "OpenProcess", HANDLE, DWORD, BOOL, DWORD)
_TerminateProcess = declare(KERNEL32, "TerminateProcess", BOOL, HANDLE, wintypes.UINT)


class Job(OwnedHandle):
    """A job object with no process in it yet; `handle` is for the start of one inside it. Raises OSError.

    Closing it gives the only handle back: unless the job is lasting, that ends whatever still runs in it.

    Args:
        lasting: whether what is in it lives on when the job is closed. Else that ends it, and so does the end of this
            process, however it comes, as Windows then closes the handle, the only one; and nothing in it stops at the
            box in which Windows tells of a crash, where nobody is to answer it.
    """

    def __init__(self, *, lasting: bool = False) -> None:
        self.handle = check(_CreateJobObjectW(None, None))
        if lasting:
            return
        limits = _ExtendedLimits()
        limits.basic.flags = _KILL_ON_JOB_CLOSE | _DIE_ON_UNHANDLED_EXCEPTION
        try:
            check(_SetInformation(self.handle, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)))
        except OSError:
            self.close()
            raise

    def add(self, pid: int) -> None:
        """Put a process of ours, and what it starts from now on, into the job. Raises OSError."""
        process = check(_OpenProcess(_PROCESS_TERMINATE | _PROCESS_SET_QUOTA, False, pid))
        try:
            check(_AssignProcessToJobObject(self.handle, process))
        finally:
            close_handle(process)

    @property
    def active(self) -> int:
        """Processes that have not ended."""
        found = _Accounting()
        check(_QueryInformation(self.handle, _BASIC_ACCOUNTING, ctypes.byref(found), ctypes.sizeof(found), None))
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
            if not done and ctypes.get_last_error() != ERROR_MORE_DATA:
                raise ctypes.WinError(ctypes.get_last_error())
            room = 2 * max(room, assigned)

    def kill(self, code: int) -> None:
        """End all processes, with this exit code. They are about to be gone when it returns."""
        check(_TerminateJobObject(self.handle, code))

    def kill_one(self, pid: int, code: int) -> None:
        """End one process, if it is of this job: its number may be another's by now."""
        process = _OpenProcess(_PROCESS_TERMINATE | _PROCESS_QUERY_INFORMATION, False, pid)
        if not process:
            return  # it has gone
        try:
            inside = BOOL()
            if _IsProcessInJob(process, self.handle, ctypes.byref(inside)) and inside.value:
                _TerminateProcess(process, code)  # refused for one that is about to go
        finally:
            close_handle(process)
