"""Windows' console: whether it takes the escape sequences of terminals. The foreign calls of that subject."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import msvcrt
from ctypes import wintypes
from typing import Final

__all__ = ["knows_colours"]

_ENABLE_VIRTUAL_TERMINAL_PROCESSING: Final = 0x0004

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_GetConsoleMode = _kernel32.GetConsoleMode
_GetConsoleMode.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
_GetConsoleMode.restype = wintypes.BOOL
_SetConsoleMode = _kernel32.SetConsoleMode
_SetConsoleMode.argtypes = (wintypes.HANDLE, wintypes.DWORD)
_SetConsoleMode.restype = wintypes.BOOL


def knows_colours(descriptor: int) -> bool:
    """Have the console behind an open descriptor take escape sequences; False where it is none, or an old one."""
    handle = msvcrt.get_osfhandle(descriptor)
    mode = wintypes.DWORD()
    if not _GetConsoleMode(handle, ctypes.byref(mode)):
        return False
    return bool(_SetConsoleMode(handle, mode.value | _ENABLE_VIRTUAL_TERMINAL_PROCESSING))
