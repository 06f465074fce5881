"""What a worker uses of the machine, by psutil."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

__all__ = ["Usage"]


class Usage:
    """The memory and processor time of one process and its children.

    `listed` gives the numbers of them all, where the system keeps a list; else they are found by their parents.
    """

    def __init__(self, pid: int, listed: Callable[[], list[int] | None] = lambda: None) -> None:
        self._pid = pid
        self._listed = listed
        self._process: psutil.Process | None = None
        self._asked = time.monotonic()
        self._used = 0.0

    def sample(self) -> tuple[int, float]:
        """Resident bytes now, and percent of one core since the last sample (the first: since the start).

        Zeros for a process that has gone. Looks at each process of the system: some milliseconds.
        """
        import psutil

        memory, used = 0, 0.0
        try:
            family = self._family()
        except psutil.Error:
            family = []
        for process in family:
            try:
                with process.oneshot():
                    memory += process.memory_info().rss
                    times = process.cpu_times()
            except psutil.Error:
                continue  # it has just gone
            # With those of its children that are reaped already.
            used += times.user + times.system + times.children_user + times.children_system
        now = time.monotonic()
        elapsed, self._asked = now - self._asked, now
        worked, self._used = used - self._used, used
        return memory, round(100.0 * max(worked, 0.0) / elapsed, 1) if elapsed > 0 else 0.0

    def resident(self) -> int:
        """Resident bytes of the process alone; 0 where it has gone."""
        import psutil

        try:
            return int(self._known().memory_info().rss)
        except psutil.Error:
            return 0

    def _family(self) -> list[psutil.Process]:
        import psutil

        own = self._known()
        listed = self._listed()
        if listed is None:
            return [own, *own.children(recursive=True)]
        family = [own]
        for pid in listed:
            if pid != self._pid:
                with suppress(psutil.Error):  # it has just gone
                    family.append(psutil.Process(pid))
        return family

    def _known(self) -> psutil.Process:
        import psutil

        if self._process is None:
            self._process = psutil.Process(self._pid)
        return self._process
