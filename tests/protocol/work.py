"""Counting work instead of time: lines of a module that ran, bytes that were copied, memory that was held."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any


def lines_run(module: ModuleType, call: Callable[[], object]) -> int:
    """How many lines of the module's functions the call runs. The same number each time."""
    count = 0

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        return local if frame.f_code.co_filename == module.__file__ else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    assert count
    return count


class CountedBytes(bytes):
    """Bytes that count what slicing and joining them copies, in `CountedBytes.copied`."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if isinstance(key, slice):
            CountedBytes.copied += len(part)
            return CountedBytes(part)
        return part

    def __add__(self, other: Any) -> CountedBytes:
        CountedBytes.copied += len(self) + len(other)
        return CountedBytes(super().__add__(other))


def peak_memory(call: Callable[[], object]) -> int:
    """Bytes that were held at the worst, over what was held before; what the call returns counts."""
    tracemalloc.start()
    try:
        kept = call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        del kept
        tracemalloc.stop()


def time_ratio(call: Callable[[int], object], small: int, times: int = 4) -> float:
    """How much more of the processor `times` as much work takes, by the best of five runs of each, taken in turn."""

    def spent(size: int) -> float:
        started = time.process_time()
        call(size)
        return time.process_time() - started

    pairs = [(spent(small), spent(small * times)) for _ in range(5)]
    return min(large for _, large in pairs) / max(min(little for little, _ in pairs), 1e-4)
