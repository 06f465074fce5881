"""What processes use of the machine, as the kernel tells it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cpu_seconds", "family", "kernel_kib", "resident_kib"]

_KERNEL = ("Slab:", "KernelStack:", "PageTables:")


def family(pid: int) -> tuple[int, ...]:
    """The process and all that it has started, as far as they run."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue  # it has just ended
    return tuple(found)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that the processes have used, their threads included."""
    return sum(map(_cpu_of, pids))


def _cpu_of(pid: int) -> float:
    try:
        # What clock_getcpuclockid(3) gives: the process's own clock, in nanoseconds where /proc counts in 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kib(pids: Iterable[int]) -> int:
    """Memory of the processes themselves; what they share with others counts in part."""
    return sum(_field(Path(f"/proc/{pid}/smaps_rollup"), ("Pss:",)) for pid in pids)


def kernel_kib() -> int:
    """Memory of the kernel for the whole machine: sockets, file tables, stacks of threads, page tables."""
    return _field(Path("/proc/meminfo"), _KERNEL)


def _field(path: Path, names: tuple[str, ...]) -> int:
    return sum(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(names))
