"""Reading a pipe without waiting, on Windows: such a read waits, so it is made where there is something to read."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import msvcrt
import os

from poppo_ipc._win32.calls import ERROR_BROKEN_PIPE
from poppo_ipc._win32.pipes import peek

__all__ = ["never_blocking", "read_now"]


def never_blocking(descriptor: int) -> None:
    """Prepare the reading end of a pipe for `read_now`. Nothing to do."""


def read_now(descriptor: int, size: int) -> bytes | None:
    """What can be read now; None if nothing can, `b""` once nobody can write any more."""
    try:
        there = peek(msvcrt.get_osfhandle(descriptor))
    except OSError as error:
        if error.winerror == ERROR_BROKEN_PIPE:
            return b""
        raise
    return os.read(descriptor, min(there, size)) if there else None
