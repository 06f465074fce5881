"""Every metric of the daemon: its name for a scraper, and its place in the answers to commands."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, Final

from attrs import define, field, frozen

__all__ = ["METRIC_TYPES", "Family", "Histogram", "Kind", "Reading", "Series", "nest"]

#: What `metrics.get` takes as its type; all but the first are the first step of a path.
METRIC_TYPES: Final = ("all", "requests", "sessions", "queue", "workers", "process", "events")


class Kind(enum.Enum):
    """How a metric is to be read."""

    #: Only grows; what counts is by how much.
    COUNTER = "counter"
    #: Goes up and down.
    GAUGE = "gauge"
    #: Counts by size, one number for each bucket.
    HISTOGRAM = "histogram"


@frozen(eq=False)
class Family:
    """One metric, with a series for each set of label values.

    Attributes:
        name: for a scraper; "" for one that only commands show, since a scraper adds up by itself.
        kind: how it is read.
        help: one sentence for people.
        path: where it is in an answer; `$` and a label's number stand for the label's value. Empty for one that only
            scrapers get.
        labels: the names of the labels.
        scale: what to multiply with for an answer: scrapers take seconds, people milliseconds.
    """

    name: str
    kind: Kind
    help: str
    path: tuple[str, ...]
    labels: tuple[str, ...] = ()
    scale: float = 1.0

    def place(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """The path of one series."""
        return tuple(values[int(step[1:])] if step[0] == "$" else step for step in self.path)


#: A family and the values of its labels.
Series = tuple[Family, tuple[str, ...]]


@frozen
class Histogram:
    """Counts by bucket, not added up, one more than there are bounds; and the sum of what was counted."""

    buckets: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.buckets)

    def plus(self, other: Histogram) -> Histogram:
        """Both together."""
        return Histogram(
            tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True)), self.total + other.total
        )

    def minus(self, earlier: Histogram) -> Histogram:
        """What has come since; all of it where it was set back in between."""
        if self.count < earlier.count:
            return self
        return Histogram(
            tuple(a - b for a, b in zip(self.buckets, earlier.buckets, strict=True)), self.total - earlier.total
        )


@define(eq=False)
class Reading:
    """All metrics at one moment; `at` is in seconds on the daemon's monotonic clock."""

    at: float
    counters: dict[Series, float] = field(factory=dict)
    gauges: dict[Series, float] = field(factory=dict)
    histograms: dict[Series, Histogram] = field(factory=dict)

    def put(self, family: Family, value: float, *labels: str) -> None:
        """Set one number."""
        kept = self.counters if family.kind is Kind.COUNTER else self.gauges
        kept[family, labels] = value


def nest(values: Iterable[tuple[tuple[str, ...], Any]], sections: Iterable[str]) -> dict[str, Any]:
    """An object of objects from values with their paths; `sections` are there even when empty."""
    result: dict[str, Any] = {section: {} for section in sections}
    for path, value in values:
        at: Any = result
        for step in path[:-1]:
            at = at.setdefault(step, {})
        at[path[-1]] = value
    return result


def _family(kind: Kind, name: str, path: str, text: str, *labels: str, scale: float = 1.0) -> Family:
    return Family(name, kind, text, tuple(filter(None, path.split("/"))), labels, scale)


_counter: Final = Kind.COUNTER
_gauge: Final = Kind.GAUGE
_histogram: Final = Kind.HISTOGRAM

# fmt: off
REQUESTS = _family(_counter, "poppo_requests_total", "requests/commands/$0/answered", "Commands answered.", "command")
ERRORS = _family(
    _counter, "poppo_request_errors_total", "requests/commands/$0/errors/$1", "Commands answered with an error.",
    "command", "code",
)
LATENCY = _family(
    _histogram, "poppo_request_seconds", "requests/commands/$0/latencyMs", "Time from a command to its answer.",
    "command", scale=1000.0,
)
ALL_REQUESTS = _family(_counter, "", "requests/total/answered", "All commands answered.")
ALL_ERRORS = _family(_counter, "", "requests/total/errors", "All commands answered with an error.")
ALL_LATENCY = _family(_histogram, "", "requests/total/latencyMs", "The same time, of all commands.", scale=1000.0)

SESSIONS = _family(_gauge, "poppo_sessions", "sessions/connected", "Clients that are connected.")
RUNNING = _family(_gauge, "poppo_requests_running", "sessions/runningCommands", "Commands that run.")
SUBSCRIPTIONS = _family(_gauge, "poppo_subscriptions", "sessions/subscriptions", "Subscriptions of all clients.")
OUTBOX = _family(_gauge, "poppo_outbox_bytes", "sessions/outboxBytes", "Bytes that wait for clients.")
OUTBOX_MAX = _family(
    _gauge, "poppo_outbox_largest_bytes", "sessions/outboxLargestBytes", "Bytes that wait for the slowest client."
)
BYTES_IN = _family(_counter, "poppo_received_bytes_total", "sessions/bytesIn", "Bytes received from clients.")
BYTES_OUT = _family(_counter, "poppo_sent_bytes_total", "sessions/bytesOut", "Bytes sent to clients.")

EVENTS = _family(_counter, "poppo_events_total", "events/published", "Events published.")
DELIVERED = _family(_counter, "poppo_events_queued_total", "events/queued", "Events queued for clients.")
DROPPED = _family(_counter, "poppo_events_dropped_total", "events/dropped", "Events that full outboxes dropped.")
KEPT = _family(_gauge, "poppo_events_kept", "events/kept", "Events kept for replay.")

TASKS = _family(_gauge, "poppo_queue_tasks", "queue/$0/$1", "Tasks of a queue by state.", "queue", "state")
PAUSED = _family(_gauge, "poppo_queue_paused", "queue/$0/paused", "Whether a queue is paused.", "queue")

WORKERS = _family(_gauge, "poppo_workers", "workers/count/$0", "Workers by state.", "state")
WORKER_MEMORY = _family(_gauge, "poppo_workers_memory_bytes", "workers/memoryBytes", "Memory that all workers use.")
WORKER_CPU = _family(
    _gauge, "poppo_workers_cpu_percent", "workers/cpuPercent", "Time of all workers, in percent of one processor."
)

# The names that the official client gives these, so that ready-made dashboards show them.
RSS = _family(_gauge, "process_resident_memory_bytes", "process/rssBytes", "Memory in use.")
CPU = _family(_counter, "process_cpu_seconds_total", "process/cpuSeconds", "Processor time used.")
FDS = _family(_gauge, "process_open_fds", "process/openFds", "Open file descriptors.")
THREADS = _family(_gauge, "process_threads", "process/threads", "Threads.")
STARTED = _family(_gauge, "process_start_time_seconds", "", "When it started, since 1970.")
UPTIME = _family(_gauge, "poppo_uptime_seconds", "process/uptimeSeconds", "Time since the daemon started.")
LAG = _family(
    _gauge, "poppo_loop_lag_seconds", "process/loopLagMs", "The longest that a task waited lately for its turn.",
    scale=1000.0,
)
LOGS_DROPPED = _family(
    _counter, "poppo_log_lines_dropped_total", "process/logLinesDropped", "Log lines that the log file lost."
)
UNREAD = _family(
    _counter, "poppo_source_failures_total", "process/sourceFailures/$0", "Times that metrics could not be read.",
    "source",
)
# fmt: on
