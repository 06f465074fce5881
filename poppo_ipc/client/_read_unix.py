"""Reading a pipe without waiting, on Unix."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os

__all__ = ["never_blocking", "read_now"]


def never_blocking(descriptor: int) -> None:
    """Prepare the reading end of a pipe for `read_now`."""
    os.set_blocking(descriptor, False)


def read_now(descriptor: int, size: int) -> bytes | None:
    """What can be read now; None if nothing can, `b""` once nobody can write any more."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None
