"""Windows' console: whether it takes the escape sequences of terminals."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import msvcrt
from typing import Final

from .calls import BOOL, DWORD, HANDLE, KERNEL32, PDWORD, declare

__all__ = ["knows_colours"]

_ENABLE_VIRTUAL_TERMINAL_PROCESSING: Final = 0x0004

_GetConsoleMode = declare(KERNEL32, "GetConsoleMode", BOOL, HANDLE, PDWORD)
_SetConsoleMode = declare(KERNEL32, "SetConsoleMode", BOOL, HANDLE, DWORD)


def knows_colours(descriptor: int) -> bool:
    """Have the console behind an open descriptor take escape sequences; False where it is none, or an old one."""
    handle = msvcrt.get_osfhandle(descriptor)
    mode = DWORD()
    if not _GetConsoleMode(handle, ctypes.byref(mode)):
        return False
    return bool(_SetConsoleMode(handle, mode.value | _ENABLE_VIRTUAL_TERMINAL_PROCESSING))
