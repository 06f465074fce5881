"""Pipes between the daemon and a worker: one end for overlapped calls, the other to be inherited and for plain ones.

Not those of `CreatePipe`, whose calls cannot overlap. Their names are known to nobody, they have one instance, are for
this user and the system alone, refuse other machines, and their other end is opened at once, so that nobody else can.
The foreign calls of that subject.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import secrets
from ctypes import wintypes
from typing import Final

from poppo_ipc.daemon.workers._win32_start import close_handle
from poppo_ipc.transport._pipe_rules import descriptor_text
from poppo_ipc.transport._win32 import (
    ERROR_BROKEN_PIPE,
    ERROR_IO_PENDING,
    ERROR_NO_DATA,
    ERROR_PIPE_NOT_CONNECTED,
    Overlapped,
    SecurityAttributes,
    peek,
)
from poppo_ipc.transport._win32_security import Descriptor, own_sid

__all__ = ["BROKEN", "cancel_io", "open_null", "pipe_from", "pipe_to", "read_now"]

#: What a call answers where the other end is closed.
BROKEN: Final = (ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED)

_PIPE_ACCESS_INBOUND: Final = 0x00000001
_PIPE_ACCESS_OUTBOUND: Final = 0x00000002
_FILE_FLAG_FIRST_PIPE_INSTANCE: Final = 0x00080000
_FILE_FLAG_OVERLAPPED: Final = 0x40000000
_PIPE_REJECT_REMOTE_CLIENTS: Final = 0x00000008  # and 0: bytes, blocking
_GENERIC_READ: Final = 0x80000000
_GENERIC_WRITE: Final = 0x40000000
_FILE_SHARE_READ_AND_WRITE: Final = 0x00000003
_OPEN_EXISTING: Final = 3
_INVALID_HANDLE: Final = ctypes.c_void_p(-1).value

#: Bytes that a pipe holds before its writer waits.
_PIPE_BYTES: Final = 65536


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)

_CreateNamedPipe = _kernel32.CreateNamedPipeW
_CreateNamedPipe.argtypes = (
    wintypes.LPCWSTR,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.LPVOID,
)
_CreateNamedPipe.restype = wintypes.HANDLE
_CreateFile = _kernel32.CreateFileW
_CreateFile.argtypes = (
    wintypes.LPCWSTR,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.LPVOID,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.HANDLE,
)
_CreateFile.restype = wintypes.HANDLE
_ReadFile = _kernel32.ReadFile
_ReadFile.argtypes = (
    wintypes.HANDLE,
    wintypes.LPVOID,
    wintypes.DWORD,
    wintypes.LPVOID,
    ctypes.POINTER(Overlapped),
)
_ReadFile.restype = wintypes.BOOL
_GetOverlappedResult = _kernel32.GetOverlappedResult
_GetOverlappedResult.argtypes = (
    wintypes.HANDLE,
    ctypes.POINTER(Overlapped),
    ctypes.POINTER(wintypes.DWORD),
    wintypes.BOOL,
)
_GetOverlappedResult.restype = wintypes.BOOL
_CancelIoEx = _kernel32.CancelIoEx
_CancelIoEx.argtypes = (wintypes.HANDLE, wintypes.LPVOID)
_CancelIoEx.restype = wintypes.BOOL


def pipe_from() -> tuple[int, int]:
    """A pipe to read from: our end, and the inheritable end of who writes. Raises OSError."""
    return _pipe(_PIPE_ACCESS_INBOUND, _GENERIC_WRITE)


def pipe_to() -> tuple[int, int]:
    """A pipe to write to: our end, and the inheritable end of who reads. Raises OSError."""
    return _pipe(_PIPE_ACCESS_OUTBOUND, _GENERIC_READ)


def _pipe(ours: int, theirs: int) -> tuple[int, int]:
    name = rf"\\.\pipe\poppo-worker-{secrets.token_hex(16)}"
    descriptor = Descriptor(descriptor_text(own_sid()))
    end = _CreateNamedPipe(
        name,
        ours | _FILE_FLAG_OVERLAPPED | _FILE_FLAG_FIRST_PIPE_INSTANCE,
        _PIPE_REJECT_REMOTE_CLIENTS,
        1,
        _PIPE_BYTES,
        _PIPE_BYTES,
        0,
        ctypes.byref(descriptor.attributes),
    )
    if end == _INVALID_HANDLE:
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        return int(end), _open(name, theirs, 0)
    except OSError:
        close_handle(end)
        raise


def open_null() -> int:
    """The null device, inheritable, for reading. Raises OSError."""
    return _open("NUL", _GENERIC_READ, _FILE_SHARE_READ_AND_WRITE)


def _open(name: str, access: int, share: int) -> int:
    inheritable = SecurityAttributes(ctypes.sizeof(SecurityAttributes), None, True)
    handle = _CreateFile(name, access, share, ctypes.byref(inheritable), _OPEN_EXISTING, 0, None)
    if handle == _INVALID_HANDLE:
        raise ctypes.WinError(ctypes.get_last_error())
    return int(handle)


def read_now(pipe: int, event: int, limit: int) -> bytes:
    """What is in our end of a pipe, at most so many bytes, without waiting. Raises BlockingIOError, and OSError.

    `event` is one that nobody else uses. The low bit of its handle keeps the completion from the completion port that
    the pipe belongs to (see GetQueuedCompletionStatus).
    """
    level = peek(pipe)
    if not level:
        raise BlockingIOError
    buffer = ctypes.create_string_buffer(min(level, limit))
    overlapped = Overlapped(hEvent=event | 1)
    count = wintypes.DWORD()
    if not _ReadFile(pipe, buffer, len(buffer), None, ctypes.byref(overlapped)):
        error = ctypes.get_last_error()
        if error != ERROR_IO_PENDING:
            raise ctypes.WinError(error)
    # It is there, and nobody else reads: no wait.
    if not _GetOverlappedResult(pipe, ctypes.byref(overlapped), ctypes.byref(count), True):
        raise ctypes.WinError(ctypes.get_last_error())
    return buffer.raw[: count.value]


def cancel_io(handle: int) -> None:
    """Cancel whatever waits on a handle."""
    _CancelIoEx(handle, None)  # fails where nothing waits
