"""Files and directories that are their owner's alone, on Windows: made so from their first moment, and looked at."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import msvcrt
import os
from ctypes import wintypes
from typing import Any, Final

from ._access_list import ADMINISTRATORS, SYSTEM, strangers
from ._win32 import close_handle
from ._win32_security import Descriptor, account_name, own_sid

__all__ = ["create_private_file", "make_private_directory", "open_to_others", "owner_only"]

_GENERIC_WRITE: Final = 0x40000000
_READ_CONTROL: Final = 0x00020000
_SHARE_ALL: Final = 0x7
_CREATE_NEW: Final = 1
_OPEN_EXISTING: Final = 3
_BACKUP_SEMANTICS: Final = 0x02000000  # for directories
_INVALID_HANDLE: Final = ctypes.c_void_p(-1).value
_SE_FILE_OBJECT: Final = 1
_OWNER_AND_DACL: Final = 0x1 | 0x4

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)


def _declare(library: Any, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


_POINTER, _PPOINTER = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
_CreateFileW = _declare(
    _kernel32,
    "CreateFileW",
    wintypes.HANDLE,
    *(wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, _POINTER, wintypes.DWORD, wintypes.DWORD, wintypes.HANDLE),
)
_CreateDirectoryW = _declare(_kernel32, "CreateDirectoryW", wintypes.BOOL, wintypes.LPCWSTR, _POINTER)
_LocalFree = _declare(_kernel32, "LocalFree", _POINTER, _POINTER)
_GetSecurityInfo = _declare(
    _advapi32,
    "GetSecurityInfo",
    wintypes.DWORD,
    *(wintypes.HANDLE, ctypes.c_int, wintypes.DWORD, _PPOINTER, _PPOINTER, _PPOINTER, _PPOINTER, _PPOINTER),
)
_ConvertSidToStringSidW = _declare(_advapi32, "ConvertSidToStringSidW", wintypes.BOOL, _POINTER, _PPOINTER)


def owner_only(*, inherited: bool = False) -> str:
    """The descriptor (SDDL) of what this user and the system alone may use, whatever its directory would hand down.

    `inherited`: of a directory, which hands it down.
    """
    sid = own_sid()
    flags = "OICI" if inherited else ""
    return f"O:{sid}D:P(A;{flags};FA;;;SY)(A;{flags};FA;;;{sid})"


def create_private_file(path: str) -> int:
    """Make a file for its owner alone, to be written; gives its descriptor. Raises FileExistsError, and OSError."""
    descriptor = Descriptor(owner_only())
    handle = _CreateFileW(path, _GENERIC_WRITE, 0, ctypes.byref(descriptor.attributes), _CREATE_NEW, 0, None)
    if handle == _INVALID_HANDLE:
        raise _error(path)
    try:
        return msvcrt.open_osfhandle(handle, os.O_WRONLY | os.O_BINARY | os.O_NOINHERIT)
    except OSError:
        close_handle(handle)
        raise


def make_private_directory(path: str) -> None:
    """Make a directory for its owner alone, as all that will be made in it. Raises FileExistsError, and OSError."""
    descriptor = Descriptor(owner_only(inherited=True))
    if not _CreateDirectoryW(path, ctypes.byref(descriptor.attributes)):
        raise _error(path)


def open_to_others(path_or_fd: str | int) -> str | None:
    """Who but this user, administrators and the system may use this file or directory, in words; None for nobody.

    Administrators can make themselves the owner of anything, as root can read anything elsewhere. Raises OSError.
    """
    if isinstance(path_or_fd, int):
        return _strangers(msvcrt.get_osfhandle(path_or_fd))
    handle = _CreateFileW(path_or_fd, _READ_CONTROL, _SHARE_ALL, None, _OPEN_EXISTING, _BACKUP_SEMANTICS, None)
    if handle == _INVALID_HANDLE:
        raise _error(path_or_fd)
    try:
        return _strangers(handle)
    finally:
        close_handle(handle)


def _strangers(handle: int) -> str | None:
    owner, acl = _owner_and_list(handle)
    trusted = {own_sid(), SYSTEM, ADMINISTRATORS}
    found = list(dict.fromkeys([*({owner} - trusted), *strangers(acl, trusted)]))
    return ", ".join(account_name(sid) or sid for sid in found) or None


def _owner_and_list(handle: int) -> tuple[str, bytes | None]:
    owner, acl, descriptor = _POINTER(), _POINTER(), _POINTER()
    error = _GetSecurityInfo(
        handle, _SE_FILE_OBJECT, _OWNER_AND_DACL,
        ctypes.byref(owner), None, ctypes.byref(acl), None, ctypes.byref(descriptor),
    )  # fmt: skip
    if error:
        raise ctypes.WinError(error)
    try:
        if not acl.value:
            return _sid_text(owner), None
        size = int.from_bytes(ctypes.string_at(acl.value + 2, 2), "little")
        return _sid_text(owner), ctypes.string_at(acl.value, size)
    finally:
        _LocalFree(descriptor)


def _sid_text(sid: ctypes.c_void_p) -> str:
    text = _POINTER()
    if not _ConvertSidToStringSidW(sid, ctypes.byref(text)):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        return ctypes.wstring_at(text.value or 0)
    finally:
        _LocalFree(text)


def _error(path: str) -> OSError:
    """As the functions of `os` tell it."""
    code = ctypes.get_last_error()
    return OSError(0, ctypes.FormatError(code).strip(), path, code)
