"""Win32's calls for users and what is theirs: SIDs, the tokens of processes, security descriptors."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
from ctypes import wintypes
from typing import Any, Final

from ._win32 import SecurityAttributes, close_handle

__all__ = ["Descriptor", "account_name", "descriptor_of", "own_sid", "owner_of", "sid_of_process"]

_PROCESS_QUERY_LIMITED_INFORMATION: Final = 0x1000
_TOKEN_QUERY: Final = 0x8
_TOKEN_USER: Final = 1
_SE_KERNEL_OBJECT: Final = 6
_OWNER: Final = 0x1
_DACL: Final = 0x4
_SDDL_REVISION: Final = 1

_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)


def _declare(library: Any, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


_HANDLE, _DWORD, _BOOL, _POINTER = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, ctypes.c_void_p
_PDWORD, _PPOINTER, _PTEXT = (ctypes.POINTER(each) for each in (wintypes.DWORD, ctypes.c_void_p, wintypes.LPWSTR))
_OpenProcess = _declare(_kernel32, "OpenProcess", _HANDLE, _DWORD, _BOOL, _DWORD)
_GetCurrentProcess = _declare(_kernel32, "GetCurrentProcess", _HANDLE)
_LocalFree = _declare(_kernel32, "LocalFree", _POINTER, _POINTER)
_OpenProcessToken = _declare(_advapi32, "OpenProcessToken", _BOOL, _HANDLE, _DWORD, ctypes.POINTER(wintypes.HANDLE))
_GetTokenInformation = _declare(
    _advapi32, "GetTokenInformation", _BOOL, _HANDLE, ctypes.c_int, _POINTER, _DWORD, _PDWORD
)
_ConvertSidToStringSidW = _declare(_advapi32, "ConvertSidToStringSidW", _BOOL, _POINTER, _PPOINTER)
_ConvertStringSidToSidW = _declare(_advapi32, "ConvertStringSidToSidW", _BOOL, wintypes.LPCWSTR, _PPOINTER)
_LookupAccountSidW = _declare(
    _advapi32, "LookupAccountSidW",
    _BOOL, wintypes.LPCWSTR, _POINTER, wintypes.LPWSTR, _PDWORD, wintypes.LPWSTR, _PDWORD, _PDWORD,
)  # fmt: skip
_StringToDescriptor = _declare(
    _advapi32,
    "ConvertStringSecurityDescriptorToSecurityDescriptorW",
    _BOOL, wintypes.LPCWSTR, _DWORD, _PPOINTER, _PDWORD,
)  # fmt: skip
_DescriptorToString = _declare(
    _advapi32,
    "ConvertSecurityDescriptorToStringSecurityDescriptorW",
    _BOOL, _POINTER, _DWORD, _DWORD, _PPOINTER, _PDWORD,
)  # fmt: skip
_GetSecurityInfo = _declare(
    _advapi32, "GetSecurityInfo",
    _DWORD, _HANDLE, ctypes.c_int, _DWORD, _PPOINTER, _PPOINTER, _PPOINTER, _PPOINTER, _PPOINTER,
)  # fmt: skip


def _check(ok: object) -> None:
    if not ok:
        raise ctypes.WinError(ctypes.get_last_error())


def _take_text(pointer: ctypes.c_void_p) -> str:
    """The text that the system allocated; frees it."""
    try:
        return ctypes.wstring_at(pointer.value or 0)
    finally:
        _LocalFree(pointer)


def _sid_text(sid: int | None) -> str:
    text = ctypes.c_void_p()
    _check(_ConvertSidToStringSidW(sid, ctypes.byref(text)))
    return _take_text(text)


def sid_of_process(pid: int | None = None) -> str:
    """The SID of the user whose process `pid` is, ours by default, from that process's token."""
    if pid is None:
        return _sid_of(_GetCurrentProcess())
    process = _OpenProcess(_PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
    _check(process)
    try:
        return _sid_of(process)
    finally:
        close_handle(process)


def own_sid() -> str:
    """The SID of the user whose process this is."""
    return sid_of_process()


def _sid_of(process: int) -> str:
    token = wintypes.HANDLE()
    _check(_OpenProcessToken(process, _TOKEN_QUERY, ctypes.byref(token)))
    assert token.value is not None
    try:
        size = wintypes.DWORD()
        _GetTokenInformation(token, _TOKEN_USER, None, 0, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(max(size.value, 16))
        _check(_GetTokenInformation(token, _TOKEN_USER, buffer, len(buffer), ctypes.byref(size)))
        # TOKEN_USER begins with a pointer to the SID, which lies behind it in the same buffer.
        return _sid_text(ctypes.c_void_p.from_buffer(buffer).value)
    finally:
        close_handle(token.value)


def account_name(sid: str) -> str | None:
    """The name of the user that `sid` stands for, as DOMAIN\\name; None if nobody knows one."""
    binary = ctypes.c_void_p()
    if not _ConvertStringSidToSidW(sid, ctypes.byref(binary)):
        return None
    try:
        name, domain = ctypes.create_unicode_buffer(256), ctypes.create_unicode_buffer(256)
        sizes = wintypes.DWORD(256), wintypes.DWORD(256)
        use = wintypes.DWORD()
        if not _LookupAccountSidW(
            None, binary, name, ctypes.byref(sizes[0]), domain, ctypes.byref(sizes[1]), ctypes.byref(use)
        ):
            return None
        return f"{domain.value}\\{name.value}" if domain.value else name.value
    finally:
        _LocalFree(binary)


class Descriptor:
    """A security descriptor made from its text (SDDL), in memory of the system's that goes with this object."""

    def __init__(self, sddl: str) -> None:
        self._pointer = ctypes.c_void_p()
        _check(_StringToDescriptor(sddl, _SDDL_REVISION, ctypes.byref(self._pointer), None))
        self.attributes = SecurityAttributes(ctypes.sizeof(SecurityAttributes), self._pointer, False)

    def __del__(self) -> None:
        _LocalFree(self._pointer)


def owner_of(handle: int) -> str:
    """The SID of the owner of a kernel object, such as the pipe that `handle` is an end of."""
    owner, descriptor = ctypes.c_void_p(), ctypes.c_void_p()
    _query(handle, _OWNER, owner, descriptor)
    try:
        return _sid_text(owner.value)
    finally:
        _LocalFree(descriptor)


def descriptor_of(handle: int) -> str:
    """The text (SDDL) of the owner and the access list of a kernel object."""
    descriptor, text = ctypes.c_void_p(), ctypes.c_void_p()
    _query(handle, _OWNER | _DACL, None, descriptor)
    try:
        _check(_DescriptorToString(descriptor, _SDDL_REVISION, _OWNER | _DACL, ctypes.byref(text), None))
        return _take_text(text)
    finally:
        _LocalFree(descriptor)


def _query(handle: int, parts: int, owner: ctypes.c_void_p | None, descriptor: ctypes.c_void_p) -> None:
    target = None if owner is None else ctypes.byref(owner)
    error = _GetSecurityInfo(handle, _SE_KERNEL_OBJECT, parts, target, None, None, None, ctypes.byref(descriptor))
    if error:
        raise ctypes.WinError(error)
