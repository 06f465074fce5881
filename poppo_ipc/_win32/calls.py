"""How Windows is called: its libraries, prototypes and errors, and what the calls of several subjects take.

A call that fails raises OSError with its `winerror`.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
from ctypes import wintypes
from typing import Any, Final

__all__ = [
    "ADVAPI32",
    "BOOL",
    "DWORD",
    "ERROR_ACCESS_DENIED",
    "ERROR_BAD_PATHNAME",
    "ERROR_BROKEN_PIPE",
    "ERROR_FILE_NOT_FOUND",
    "ERROR_INVALID_NAME",
    "ERROR_IO_PENDING",
    "ERROR_LOCK_VIOLATION",
    "ERROR_MORE_DATA",
    "ERROR_NOT_FOUND",
    "ERROR_NO_DATA",
    "ERROR_PIPE_BUSY",
    "ERROR_PIPE_CONNECTED",
    "ERROR_PIPE_NOT_CONNECTED",
    "GENERIC_READ",
    "GENERIC_WRITE",
    "HANDLE",
    "KERNEL32",
    "OPEN_EXISTING",
    "PDWORD",
    "POINTER",
    "POVERLAPPED",
    "PPOINTER",
    "TEXT",
    "Overlapped",
    "OwnedHandle",
    "SecurityAttributes",
    "check",
    "check_handle",
    "close_handle",
    "declare",
]

ERROR_FILE_NOT_FOUND: Final = 2
ERROR_ACCESS_DENIED: Final = 5
ERROR_LOCK_VIOLATION: Final = 33
ERROR_BROKEN_PIPE: Final = 109
ERROR_INVALID_NAME: Final = 123
ERROR_BAD_PATHNAME: Final = 161
ERROR_PIPE_BUSY: Final = 231
ERROR_NO_DATA: Final = 232
ERROR_PIPE_NOT_CONNECTED: Final = 233
ERROR_MORE_DATA: Final = 234
ERROR_PIPE_CONNECTED: Final = 535
ERROR_IO_PENDING: Final = 997
ERROR_NOT_FOUND: Final = 1168

GENERIC_READ: Final = 0x80000000
GENERIC_WRITE: Final = 0x40000000
OPEN_EXISTING: Final = 3

_INVALID_HANDLE: Final = ctypes.c_void_p(-1).value
_STATUS_PENDING: Final = 0x103


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

    @classmethod
    def of(cls, descriptor: ctypes.c_void_p | None, *, inheritable: bool = False) -> SecurityAttributes:
        """With its size filled in; `descriptor` has to stay alive as long as this."""
        return cls(ctypes.sizeof(cls), descriptor, inheritable)


KERNEL32: Final = ctypes.WinDLL("kernel32", use_last_error=True)
ADVAPI32: Final = ctypes.WinDLL("advapi32", use_last_error=True)

HANDLE, DWORD, BOOL, TEXT, POINTER = (
    wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR, ctypes.c_void_p
)  # fmt: skip
PDWORD, PPOINTER, POVERLAPPED = (ctypes.POINTER(each) for each in (wintypes.DWORD, ctypes.c_void_p, Overlapped))


def declare(library: ctypes.WinDLL, name: str, result: Any, *arguments: Any) -> Any:
    """The function of this name, with the types of its result and its arguments.

    Each file has its own, with what it calls: so declared, a function is an object of that file's alone.
    """
    function = library[name]
    function.restype = result
    function.argtypes = arguments
    return function


_CloseHandle = declare(KERNEL32, "CloseHandle", BOOL, HANDLE)


def check(result: int | None) -> int:
    """The result of a call that fails with 0."""
    if not result:
        raise ctypes.WinError(ctypes.get_last_error())
    return result


def check_handle(handle: int | None) -> int:
    """The handle that a call gave which makes one."""
    if handle is None or handle == _INVALID_HANDLE:
        raise ctypes.WinError(ctypes.get_last_error())
    return handle


def close_handle(handle: int) -> None:
    """Close any handle."""
    check(_CloseHandle(handle))


class OwnedHandle:
    """A handle that goes with this object at the latest."""

    handle: int = 0  # for close, where none could be made

    def close(self) -> None:
        """Close it before that. Idempotent."""
        handle, self.handle = self.handle, 0
        if handle:
            close_handle(handle)

    def __del__(self) -> None:
        self.close()
