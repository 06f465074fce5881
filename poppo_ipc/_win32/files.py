"""Opening and making files and directories, with handles and descriptors of one's own choice."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes

from .calls import BOOL, DWORD, HANDLE, KERNEL32, TEXT, SecurityAttributes, check, check_handle, declare

__all__ = ["create_directory", "create_file"]

_CreateFileW = declare(
    KERNEL32, "CreateFileW", HANDLE, TEXT, DWORD, DWORD, ctypes.POINTER(SecurityAttributes), DWORD, DWORD, HANDLE
)
_CreateDirectoryW = declare(KERNEL32, "CreateDirectoryW", BOOL, TEXT, ctypes.POINTER(SecurityAttributes))


def create_file(
    path: str, access: int, share: int, security: SecurityAttributes | None, disposition: int, flags: int
) -> int:
    """A handle of the file, directory, device or pipe of this name: see CreateFileW. Raises OSError, with the name."""
    try:
        return check_handle(_CreateFileW(path, access, share, security, disposition, flags, None))
    except OSError as error:
        raise _about(path, error) from None


def create_directory(path: str, security: SecurityAttributes) -> None:
    """Make a directory. Raises OSError, with the name."""
    try:
        check(_CreateDirectoryW(path, security))
    except OSError as error:
        raise _about(path, error) from None


def _about(path: str, error: OSError) -> OSError:
    """As the functions of `os` tell it."""
    return OSError(0, error.strerror, path, error.winerror)
