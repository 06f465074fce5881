"""Named pipes, and operations on them that are begun and end later (overlapped I/O)."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import time
from ctypes import wintypes
from typing import Final

from .calls import (
    BOOL,
    DWORD,
    ERROR_BROKEN_PIPE,
    ERROR_IO_PENDING,
    ERROR_NO_DATA,
    ERROR_NOT_FOUND,
    ERROR_PIPE_CONNECTED,
    ERROR_PIPE_NOT_CONNECTED,
    GENERIC_READ,
    GENERIC_WRITE,
    HANDLE,
    KERNEL32,
    OPEN_EXISTING,
    PDWORD,
    POINTER,
    POVERLAPPED,
    TEXT,
    Overlapped,
    SecurityAttributes,
    check,
    check_handle,
    declare,
)
from .files import create_file

__all__ = [
    "FILE_FLAG_FIRST_PIPE_INSTANCE",
    "FILE_FLAG_OVERLAPPED",
    "PIPE_ACCESS_DUPLEX",
    "PIPE_ACCESS_INBOUND",
    "PIPE_ACCESS_OUTBOUND",
    "PIPE_REJECT_REMOTE_CLIENTS",
    "PIPE_UNLIMITED_INSTANCES",
    "SECURITY_IDENTIFICATION",
    "SECURITY_SQOS_PRESENT",
    "cancel",
    "cancel_all",
    "client_process",
    "connect_instance",
    "create_instance",
    "error_of",
    "flush",
    "has_gone",
    "open_client",
    "peek",
    "read",
    "result_of",
    "server_process",
    "settle",
    "write",
]

PIPE_ACCESS_INBOUND: Final = 0x1
PIPE_ACCESS_OUTBOUND: Final = 0x2
PIPE_ACCESS_DUPLEX: Final = 0x3
FILE_FLAG_FIRST_PIPE_INSTANCE: Final = 0x80000
FILE_FLAG_OVERLAPPED: Final = 0x40000000
PIPE_REJECT_REMOTE_CLIENTS: Final = 0x8  # in the default mode: bytes, waiting
PIPE_UNLIMITED_INSTANCES: Final = 255
SECURITY_SQOS_PRESENT: Final = 0x100000
SECURITY_IDENTIFICATION: Final = 0x10000

#: Bytes that a pipe holds before its writer waits.
_PIPE_BYTES: Final = 65536
_UNKNOWN_SECONDS: Final = 1.0
_GONE: Final = frozenset({ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED})

_CreateNamedPipeW = declare(
    KERNEL32,
    "CreateNamedPipeW",
    HANDLE, TEXT, DWORD, DWORD, DWORD, DWORD, DWORD, DWORD, ctypes.POINTER(SecurityAttributes),
)  # fmt: skip
_ConnectNamedPipe = declare(KERNEL32, "ConnectNamedPipe", BOOL, HANDLE, POVERLAPPED)
_ReadFile = declare(KERNEL32, "ReadFile", BOOL, HANDLE, POINTER, DWORD, PDWORD, POVERLAPPED)
_WriteFile = declare(KERNEL32, "WriteFile", BOOL, HANDLE, POINTER, DWORD, PDWORD, POVERLAPPED)
_PeekNamedPipe = declare(KERNEL32, "PeekNamedPipe", BOOL, HANDLE, POINTER, DWORD, PDWORD, PDWORD, PDWORD)
_FlushFileBuffers = declare(KERNEL32, "FlushFileBuffers", BOOL, HANDLE)
_GetOverlappedResult = declare(KERNEL32, "GetOverlappedResult", BOOL, HANDLE, POVERLAPPED, PDWORD, BOOL)
_CancelIoEx = declare(KERNEL32, "CancelIoEx", BOOL, HANDLE, POVERLAPPED)
_GetNamedPipeClientProcessId = declare(KERNEL32, "GetNamedPipeClientProcessId", BOOL, HANDLE, PDWORD)
_GetNamedPipeServerProcessId = declare(KERNEL32, "GetNamedPipeServerProcessId", BOOL, HANDLE, PDWORD)
_SwitchToThread = declare(KERNEL32, "SwitchToThread", BOOL)
_RtlNtStatusToDosError = declare(ctypes.WinDLL("ntdll"), "RtlNtStatusToDosError", wintypes.ULONG, ctypes.c_long)


# -- making and opening --------------------------------------------------------------------------------------------


def create_instance(
    path: str,
    *,
    first: bool,
    security: SecurityAttributes,
    access: int = PIPE_ACCESS_DUPLEX,
    instances: int = PIPE_UNLIMITED_INSTANCES,
) -> int:
    """A new server's end of the pipe `path`, for overlapped I/O in bytes, closed to other machines.

    `first`: fail with ERROR_ACCESS_DENIED where the pipe exists already. `instances`: how many there may be of it.
    """
    flags = access | FILE_FLAG_OVERLAPPED | (FILE_FLAG_FIRST_PIPE_INSTANCE if first else 0)
    return check_handle(
        _CreateNamedPipeW(
            path,
            flags,
            PIPE_REJECT_REMOTE_CLIENTS,
            instances,
            _PIPE_BYTES,
            _PIPE_BYTES,
            0,
            ctypes.byref(security),
        )
    )


def connect_instance(handle: int, operation: Overlapped) -> bool:
    """Have the instance wait for a client; False where one is there already, and then nothing is pending."""
    if _ConnectNamedPipe(handle, ctypes.byref(operation)):
        return False
    error = ctypes.get_last_error()
    if error == ERROR_PIPE_CONNECTED:
        return False
    if error != ERROR_IO_PENDING:
        raise ctypes.WinError(error)
    return True


def open_client(path: str) -> int:
    """A client's end of the pipe `path`, whose server may learn who we are but not act as us."""
    flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION
    return create_file(path, GENERIC_READ | GENERIC_WRITE, 0, None, OPEN_EXISTING, flags)


def client_process(handle: int) -> int:
    """The process that opened the other end of a server's end."""
    pid = wintypes.DWORD()
    check(_GetNamedPipeClientProcessId(handle, ctypes.byref(pid)))
    return pid.value


def server_process(handle: int) -> int:
    """The process that made the other end of a client's end."""
    pid = wintypes.DWORD()
    check(_GetNamedPipeServerProcessId(handle, ctypes.byref(pid)))
    return pid.value


# -- bytes ---------------------------------------------------------------------------------------------------------


def peek(handle: int) -> int:
    """How many bytes can be read now."""
    there = wintypes.DWORD()
    check(_PeekNamedPipe(handle, None, 0, None, ctypes.byref(there), None))
    return there.value


def read(handle: int, buffer: bytearray, size: int, operation: Overlapped) -> bool:
    """Begin to read up to `size` bytes into `buffer`, which is not empty; False if that is over already."""
    target = ctypes.byref(ctypes.c_char.from_buffer(buffer))
    return _begun(_ReadFile(handle, target, size, None, ctypes.byref(operation)))


def flush(handle: int) -> None:
    """Wait until the other end has read all that was written, or has gone. Nothing else ends it."""
    check(_FlushFileBuffers(handle))


def write(handle: int, data: bytes, operation: Overlapped) -> bool:
    """Begin to write `data`, which has to stay alive until that is over; False if it is already."""
    return _begun(_WriteFile(handle, data, len(data), None, ctypes.byref(operation)))


def _begun(ok: object) -> bool:
    if ok:
        return False
    error = ctypes.get_last_error()
    if error != ERROR_IO_PENDING:
        raise ctypes.WinError(error)
    return True


def result_of(handle: int, operation: Overlapped) -> int:
    """Wait until an operation is over that has an event of its own; gives the bytes moved."""
    moved = wintypes.DWORD()
    check(_GetOverlappedResult(handle, ctypes.byref(operation), ctypes.byref(moved), True))
    return moved.value


def error_of(operation: Overlapped) -> int:
    """How the operation ended, 0 for well."""
    if operation.Internal == 0:
        return 0
    return int(_RtlNtStatusToDosError(ctypes.c_long(operation.Internal & 0xFFFFFFFF)))


def has_gone(error: OSError) -> bool:
    """Whether an error of a pipe says that there is nobody at the other end."""
    return error.winerror in _GONE


def cancel(handle: int, operation: Overlapped) -> bool:
    """Ask the system to give an operation up; whether it knew of it. It is over once it is no longer `pending`."""
    if not _CancelIoEx(handle, ctypes.byref(operation)):
        error = ctypes.get_last_error()
        if error != ERROR_NOT_FOUND:  # it is over
            raise ctypes.WinError(error)
        return False
    return True


def cancel_all(handle: int) -> None:
    """Ask the system to give up whatever waits on a handle."""
    _CancelIoEx(handle, None)  # fails where nothing waits


def settle(handle: int, operation: Overlapped) -> None:
    """Give an operation up and wait until it is over, which for one that was given up is at once."""
    known = cancel(handle, operation)
    # One that failed as it began may look pending for ever, where Ctrl-C came before that was seen.
    latest = time.monotonic() + _UNKNOWN_SECONDS
    while operation.pending and (known or time.monotonic() < latest):
        _SwitchToThread()
