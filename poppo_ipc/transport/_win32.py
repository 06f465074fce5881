"""Win32's calls for named pipes and overlapped I/O, typed. A call that fails raises OSError with its `winerror`."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import time
from collections.abc import Sequence
from ctypes import wintypes
from typing import Any, Final

__all__ = [
    "ERROR_ACCESS_DENIED",
    "ERROR_BAD_PATHNAME",
    "ERROR_BROKEN_PIPE",
    "ERROR_FILE_NOT_FOUND",
    "ERROR_INVALID_NAME",
    "ERROR_IO_PENDING",
    "ERROR_NO_DATA",
    "ERROR_OPERATION_ABORTED",
    "ERROR_PIPE_BUSY",
    "ERROR_PIPE_NOT_CONNECTED",
    "Event",
    "Overlapped",
    "SecurityAttributes",
    "cancel",
    "client_process",
    "close_handle",
    "connect_instance",
    "create_instance",
    "error_of",
    "flush",
    "open_client",
    "peek",
    "process_runs",
    "read",
    "server_process",
    "settle",
    "wait_any",
    "write",
]

ERROR_FILE_NOT_FOUND: Final = 2
ERROR_ACCESS_DENIED: Final = 5
ERROR_BROKEN_PIPE: Final = 109
ERROR_INVALID_NAME: Final = 123
ERROR_BAD_PATHNAME: Final = 161
ERROR_PIPE_BUSY: Final = 231
ERROR_NO_DATA: Final = 232
ERROR_PIPE_NOT_CONNECTED: Final = 233
ERROR_OPERATION_ABORTED: Final = 995
ERROR_IO_PENDING: Final = 997
_ERROR_PIPE_CONNECTED: Final = 535
_ERROR_NOT_FOUND: Final = 1168

_SYNCHRONIZE: Final = 0x100000
_INVALID_HANDLE: Final = ctypes.c_void_p(-1).value
_STATUS_PENDING: Final = 0x103
_WAIT_FAILED: Final = 0xFFFFFFFF
_WAIT_TIMEOUT: Final = 258
_INFINITE: Final = 0xFFFFFFFF

PIPE_ACCESS_DUPLEX: Final = 0x3
FILE_FLAG_FIRST_PIPE_INSTANCE: Final = 0x80000
FILE_FLAG_OVERLAPPED: Final = 0x40000000
PIPE_REJECT_REMOTE_CLIENTS: Final = 0x8  # in the default mode: bytes, waiting
PIPE_UNLIMITED_INSTANCES: Final = 255
GENERIC_READ: Final = 0x80000000
GENERIC_WRITE: Final = 0x40000000
OPEN_EXISTING: Final = 3
SECURITY_SQOS_PRESENT: Final = 0x100000
SECURITY_IDENTIFICATION: Final = 0x10000

_BUFFER_BYTES: Final = 65536
_UNKNOWN_SECONDS: Final = 1.0


class Overlapped(ctypes.Structure):
    """One operation: `Internal` is its state, `InternalHigh` the bytes moved. It must stay alive until that is over."""

    Internal: int
    InternalHigh: int
    _fields_ = (
        ("Internal", ctypes.c_size_t),
        ("InternalHigh", ctypes.c_size_t),
        ("Offset", wintypes.DWORD),
        ("OffsetHigh", wintypes.DWORD),
        ("hEvent", ctypes.c_size_t),
    )

    @property
    def pending(self) -> bool:
        """Whether the system is still at it."""
        return self.Internal == _STATUS_PENDING


class SecurityAttributes(ctypes.Structure):
    """For a handle that is made: its descriptor, or None, and whether processes that are started may inherit it."""

    _fields_ = (
        ("nLength", wintypes.DWORD),
        ("lpSecurityDescriptor", ctypes.c_void_p),
        ("bInheritHandle", wintypes.BOOL),
    )


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_ntdll = ctypes.WinDLL("ntdll")


def _declare(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_kernel32, name)
    function.restype = result
    function.argtypes = arguments
    return function


_HANDLE, _DWORD, _BOOL = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL
_PDWORD, _POVERLAPPED = ctypes.POINTER(wintypes.DWORD), ctypes.POINTER(Overlapped)
_CreateNamedPipeW = _declare(
    "CreateNamedPipeW",
    _HANDLE, wintypes.LPCWSTR, _DWORD, _DWORD, _DWORD, _DWORD, _DWORD, _DWORD, ctypes.POINTER(SecurityAttributes),
)  # fmt: skip
_CreateFileW = _declare(
    "CreateFileW", _HANDLE, wintypes.LPCWSTR, _DWORD, _DWORD, ctypes.c_void_p, _DWORD, _DWORD, _HANDLE
)
_ConnectNamedPipe = _declare("ConnectNamedPipe", _BOOL, _HANDLE, _POVERLAPPED)
_ReadFile = _declare("ReadFile", _BOOL, _HANDLE, ctypes.c_void_p, _DWORD, _PDWORD, _POVERLAPPED)
_WriteFile = _declare("WriteFile", _BOOL, _HANDLE, ctypes.c_void_p, _DWORD, _PDWORD, _POVERLAPPED)
_PeekNamedPipe = _declare("PeekNamedPipe", _BOOL, _HANDLE, ctypes.c_void_p, _DWORD, _PDWORD, _PDWORD, _PDWORD)
_FlushFileBuffers = _declare("FlushFileBuffers", _BOOL, _HANDLE)
_CancelIoEx = _declare("CancelIoEx", _BOOL, _HANDLE, _POVERLAPPED)
_OpenProcess = _declare("OpenProcess", _HANDLE, _DWORD, _BOOL, _DWORD)
_CloseHandle = _declare("CloseHandle", _BOOL, _HANDLE)
_GetNamedPipeClientProcessId = _declare("GetNamedPipeClientProcessId", _BOOL, _HANDLE, _PDWORD)
_GetNamedPipeServerProcessId = _declare("GetNamedPipeServerProcessId", _BOOL, _HANDLE, _PDWORD)
_CreateEventW = _declare("CreateEventW", _HANDLE, ctypes.c_void_p, _BOOL, _BOOL, wintypes.LPCWSTR)
_SetEvent = _declare("SetEvent", _BOOL, _HANDLE)
_WaitForMultipleObjects = _declare(
    "WaitForMultipleObjects", _DWORD, _DWORD, ctypes.POINTER(wintypes.HANDLE), _BOOL, _DWORD
)
_SwitchToThread = _declare("SwitchToThread", _BOOL)
_RtlNtStatusToDosError = _ntdll.RtlNtStatusToDosError
_RtlNtStatusToDosError.restype = wintypes.ULONG
_RtlNtStatusToDosError.argtypes = (ctypes.c_long,)


def _check(ok: object) -> None:
    if not ok:
        raise ctypes.WinError(ctypes.get_last_error())


def _handle(value: int | None) -> int:
    if value is None or value == _INVALID_HANDLE:
        raise ctypes.WinError(ctypes.get_last_error())
    return value


# -- making and opening --------------------------------------------------------------------------------------------


def create_instance(path: str, *, first: bool, security: SecurityAttributes) -> int:
    """A new server's end of the pipe `path`, for overlapped I/O in bytes, closed to other machines.

    `first`: fail with ERROR_ACCESS_DENIED where the pipe exists already.
    """
    flags = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | (FILE_FLAG_FIRST_PIPE_INSTANCE if first else 0)
    return _handle(
        _CreateNamedPipeW(
            path,
            flags,
            PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            _BUFFER_BYTES,
            _BUFFER_BYTES,
            0,
            ctypes.byref(security),
        )
    )


def connect_instance(handle: int, operation: Overlapped) -> bool:
    """Have the instance wait for a client; False where one is there already, and then nothing is pending."""
    if _ConnectNamedPipe(handle, ctypes.byref(operation)):
        return False
    error = ctypes.get_last_error()
    if error == _ERROR_PIPE_CONNECTED:
        return False
    if error != ERROR_IO_PENDING:
        raise ctypes.WinError(error)
    return True


def open_client(path: str) -> int:
    """A client's end of the pipe `path`, whose server may learn who we are but not act as us."""
    flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION
    return _handle(_CreateFileW(path, GENERIC_READ | GENERIC_WRITE, 0, None, OPEN_EXISTING, flags, None))


def client_process(handle: int) -> int:
    """The process that opened the other end of a server's end."""
    pid = wintypes.DWORD()
    _check(_GetNamedPipeClientProcessId(handle, ctypes.byref(pid)))
    return pid.value


def server_process(handle: int) -> int:
    """The process that made the other end of a client's end."""
    pid = wintypes.DWORD()
    _check(_GetNamedPipeServerProcessId(handle, ctypes.byref(pid)))
    return pid.value


def process_runs(pid: int) -> bool:
    """Whether a process of this number runs, also one that is not ours to look into."""
    process = _OpenProcess(_SYNCHRONIZE, False, pid)
    if not process:
        return ctypes.get_last_error() == ERROR_ACCESS_DENIED
    try:
        return _wait_any([process], 0) is None
    finally:
        close_handle(process)


def close_handle(handle: int) -> None:
    """Close any handle."""
    _check(_CloseHandle(handle))


# -- bytes ---------------------------------------------------------------------------------------------------------


def peek(handle: int) -> int:
    """How many bytes can be read now."""
    there = wintypes.DWORD()
    _check(_PeekNamedPipe(handle, None, 0, None, ctypes.byref(there), None))
    return there.value


def read(handle: int, buffer: bytearray, size: int, operation: Overlapped) -> bool:
    """Begin to read up to `size` bytes into `buffer`, which is not empty; False if that is over already."""
    target = ctypes.byref(ctypes.c_char.from_buffer(buffer))
    return _begun(_ReadFile(handle, target, size, None, ctypes.byref(operation)))


def flush(handle: int) -> None:
    """Wait until the other end has read all that was written, or has gone. Nothing else ends it."""
    _check(_FlushFileBuffers(handle))


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


def error_of(operation: Overlapped) -> int:
    """How the operation ended, 0 for well."""
    if operation.Internal == 0:
        return 0
    return int(_RtlNtStatusToDosError(ctypes.c_long(operation.Internal & 0xFFFFFFFF)))


def cancel(handle: int, operation: Overlapped) -> bool:
    """Ask the system to give an operation up; whether it knew of it. It is over once it is no longer `pending`."""
    if not _CancelIoEx(handle, ctypes.byref(operation)):
        error = ctypes.get_last_error()
        if error != _ERROR_NOT_FOUND:  # it is over
            raise ctypes.WinError(error)
        return False
    return True


def settle(handle: int, operation: Overlapped) -> None:
    """Give an operation up and wait until it is over, which for one that was given up is at once."""
    known = cancel(handle, operation)
    # One that failed as it began may look pending for ever, where Ctrl-C came before that was seen.
    latest = time.monotonic() + _UNKNOWN_SECONDS
    while operation.pending and (known or time.monotonic() < latest):
        _SwitchToThread()


# -- waiting -------------------------------------------------------------------------------------------------------


class Event:
    """An event that stays set until an operation that has it begins. Its handle is closed with this object."""

    handle = 0  # for __del__, where none could be made

    def __init__(self) -> None:
        self.handle = _handle(_CreateEventW(None, True, False, None))

    def set(self) -> None:
        """Set it."""
        _check(_SetEvent(self.handle))

    def __del__(self) -> None:
        if self.handle:
            close_handle(self.handle)


def wait_any(events: Sequence[Event], seconds: float | None) -> int | None:
    """Wait until one of `events` is set and give its index; None once the time is over. Blocks the thread."""
    return _wait_any([event.handle for event in events], seconds)


def _wait_any(handles: Sequence[int], seconds: float | None) -> int | None:
    milliseconds = _INFINITE if seconds is None else min(max(0, round(seconds * 1000)), _INFINITE - 1)
    array = (wintypes.HANDLE * len(handles))(*handles)
    which = int(_WaitForMultipleObjects(len(handles), array, False, milliseconds))
    if which == _WAIT_FAILED:
        raise ctypes.WinError(ctypes.get_last_error())
    return None if which == _WAIT_TIMEOUT else which
