"""Events, and waiting for them."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
from collections.abc import Sequence
from ctypes import wintypes
from typing import Final

from .calls import BOOL, DWORD, HANDLE, KERNEL32, TEXT, OwnedHandle, SecurityAttributes, check, check_handle, declare

__all__ = ["Event", "wait_any", "wait_any_handle"]

_WAIT_FAILED: Final = 0xFFFFFFFF
_WAIT_TIMEOUT: Final = 258
_INFINITE: Final = 0xFFFFFFFF

_CreateEventW = declare(KERNEL32, "CreateEventW", HANDLE, ctypes.POINTER(SecurityAttributes), BOOL, BOOL, TEXT)
_SetEvent = declare(KERNEL32, "SetEvent", BOOL, HANDLE)
_WaitForMultipleObjects = declare(KERNEL32, "WaitForMultipleObjects", DWORD, DWORD, ctypes.POINTER(HANDLE), BOOL, DWORD)


class Event(OwnedHandle):
    """An event that stays set until an operation that has it begins.

    When it is closed, no operation may have it any more, and no thread wait for it.

    Args:
        inheritable: whether processes that are started may have it too.
    """

    def __init__(self, *, inheritable: bool = False) -> None:
        attributes = SecurityAttributes.of(None, inheritable=inheritable)
        self.handle = check_handle(_CreateEventW(ctypes.byref(attributes), True, False, None))

    def set(self) -> None:
        """Set it."""
        check(_SetEvent(self.handle))


def wait_any(events: Sequence[Event], seconds: float | None) -> int | None:
    """Wait until one of `events` is set and give its index; None once the time is over. Blocks the thread."""
    return wait_any_handle([event.handle for event in events], seconds)


def wait_any_handle(handles: Sequence[int], seconds: float | None) -> int | None:
    """As `wait_any`, for the handles of anything that can be waited for."""
    milliseconds = _INFINITE if seconds is None else min(max(0, round(seconds * 1000)), _INFINITE - 1)
    array = (wintypes.HANDLE * len(handles))(*handles)
    which = int(_WaitForMultipleObjects(len(handles), array, False, milliseconds))
    if which == _WAIT_FAILED:
        raise ctypes.WinError(ctypes.get_last_error())
    return None if which == _WAIT_TIMEOUT else which
