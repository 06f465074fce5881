"""Checks that every daemon can have: the event loop keeps up, and the disk has room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable

import trio

from poppo_ipc.daemon.monitoring._lag import LoopLag

__all__ = ["disk_space_check", "loop_lag_check"]

_MIB = 1024 * 1024


def loop_lag_check(lag: LoopLag, limit: float = 0.5) -> Callable[[], tuple[bool, str]]:
    """Whether no task had to wait longer than `limit` seconds for its turn lately. False where nothing measures."""

    def check() -> tuple[bool, str]:
        if not lag.running:
            return False, "the event loop is not measured"
        worst = lag.worst
        return worst <= limit, f"the event loop was up to {worst * 1000:.0f} ms late; {limit * 1000:.0f} ms are allowed"

    return check


def disk_space_check(
    directory: str | os.PathLike[str], *, percent: float = 5.0, size: int = 100 * _MIB
) -> Callable[[], Awaitable[tuple[bool, str]]]:
    """Whether the file system of a directory has at least `percent` of it and `size` bytes free.

    Asked in a thread, which is left to itself when the time is up: a network file system may hang.
    """

    async def check() -> tuple[bool, str]:
        usage = await trio.to_thread.run_sync(shutil.disk_usage, directory, abandon_on_cancel=True)
        share = usage.free / usage.total * 100 if usage.total else 0.0
        ok = share >= percent and usage.free >= size
        wanted = f"{percent:g} % and {size // _MIB} MiB"
        return ok, f"{usage.free // _MIB} MiB ({share:.1f} %) of the disk are free; {wanted} are needed"

    return check
