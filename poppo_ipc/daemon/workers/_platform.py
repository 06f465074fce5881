"""Where worker processes can be run."""

from __future__ import annotations

import sys

from poppo_ipc.errors import Unavailable

__all__ = ["check_supported"]


def check_supported() -> None:
    """Raise Unavailable where worker processes cannot be run: each system has its own way to see them end."""
    if sys.platform not in ("linux", "darwin", "win32"):
        raise Unavailable(f"Worker processes need Linux, macOS or Windows; this is {sys.platform}")
