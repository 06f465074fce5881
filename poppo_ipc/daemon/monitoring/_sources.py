"""Where the numbers come from that are not counted here: the server, the queues, the workers, the process."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

import psutil
from attrs import frozen

from poppo_ipc.server import ServerStatistics, SessionInfo

__all__ = [
    "ProcessReader",
    "ProcessUse",
    "QueueCounts",
    "QueueSource",
    "ServerSource",
    "SessionTotals",
    "WorkerSample",
    "WorkerSource",
]

# Windows has handles in their place.
_COUNT_FDS: Final = "num_fds" if os.name == "posix" else "num_handles"


class ServerSource(Protocol):
    """What is asked of a server; `poppo_ipc.server.Server` is one."""

    def statistics(self) -> ServerStatistics:
        """What the server is doing."""

    @property
    def sessions(self) -> tuple[SessionInfo, ...]:
        """The clients that are connected."""


class QueueCounts(Protocol):
    """The tasks of one queue by their state; `commands.standard.QueueStatus` is one."""

    @property
    def pending(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def completed(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def paused(self) -> bool: ...


class WorkerSample(Protocol):
    """One worker; `commands.standard.Worker` is one. `memory` is in bytes, `cpu` in percent of one processor."""

    @property
    def state(self) -> str: ...
    @property
    def memory(self) -> int | None: ...
    @property
    def cpu(self) -> float | None: ...


#: Gives the counts of every queue by its name, at once or awaited.
QueueSource = Callable[[], Mapping[str, QueueCounts] | Awaitable[Mapping[str, QueueCounts]]]
#: Gives every worker, at once or awaited.
WorkerSource = Callable[[], Iterable[WorkerSample] | Awaitable[Iterable[WorkerSample]]]


class SessionTotals:
    """Adds up what sessions count, so that the sums do not shrink when a client goes.

    What a session does between the last look at it and its end is not in them.
    """

    FIELDS = ("commands", "events", "dropped_events", "bytes_in", "bytes_out")

    def __init__(self) -> None:
        self.totals: dict[str, int] = dict.fromkeys(self.FIELDS, 0)
        self._seen: dict[str, tuple[int, ...]] = {}

    def update(self, sessions: Iterable[SessionInfo]) -> None:
        """Look at the sessions that there are."""
        seen = {session.id: tuple(getattr(session, name) for name in self.FIELDS) for session in sessions}
        nothing = (0,) * len(self.FIELDS)
        for session_id, counts in seen.items():
            before = self._seen.get(session_id, nothing)
            for name, now, then in zip(self.FIELDS, counts, before, strict=True):
                self.totals[name] += max(0, now - then)
        self._seen = seen


@frozen
class ProcessUse:
    """What this process uses. `rss` is in bytes, `cpu` in seconds; `fds` are handles on Windows."""

    rss: int
    cpu: float
    fds: int
    threads: int
    started: float
    """When it started, in seconds since 1970."""


class ProcessReader:
    """Reads what the process of `pid` uses; this one by default. Takes about 0.1 ms."""

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)

    def read(self) -> ProcessUse | None:
        """What it uses now; None where the system does not say."""
        process = self._process
        try:
            with process.oneshot():
                cpu = process.cpu_times()
                return ProcessUse(
                    rss=process.memory_info().rss,
                    cpu=cpu.user + cpu.system,
                    fds=getattr(process, _COUNT_FDS)(),
                    threads=process.num_threads(),
                    started=process.create_time(),
                )
        except (psutil.Error, OSError):
            return None
