"""What the workers of the tests of an embedded daemon run."""

from __future__ import annotations

import ctypes
import os


def double(number: int) -> int:
    return number * 2


def leave() -> None:
    os._exit(3)


def fall() -> None:
    ctypes.string_at(0)
