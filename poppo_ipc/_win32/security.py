"""Users and what is theirs: SIDs, the tokens of processes, security descriptors."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
from ctypes import wintypes
from typing import Final

from .calls import (
    ADVAPI32,
    BOOL,
    DWORD,
    HANDLE,
    KERNEL32,
    PDWORD,
    POINTER,
    PPOINTER,
    TEXT,
    SecurityAttributes,
    check,
    close_handle,
    declare,
)

__all__ = [
    "Descriptor",
    "account_name",
    "descriptor_of",
    "file_owner_and_list",
    "own_sid",
    "owner_of",
    "sid_of_process",
]

_PROCESS_QUERY_LIMITED_INFORMATION: Final = 0x1000
_TOKEN_QUERY: Final = 0x8
_TOKEN_USER: Final = 1
_SE_FILE_OBJECT: Final = 1
_SE_KERNEL_OBJECT: Final = 6
_OWNER: Final = 0x1
_DACL: Final = 0x4
_SDDL_REVISION: Final = 1

_OpenProcess = declare(KERNEL32, "OpenProcess", HANDLE, DWORD, BOOL, DWORD)
_GetCurrentProcess = declare(KERNEL32, "GetCurrentProcess", HANDLE)
_LocalFree = declare(KERNEL32, "LocalFree", POINTER, POINTER)
_OpenProcessToken = declare(ADVAPI32, "OpenProcessToken", BOOL, HANDLE, DWORD, ctypes.POINTER(HANDLE))
_GetTokenInformation = declare(ADVAPI32, "GetTokenInformation", BOOL, HANDLE, ctypes.c_int, POINTER, DWORD, PDWORD)
_ConvertSidToStringSidW = declare(ADVAPI32, "ConvertSidToStringSidW", BOOL, POINTER, PPOINTER)
_ConvertStringSidToSidW = declare(ADVAPI32, "ConvertStringSidToSidW", BOOL, TEXT, PPOINTER)
_LookupAccountSidW = declare(
    ADVAPI32, "LookupAccountSidW",
    BOOL, TEXT, POINTER, wintypes.LPWSTR, PDWORD, wintypes.LPWSTR, PDWORD, PDWORD,
)  # fmt: skip
_StringToDescriptor = declare(
    ADVAPI32, "ConvertStringSecurityDescriptorToSecurityDescriptorW", BOOL, TEXT, DWORD, PPOINTER, PDWORD
)
_DescriptorToString = declare(
    ADVAPI32, "ConvertSecurityDescriptorToStringSecurityDescriptorW", BOOL, POINTER, DWORD, DWORD, PPOINTER, PDWORD
)
_GetSecurityInfo = declare(
    ADVAPI32, "GetSecurityInfo",
    DWORD, HANDLE, ctypes.c_int, DWORD, PPOINTER, PPOINTER, PPOINTER, PPOINTER, PPOINTER,
)  # fmt: skip


def _take_text(pointer: ctypes.c_void_p) -> str:
    """The text that the system allocated; frees it."""
    try:
        return ctypes.wstring_at(pointer.value or 0)
    finally:
        _LocalFree(pointer)


def _sid_text(sid: int | None) -> str:
    text = ctypes.c_void_p()
    check(_ConvertSidToStringSidW(sid, ctypes.byref(text)))
    return _take_text(text)


def sid_of_process(pid: int | None = None) -> str:
    """The SID of the user whose process `pid` is, ours by default, from that process's token."""
    if pid is None:
        return _sid_of(_GetCurrentProcess())
    process = _OpenProcess(_PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
    check(process)
    try:
        return _sid_of(process)
    finally:
        close_handle(process)


def own_sid() -> str:
    """The SID of the user whose process this is."""
    return sid_of_process()


def _sid_of(process: int) -> str:
    token = wintypes.HANDLE()
    check(_OpenProcessToken(process, _TOKEN_QUERY, ctypes.byref(token)))
    assert token.value is not None
    try:
        size = wintypes.DWORD()
        _GetTokenInformation(token, _TOKEN_USER, None, 0, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(max(size.value, 16))
        check(_GetTokenInformation(token, _TOKEN_USER, buffer, len(buffer), ctypes.byref(size)))
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
        check(_StringToDescriptor(sddl, _SDDL_REVISION, ctypes.byref(self._pointer), None))
        self.attributes = SecurityAttributes.of(self._pointer)

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
        check(_DescriptorToString(descriptor, _SDDL_REVISION, _OWNER | _DACL, ctypes.byref(text), None))
        return _take_text(text)
    finally:
        _LocalFree(descriptor)


def _query(handle: int, parts: int, owner: ctypes.c_void_p | None, descriptor: ctypes.c_void_p) -> None:
    target = None if owner is None else ctypes.byref(owner)
    error = _GetSecurityInfo(handle, _SE_KERNEL_OBJECT, parts, target, None, None, None, ctypes.byref(descriptor))
    if error:
        raise ctypes.WinError(error)


def file_owner_and_list(handle: int) -> tuple[str, bytes | None]:
    """The SID of the owner of a file or directory, and its access list as it is in memory; None where it has none."""
    owner, acl, descriptor = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    error = _GetSecurityInfo(
        handle, _SE_FILE_OBJECT, _OWNER | _DACL,
        ctypes.byref(owner), None, ctypes.byref(acl), None, ctypes.byref(descriptor),
    )  # fmt: skip
    if error:
        raise ctypes.WinError(error)
    try:
        if not acl.value:
            return _sid_text(owner.value), None
        size = int.from_bytes(ctypes.string_at(acl.value + 2, 2), "little")  # AclSize of ACL
        return _sid_text(owner.value), ctypes.string_at(acl.value, size)
    finally:
        _LocalFree(descriptor)
