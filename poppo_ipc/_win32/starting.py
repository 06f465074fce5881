"""Starting a process inside a job, with the handles that it is to have and no others.

`subprocess` can name the handles but not the job; and a process that is put into its job after its start may have
started another before that, or be left for ever where this process dies in between.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from ctypes import wintypes
from typing import Final

from .calls import BOOL, DWORD, KERNEL32, POINTER, TEXT, check, close_handle, declare

__all__ = ["start_in_job"]

_PROC_THREAD_ATTRIBUTE_HANDLE_LIST: Final = 0x00020002
_PROC_THREAD_ATTRIBUTE_JOB_LIST: Final = 0x0002000D
_CREATE_UNICODE_ENVIRONMENT: Final = 0x00000400
_EXTENDED_STARTUPINFO_PRESENT: Final = 0x00080000
_STARTF_USESTDHANDLES: Final = 0x00000100


class _StartupInfo(ctypes.Structure):
    _fields_ = (
        ("size", wintypes.DWORD),
        ("reserved", wintypes.LPWSTR),
        ("desktop", wintypes.LPWSTR),
        ("title", wintypes.LPWSTR),
        ("x", wintypes.DWORD),
        ("y", wintypes.DWORD),
        ("x_size", wintypes.DWORD),
        ("y_size", wintypes.DWORD),
        ("x_chars", wintypes.DWORD),
        ("y_chars", wintypes.DWORD),
        ("fill", wintypes.DWORD),
        ("flags", wintypes.DWORD),
        ("show", wintypes.WORD),
        ("reserved_size", wintypes.WORD),
        ("reserved_data", wintypes.LPVOID),
        ("stdin", wintypes.HANDLE),
        ("stdout", wintypes.HANDLE),
        ("stderr", wintypes.HANDLE),
        # STARTUPINFOEX
        ("attributes", wintypes.LPVOID),
    )


class _ProcessInformation(ctypes.Structure):
    _fields_ = (
        ("process", wintypes.HANDLE),
        ("thread", wintypes.HANDLE),
        ("pid", wintypes.DWORD),
        ("tid", wintypes.DWORD),
    )


_CreateProcessW = declare(
    KERNEL32, "CreateProcessW",
    BOOL, TEXT, wintypes.LPWSTR, POINTER, POINTER, BOOL, DWORD, POINTER, TEXT,
    ctypes.POINTER(_StartupInfo), ctypes.POINTER(_ProcessInformation),
)  # fmt: skip
_InitializeAttributes = declare(
    KERNEL32, "InitializeProcThreadAttributeList", BOOL, POINTER, DWORD, DWORD, ctypes.POINTER(ctypes.c_size_t)
)
_UpdateAttribute = declare(
    KERNEL32, "UpdateProcThreadAttribute", BOOL, POINTER, DWORD, ctypes.c_size_t, POINTER, ctypes.c_size_t, POINTER,
    POINTER,
)  # fmt: skip
_DeleteAttributes = declare(KERNEL32, "DeleteProcThreadAttributeList", None, POINTER)


def start_in_job(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    job: int,
    streams: tuple[int, int, int],
    handles: Sequence[int],
) -> tuple[int, int]:
    """Start a process in a job, in a console of its own without a window; gives its handle and its number.

    It gets the `streams` as stdin, stdout and stderr, and the `handles`; all of them must be inheritable. Raises
    OSError where it cannot be started.
    """
    inherited = _handle_array(*{*streams, *handles})
    jobs = _handle_array(job)
    size = ctypes.c_size_t()
    _InitializeAttributes(None, 2, 0, ctypes.byref(size))  # fails, and tells the size
    attributes = ctypes.create_string_buffer(size.value)
    check(_InitializeAttributes(attributes, 2, 0, ctypes.byref(size)))
    try:
        for number, array in ((_PROC_THREAD_ATTRIBUTE_HANDLE_LIST, inherited), (_PROC_THREAD_ATTRIBUTE_JOB_LIST, jobs)):
            check(_UpdateAttribute(attributes, 0, number, array, ctypes.sizeof(array), None, None))
        startup = _StartupInfo(size=ctypes.sizeof(_StartupInfo), flags=_STARTF_USESTDHANDLES)
        startup.stdin, startup.stdout, startup.stderr = streams
        startup.attributes = ctypes.addressof(attributes)
        line = ctypes.create_unicode_buffer(subprocess.list2cmdline(command))
        block = ctypes.create_unicode_buffer(_environment_block(environment))
        flags = subprocess.CREATE_NO_WINDOW | _CREATE_UNICODE_ENVIRONMENT | _EXTENDED_STARTUPINFO_PRESENT
        made = _ProcessInformation()
        check(
            _CreateProcessW(
                command[0], line, None, None, True, flags, block, None, ctypes.byref(startup), ctypes.byref(made)
            )
        )
    finally:
        _DeleteAttributes(attributes)
    close_handle(made.thread)
    return int(made.process), int(made.pid)


def _handle_array(*handles: int) -> ctypes.Array[wintypes.HANDLE]:
    return (wintypes.HANDLE * len(handles))(*handles)


def _environment_block(environment: Mapping[str, str]) -> str:
    """The strings in the order of their names, as Windows wants them, with an end of their own."""
    names = sorted(environment, key=str.upper)
    return "".join(f"{name}={environment[name]}\0" for name in names) + "\0"
