"""Files and directories that are their owner's alone, on Windows: made so from their first moment, and looked at."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import msvcrt
import os
from typing import Final

from .._win32.calls import GENERIC_WRITE, OPEN_EXISTING, close_handle
from .._win32.files import create_directory, create_file
from .._win32.security import Descriptor, account_name, file_owner_and_list, own_sid
from ._access_list import ADMINISTRATORS, SYSTEM, strangers

__all__ = ["create_private_file", "make_private_directory", "open_to_others", "owner_only"]

_READ_CONTROL: Final = 0x00020000
_SHARE_ALL: Final = 0x7
_CREATE_NEW: Final = 1
_BACKUP_SEMANTICS: Final = 0x02000000  # for directories


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
    handle = create_file(path, GENERIC_WRITE, 0, descriptor.attributes, _CREATE_NEW, 0)
    try:
        return msvcrt.open_osfhandle(handle, os.O_WRONLY | os.O_BINARY | os.O_NOINHERIT)
    except OSError:
        close_handle(handle)
        raise


def make_private_directory(path: str) -> None:
    """Make a directory for its owner alone, as all that will be made in it. Raises FileExistsError, and OSError."""
    descriptor = Descriptor(owner_only(inherited=True))
    create_directory(path, descriptor.attributes)


def open_to_others(path_or_fd: str | int) -> str | None:
    """Who but this user, administrators and the system may use this file or directory, in words; None for nobody.

    Administrators can make themselves the owner of anything, as root can read anything elsewhere. Raises OSError.
    """
    if isinstance(path_or_fd, int):
        return _strangers(msvcrt.get_osfhandle(path_or_fd))
    handle = create_file(path_or_fd, _READ_CONTROL, _SHARE_ALL, None, OPEN_EXISTING, _BACKUP_SEMANTICS)
    try:
        return _strangers(handle)
    finally:
        close_handle(handle)


def _strangers(handle: int) -> str | None:
    owner, acl = file_owner_and_list(handle)
    trusted = {own_sid(), SYSTEM, ADMINISTRATORS}
    found = list(dict.fromkeys([*({owner} - trusted), *strangers(acl, trusted)]))
    return ", ".join(account_name(sid) or sid for sid in found) or None
