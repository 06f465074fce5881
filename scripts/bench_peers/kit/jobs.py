"""What a loading process is told to do, and what it tells."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import attrs
from attrs import frozen

from bench_peers.kit.usage import cpu_seconds, family

__all__ = ["Job", "Meter"]


@frozen(kw_only=True)
class Job:
    """One measurement. `kind` says what is done, the rest how much of it; `pid` is the server's."""

    kind: str
    seconds: float = 1.0
    warm_seconds: float = 0.3
    clients: int = 1
    depth: int = 1
    """Requests that each client has in flight."""
    command: str = "bench.status"
    events: int = 0
    burst: int = 0
    subscriptions: int = 0
    """Subscriptions of other patterns that are made first."""
    quiet: bool = False
    """Whether the lean clients ask for no events; they get all of them otherwise, as clients of the original do."""
    pid: int = 0

    def to_json(self) -> str:
        """For the command line of a process."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The opposite."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**fields)


def _percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` of the sorted values are below; 0 of none."""
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0.0


class Meter:
    """Measures from when it is made: the time, and what the server uses of the processor."""

    def __init__(self, pid: int) -> None:
        # Now, when the clients are connected: a server may have a process for each.
        self._pids = family(pid)
        self._used = cpu_seconds(self._pids)
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The time until now."""
        return time.perf_counter() - self._began

    def sample(self, count: int, latencies: list[float]) -> dict[str, float]:
        """What was measured until now: a second, and microseconds each."""
        seconds, used = self.seconds, cpu_seconds(self._pids) - self._used
        latencies.sort()
        found = {"count": count, "rate": count / seconds, "cpu": used / max(count, 1) * 1e6}
        if latencies:
            found["p50"] = _percentile(latencies, 0.5) * 1e6
            found["p99"] = _percentile(latencies, 0.99) * 1e6
        return found
