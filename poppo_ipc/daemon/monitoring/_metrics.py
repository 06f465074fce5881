"""The daemon's metrics: one registry for scrapers, one ring of the past for commands, read from the same place."""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final, TypeVar

import trio
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from poppo_ipc.daemon.monitoring import _families as families
from poppo_ipc.daemon.monitoring._families import Family, Histogram, Kind, Reading, Series
from poppo_ipc.daemon.monitoring._lag import LoopLag
from poppo_ipc.daemon.monitoring._requests import LATENCY_BOUNDS, OTHER, RequestMetrics
from poppo_ipc.daemon.monitoring._ring import SampleRing, Window
from poppo_ipc.daemon.monitoring._sources import (
    ProcessReader,
    QueueCounts,
    QueueSource,
    ServerSource,
    SessionTotals,
    WorkerSample,
    WorkerSource,
)

__all__ = ["Metrics"]

logger = logging.getLogger("poppo_ipc.daemon.metrics")

T = TypeVar("T")

# Queues that are shown by name; a client may name as many as it likes, and all others are added up.
_QUEUES: Final = 32
_QUEUE_STATES: Final = ("pending", "running", "completed", "failed")
_WORKER_STATES: Final = ("starting", "idle", "busy", "stopping")
# Scrapes and commands that come at once share what was read.
_FRESH_SECONDS: Final = 1.0
_SOURCE_SECONDS: Final = 2.0


class Metrics:
    """All metrics of one daemon. Only for the event loop's thread.

    `requests.on_answered` is the observer for the server. `registry` is this daemon's alone; an author may register
    metrics of their own in it, which scrapers then get too.

    Args:
        lag: measures the event loop; its task is run elsewhere.
        logs_dropped: how many log lines were lost so far.
        process: reads what the process uses; None leaves it out.
        sample_seconds: the time between two readings that are kept.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        lag: LoopLag | None = None,
        logs_dropped: Callable[[], int] | None = None,
        process: ProcessReader | None = None,
        sample_seconds: float = 5.0,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.requests = RequestMetrics()
        self.registry = CollectorRegistry(auto_describe=False)
        self.ring = SampleRing()
        self._lag = lag
        self._logs_dropped = logs_dropped
        self._process = process
        self._sample_seconds = sample_seconds
        self._clock = clock
        self._began: float | None = None
        self._server: ServerSource | None = None
        self._sessions = SessionTotals()
        self._queue_source: QueueSource | None = None
        self._worker_source: WorkerSource | None = None
        self._queues: Mapping[str, QueueCounts] = {}
        self._workers: tuple[WorkerSample, ...] = ()
        self._failures: Counter[str] = Counter()
        self._refreshed: float | None = None
        self._refreshing = trio.Lock()
        self.registry.register(_Exposition(self))

    def watch(
        self,
        *,
        server: ServerSource | None = None,
        queues: QueueSource | None = None,
        workers: WorkerSource | None = None,
    ) -> None:
        """Read these from now on; what is None stays as it is. The server's commands have to be made known apart."""
        self._server = server or self._server
        self._queue_source = queues or self._queue_source
        self._worker_source = workers or self._worker_source
        self._refreshed = None

    @property
    def missing(self) -> frozenset[str]:
        """The types of metrics whose source is not there."""
        sources = (
            ("sessions", self._server),
            ("events", self._server),
            ("queue", self._queue_source),
            ("workers", self._worker_source),
        )
        return frozenset(name for name, source in sources if source is None)

    # -- reading --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a reading every `sample_seconds`, until cancelled."""
        due = self._clock()
        while True:
            await self.refresh()
            self.ring.add(self.read())
            now = self._clock()
            due += self._sample_seconds
            if due <= now:
                # After a stall the readings that were missed are not made up for.
                due = now + self._sample_seconds
            await trio.sleep(due - now)

    async def refresh(self) -> None:
        """Ask the sources that have to be waited for, at most once a second and for 2 s each.

        Never raises: where a source fails, its last numbers stay, and the failure is counted. Cancelled, it can be
        called again.
        """
        async with self._refreshing:
            now = self._start()
            if self._refreshed is not None and now - self._refreshed < _FRESH_SECONDS:
                return
            async with trio.open_nursery() as nursery:
                if self._queue_source is not None:
                    nursery.start_soon(self._ask_queues, self._queue_source)
                if self._worker_source is not None:
                    nursery.start_soon(self._ask_workers, self._worker_source)
            self._refreshed = self._clock()

    async def _ask_queues(self, source: QueueSource) -> None:
        self._queues = await self._ask("queue", source, self._queues)

    async def _ask_workers(self, source: WorkerSource) -> None:
        self._workers = tuple(await self._ask("workers", source, self._workers))

    async def _ask(self, name: str, source: Callable[[], T | Awaitable[T]], last: T) -> T:
        try:
            with trio.fail_after(_SOURCE_SECONDS):
                value = source()
                return await value if inspect.isawaitable(value) else value
        except Exception:
            self._failed(name)
            return last

    def _failed(self, name: str) -> None:
        self._failures[name] += 1
        if self._failures[name] == 1:
            logger.exception("The metrics of %s cannot be read; from now on this is only counted", name)

    def _start(self) -> float:
        now = self._clock()
        if self._began is None:
            self._began = now
        return now

    def read(self) -> Reading:
        """All metrics now; of the queues and workers what `refresh` last got."""
        now = self._start()
        reading = Reading(now)
        _read_requests(reading, self.requests)
        if self._server is not None:
            try:
                self._read_server(reading, self._server)
            except Exception:
                self._failed("server")
        _read_queues(reading, self._queues)
        if self._worker_source is not None:
            _read_workers(reading, self._workers)
        self._read_process(reading, now)
        return reading

    def _read_server(self, reading: Reading, server: ServerSource) -> None:
        statistics, sessions = server.statistics(), server.sessions
        self._sessions.update(sessions)
        totals = self._sessions.totals
        reading.put(families.SESSIONS, statistics.sessions)
        reading.put(families.RUNNING, statistics.running)
        reading.put(families.SUBSCRIPTIONS, sum(session.subscriptions for session in sessions))
        reading.put(families.OUTBOX, sum(session.outbox_bytes for session in sessions))
        reading.put(families.OUTBOX_MAX, max((session.outbox_bytes for session in sessions), default=0))
        reading.put(families.BYTES_IN, totals["bytes_in"])
        reading.put(families.BYTES_OUT, totals["bytes_out"])
        reading.put(families.EVENTS, statistics.seq)
        reading.put(families.DELIVERED, totals["events"])
        reading.put(families.DROPPED, totals["dropped_events"])
        reading.put(families.KEPT, statistics.kept_events)

    def _read_process(self, reading: Reading, now: float) -> None:
        use = None if self._process is None else self._process.read()
        if use is not None:
            reading.put(families.RSS, use.rss)
            reading.put(families.CPU, use.cpu)
            reading.put(families.FDS, use.fds)
            reading.put(families.THREADS, use.threads)
            reading.put(families.STARTED, use.started)
        reading.put(families.UPTIME, now - (self._began or now))
        if self._lag is not None:
            reading.put(families.LAG, self._lag.worst)
        if self._logs_dropped is not None:
            reading.put(families.LOGS_DROPPED, self._logs_dropped())
        for source, count in self._failures.items():
            reading.put(families.UNREAD, count, source)

    def window(self, seconds: float) -> Window:
        """The last `seconds`, or as much of them as is kept."""
        reading = self.read()
        assert self._began is not None
        return self.ring.window(reading, seconds, self._began)


def _read_requests(reading: Reading, requests: RequestMetrics) -> None:
    everything = Histogram((0,) * (len(LATENCY_BOUNDS) + 1), 0.0)
    errors = 0
    for command, series in requests.series.items():
        count = series.count
        reading.put(families.REQUESTS, count, command)
        if count:
            histogram = Histogram(tuple(series.buckets), series.seconds)
            reading.histograms[families.LATENCY, (command,)] = histogram
            everything = everything.plus(histogram)
        for code, failed in series.errors.items():
            reading.put(families.ERRORS, failed, command, code)
            errors += failed
    reading.put(families.ALL_REQUESTS, everything.count)
    reading.put(families.ALL_ERRORS, errors)
    reading.histograms[families.ALL_LATENCY, ()] = everything


def _read_queues(reading: Reading, queues: Mapping[str, QueueCounts]) -> None:
    for index, (queue, counts) in enumerate(queues.items()):
        name = queue if index < _QUEUES else OTHER
        for state in _QUEUE_STATES:
            before = reading.gauges.get((families.TASKS, (name, state)), 0.0)
            reading.put(families.TASKS, before + getattr(counts, state), name, state)
        reading.put(families.PAUSED, float(counts.paused), name)


def _read_workers(reading: Reading, workers: tuple[WorkerSample, ...]) -> None:
    states = Counter(worker.state for worker in workers)
    for state in (*_WORKER_STATES, *(state for state in states if state not in _WORKER_STATES)):
        reading.put(families.WORKERS, states[state], state)
    reading.put(families.WORKER_MEMORY, sum(worker.memory or 0 for worker in workers))
    reading.put(families.WORKER_CPU, sum(worker.cpu or 0.0 for worker in workers))


class _Exposition(Collector):
    """Shows readings to `prometheus_client`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        reading = self._metrics.read()
        shown: dict[Family, Metric] = {}
        for kept in (reading.counters, reading.gauges, reading.histograms):
            for series, value in kept.items():
                if series[0].name:
                    _show(shown, series, value)
        return iter(shown.values())


def _show(shown: dict[Family, Metric], series: Series, value: float | Histogram) -> None:
    family, labels = series
    metric = shown.get(family)
    if metric is None:
        metric = shown[family] = _EXPOSED[family.kind](family.name, family.help, labels=family.labels)
    if isinstance(value, Histogram):
        assert isinstance(metric, HistogramMetricFamily)
        bounds = (*map(str, LATENCY_BOUNDS), "+Inf")
        metric.add_metric(labels, list(zip(bounds, map(float, accumulate(value.buckets)), strict=True)), value.total)
    else:
        assert isinstance(metric, CounterMetricFamily | GaugeMetricFamily)
        metric.add_metric(labels, value)


_EXPOSED: Final[Mapping[Kind, Callable[..., Metric]]] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}
