"""What is known of a daemon: the present, and the past as far as it is drawn. Knows neither client nor screen."""

from __future__ import annotations

import enum
from collections import deque
from typing import Final

from attrs import define, field, frozen

__all__ = [
    "POINTS",
    "DaemonFacts",
    "EventEntry",
    "Lack",
    "Link",
    "LinkState",
    "LogEntry",
    "Model",
    "Part",
    "QueueFacts",
    "RequestFacts",
    "Series",
    "TaskRow",
    "WorkerRow",
]

#: Points of a curve that are kept: wider than any screen.
POINTS: Final = 600
#: Events and lines of the log that are kept: more than any screen is high.
_LINES: Final = 300

Series = deque[float | None]


class Part(enum.Enum):
    """What is asked for apart, and may be missing apart."""

    DAEMON = "daemon"
    REQUESTS = "requests"
    LATENCY = "latency"
    QUEUE = "queue"
    STATISTICS = "statistics"
    WORKERS = "workers"
    TASKS = "tasks"
    EVENTS = "events"
    LOGS = "logs"


class LinkState(enum.Enum):
    """How it stands with the daemon."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    AWAY = "reconnecting"


@frozen
class Link:
    """The connection. `since` is in seconds of the feed's clock."""

    state: LinkState = LinkState.CONNECTING
    since: float = 0.0
    reason: str = ""


@frozen
class Lack:
    """Why a part is not shown. `lasting`: until the daemon is another."""

    reason: str
    lasting: bool = True


@define
class DaemonFacts:
    """The daemon itself. `uptime` is in seconds, `memory` in bytes, `cpu` in percent of one processor."""

    status: str = ""
    version: str = ""
    pid: int | None = None
    uptime: float | None = None
    memory: float | None = None
    cpu: float | None = None


@define
class RequestFacts:
    """What clients ask. Rates are per second, times in milliseconds."""

    rate: float | None = None
    errors: float | None = None
    latency: float | None = None
    percentiles: tuple[float | None, float | None, float | None] = (None, None, None)
    """Half, 95 and 99 in a hundred were not above, lately."""
    sessions: int | None = None
    running: int | None = None
    subscriptions: int | None = None
    bytes_in: float | None = None
    bytes_out: float | None = None


@define
class QueueFacts:
    """All queues together. `throughput` is in tasks a minute, times in milliseconds."""

    pending: int | None = None
    running: int | None = None
    completed: int | None = None
    failed: int | None = None
    paused: bool | None = None
    throughput: float | None = None
    wait: float | None = None
    """95 in a hundred waited no longer."""
    run: float | None = None
    """95 in a hundred ran no longer."""


@frozen
class WorkerRow:
    """One worker. `memory` is in bytes, `cpu` in percent, `uptime` in seconds."""

    id: str
    state: str
    task: str = ""
    memory: float | None = None
    cpu: float | None = None
    done: int | None = None
    uptime: float | None = None


@frozen
class TaskRow:
    """One task. `since`: when it came into its state, in Unix seconds."""

    id: str
    type: str
    status: str
    since: float | None = None
    error: str = ""


@frozen
class LogEntry:
    """One line of the log. `time` is in Unix seconds."""

    time: float | None
    level: str
    logger: str
    message: str


@frozen
class EventEntry:
    """One event, or, with `gap`, a place where some are missing. `time` is in Unix seconds."""

    time: float | None
    name: str
    text: str
    gap: bool = False


def _series() -> Series:
    return deque(maxlen=POINTS)


@define(eq=False)
class Model:
    """All of it. The feed writes, the screen reads, both in one thread."""

    link: Link = field(factory=Link)
    lacks: dict[Part, Lack] = field(factory=dict)
    daemon: DaemonFacts = field(factory=DaemonFacts)
    requests: RequestFacts = field(factory=RequestFacts)
    queue: QueueFacts = field(factory=QueueFacts)
    workers: list[WorkerRow] = field(factory=list)
    tasks: list[TaskRow] = field(factory=list)
    events: deque[EventEntry] = field(factory=lambda: deque(maxlen=_LINES))
    logs: deque[LogEntry] = field(factory=lambda: deque(maxlen=_LINES))
    rates: Series = field(factory=_series)
    latencies: Series = field(factory=_series)
    depths: Series = field(factory=_series)
    busy: Series = field(factory=_series)

    def mark(self) -> None:
        """Add the present figures to the curves; a hole where there are none."""
        here = self.link.state is LinkState.CONNECTED
        for series, value in (
            (self.rates, self.requests.rate),
            (self.latencies, self.requests.latency),
            (self.depths, self.queue.pending),
            (self.busy, self.queue.running),
        ):
            series.append(value if here else None)

    def forget_lacks(self) -> None:
        """Another session may be with another daemon, which may have what that one lacked."""
        self.lacks.clear()

    def is_lasting(self, part: Part) -> bool:
        """Whether it makes no sense to ask for a part again."""
        lack = self.lacks.get(part)
        return lack is not None and lack.lasting
