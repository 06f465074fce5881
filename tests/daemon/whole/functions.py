"""What the workers of the tests of an embedded daemon run."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import sys


def double(number: int) -> int:
    return number * 2


def leave() -> None:
    os._exit(3)


def fall() -> None:
    if sys.platform == "win32":
        # What ctypes does there is caught.
        faulthandler._read_null()  # type: ignore[attr-defined]
    ctypes.string_at(0)
