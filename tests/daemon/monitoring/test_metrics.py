"""The metrics of a daemon, as commands and as scrapers see them."""

from __future__ import annotations

import gc
import logging
import sys
from datetime import datetime
from typing import Any

import attrs
import pytest
import trio
from prometheus_client import Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from poppo_ipc.commands.standard import QueueStatus, Worker
from poppo_ipc.daemon.monitoring import LoopLag, Metrics, ProcessReader, metrics_router
from poppo_ipc.errors import InvalidArgs, Unavailable
from poppo_ipc.server import ServerStatistics

from .conftest import call

pytestmark = pytest.mark.anyio


@attrs.define
class FakeSession:
    id: str
    commands: int = 0
    events: int = 0
    dropped_events: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    subscriptions: int = 0
    outbox_bytes: int = 0


class FakeServer:
    def __init__(self, *sessions: FakeSession) -> None:
        self.list = list(sessions)
        self.seq = 0

    def statistics(self) -> ServerStatistics:
        return ServerStatistics(sessions=len(self.list), running=3, kept_events=2, kept_answers=1, seq=self.seq)

    @property
    def sessions(self) -> Any:
        return tuple(self.list)


def queues(**pending: int) -> dict[str, QueueStatus]:
    return {
        name: QueueStatus(total=count + 4, pending=count, running=1, completed=2, failed=1)
        for name, count in pending.items()
    }


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """What a scraper reads, by the name and the values of the labels, in the order of their names."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, *dict(sorted(sample.labels.items())).values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_scraper_sees_requests(clock: MockClock) -> None:
    metrics = Metrics()
    metrics.requests.know(["task.list", "idle"])
    metrics.requests.on_answered("task.list", 0.002, None)
    metrics.requests.on_answered("task.list", 0.7, "BUSY")
    metrics.requests.on_answered("nonsense", 0.001, "UNKNOWN_COMMAND")
    seen = samples(metrics)
    assert seen["poppo_requests_total", "task.list"] == 2
    assert seen["poppo_requests_total", "idle"] == 0
    assert seen["poppo_requests_total", "unknown"] == 1
    assert seen["poppo_request_errors_total", "BUSY", "task.list"] == 1
    assert seen["poppo_request_seconds_count", "task.list"] == 2
    assert seen["poppo_request_seconds_sum", "task.list"] == pytest.approx(0.702)
    assert seen["poppo_request_seconds_bucket", "task.list", "0.0025"] == 1
    assert seen["poppo_request_seconds_bucket", "task.list", "+Inf"] == 2
    assert ("poppo_request_seconds_count", "idle") not in seen


async def test_a_scraper_sees_gauges_of_now(clock: MockClock) -> None:
    server = FakeServer(FakeSession("1", outbox_bytes=100, subscriptions=2), FakeSession("2", outbox_bytes=11))
    metrics = Metrics(logs_dropped=lambda: 5)
    waiting = {"default": 7}

    async def workers() -> list[Worker]:
        return [Worker("1", "busy", "", memory=1000, cpu=50.0), Worker("2", "idle", ""), Worker("3", "idle", "")]

    metrics.watch(server=server, queues=lambda: queues(**waiting), workers=workers)
    await metrics.refresh()
    seen = samples(metrics)
    assert seen["poppo_sessions",] == 2
    assert seen["poppo_requests_running",] == 3
    assert seen["poppo_outbox_bytes",] == 111
    assert seen["poppo_outbox_largest_bytes",] == 100
    assert seen["poppo_queue_tasks", "default", "pending"] == 7
    assert seen["poppo_queue_paused", "default"] == 0
    assert seen["poppo_workers", "idle"] == 2
    assert seen["poppo_workers", "starting"] == 0
    assert seen["poppo_workers_memory_bytes",] == 1000
    assert seen["poppo_workers_cpu_percent",] == 50
    assert seen["poppo_log_lines_dropped_total",] == 5
    waiting["default"] = 8
    server.list.pop()
    await trio.sleep(1)
    await metrics.refresh()
    seen = samples(metrics)
    assert seen["poppo_queue_tasks", "default", "pending"] == 8
    assert seen["poppo_sessions",] == 1


async def test_queues_that_clients_make_up_share_one_series(clock: MockClock) -> None:
    metrics = Metrics()
    metrics.watch(queues=lambda: queues(**{f"q{number}": 1 for number in range(500)}))
    await metrics.refresh()
    waiting = {
        key: value for key, value in samples(metrics).items() if key[0] == "poppo_queue_tasks" and "pending" in key
    }
    assert len(waiting) == 33
    assert waiting["poppo_queue_tasks", "other", "pending"] == 468


async def test_daemons_share_no_registry(clock: MockClock) -> None:
    first, second = Metrics(), Metrics()
    first.requests.on_answered("x", 1.0, None)
    Counter("mine", "An author's own.", registry=first.registry).inc()
    assert samples(first)["mine_total",] == 1
    assert ("mine_total",) not in samples(second)
    assert samples(second)["poppo_requests_total", "unknown"] == 0


async def test_sums_over_sessions_do_not_shrink_when_a_client_goes(clock: MockClock) -> None:
    server = FakeServer(FakeSession("1", dropped_events=5, bytes_in=10), FakeSession("2", dropped_events=1))
    metrics = Metrics()
    metrics.watch(server=server)
    assert samples(metrics)["poppo_events_dropped_total",] == 6
    server.list[:] = [FakeSession("2", dropped_events=3)]
    assert samples(metrics)["poppo_events_dropped_total",] == 8
    server.list[:] = [FakeSession("3", dropped_events=1)]
    seen = samples(metrics)
    assert seen["poppo_events_dropped_total",] == 9
    assert seen["poppo_received_bytes_total",] == 10


async def test_a_source_that_fails_costs_its_own_numbers_only(
    clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def hangs() -> Any:
        await trio.sleep_forever()

    broken = False

    def sometimes() -> Any:
        if broken:
            raise RuntimeError("the database is locked")
        return queues(default=2)

    metrics = Metrics()
    metrics.watch(queues=sometimes, workers=hangs)
    await metrics.refresh()
    broken = True
    for _ in range(3):
        await trio.sleep(1)
        await metrics.refresh()
    # Four times the 2 s that the workers may take, and the three in between.
    assert trio.current_time() == pytest.approx(11)
    seen = samples(metrics)
    assert seen["poppo_queue_tasks", "default", "pending"] == 2
    assert seen["poppo_source_failures_total", "queue"] == 3
    assert seen["poppo_source_failures_total", "workers"] == 4
    assert len([record for record in caplog.records if "cannot be read" in record.message]) == 2


async def test_a_server_that_fails_does_not_break_a_scrape(clock: MockClock) -> None:
    metrics = Metrics()
    metrics.watch(server=object())  # type: ignore[arg-type]
    seen = samples(metrics)
    assert ("poppo_sessions",) not in seen
    assert seen["poppo_source_failures_total", "server"] == 1


async def test_scrapes_at_once_ask_the_sources_once(clock: MockClock) -> None:
    asked = 0

    async def source() -> dict[str, QueueStatus]:
        nonlocal asked
        asked += 1
        await trio.sleep(0.5)
        return {}

    metrics = Metrics()
    metrics.watch(queues=source)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(metrics.refresh)
    assert asked == 1
    await trio.sleep(1)
    await metrics.refresh()
    assert asked == 2


async def test_daemon_metrics(clock: MockClock) -> None:
    metrics = Metrics(process=ProcessReader(), lag=LoopLag())
    metrics.watch(server=FakeServer(), queues=lambda: queues(default=3), workers=list)
    metrics.requests.know(["task.list"])
    metrics.requests.on_answered("task.list", 0.004, "BUSY")
    result = await call(metrics_router(metrics), "daemon.metrics")
    shown = result["metrics"]
    assert datetime.fromisoformat(result["timestamp"]).tzinfo is not None
    assert set(shown) == {"requests", "sessions", "queue", "workers", "process", "events"}
    assert shown["requests"]["commands"]["task.list"]["answered"] == 1
    assert shown["requests"]["commands"]["task.list"]["errors"] == {"BUSY": 1}
    assert 2.5 <= shown["requests"]["total"]["latencyMs"]["p50"] <= 5
    assert shown["queue"] == {"default": {"pending": 3, "running": 1, "completed": 2, "failed": 1, "paused": 0}}
    assert shown["workers"]["count"] == {"starting": 0, "idle": 0, "busy": 0, "stopping": 0}
    assert shown["process"]["rssBytes"] > 1_000_000
    assert shown["process"]["openFds"] > (2 if sys.platform != "win32" else -1)  # wine counts no handles
    assert shown["process"]["loopLagMs"] == 0


async def test_metrics_get_over_a_period(clock: MockClock) -> None:
    metrics = Metrics(sample_seconds=5.0)
    server = FakeServer(FakeSession("1"))
    metrics.watch(server=server)
    router = metrics_router(metrics)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(metrics.run)
        await trio.sleep(1000.5)
        server.seq = 60
        server.list[0].outbox_bytes = 400
        for _ in range(6):
            metrics.requests.on_answered("x", 0.02, None)
        await trio.sleep(20)
        server.list[0].outbox_bytes = 0
        result = await call(router, "metrics.get", {"period": "30s"})
        later = await call(router, "metrics.get", {"type": "requests", "period": "5s"})
        nursery.cancel_scope.cancel()
    assert (result["type"], result["period"]) == ("all", "30s")
    assert result["seconds"] == pytest.approx(30.5)
    shown = result["metrics"]
    assert set(shown) == {"requests", "sessions", "process", "events"}
    assert shown["requests"]["total"]["answered"] == {"increase": 6, "perSecond": round(6 / 30.5, 6)}
    assert 10 <= shown["requests"]["commands"]["unknown"]["latencyMs"]["p95"] <= 25
    assert shown["events"]["published"]["increase"] == 60
    assert shown["sessions"]["outboxBytes"]["last"] == 0
    assert shown["sessions"]["outboxBytes"]["max"] == 400
    assert set(later["metrics"]) == {"requests"}
    assert later["metrics"]["requests"]["total"]["answered"]["increase"] == 0


async def test_metrics_get_defaults(clock: MockClock) -> None:
    result = await call(metrics_router(Metrics()), "metrics.get")
    assert (result["type"], result["period"]) == ("all", "5m")


async def test_metrics_get_refuses_with_the_choices(clock: MockClock) -> None:
    router = metrics_router(Metrics())
    with pytest.raises(InvalidArgs) as caught:
        await call(router, "metrics.get", {"type": "cpu"})
    assert caught.value.details is not None
    assert caught.value.details["choices"] == [
        "all", "requests", "sessions", "queue", "workers", "process", "events",
    ]  # fmt: skip
    for period in ("5 minutes", "0s", "2d"):
        with pytest.raises(InvalidArgs) as caught:
            await call(router, "metrics.get", {"period": period})
        assert caught.value.details is not None
        assert "1h" in caught.value.details["choices"]


async def test_a_part_that_is_not_there_is_unavailable(clock: MockClock) -> None:
    with pytest.raises(Unavailable, match="no workers"):
        await call(metrics_router(Metrics()), "metrics.get", {"type": "workers"})


async def test_readings_go_on_after_a_stall(clock: MockClock) -> None:
    metrics = Metrics(sample_seconds=5.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(metrics.run)
        await trio.sleep(11)
        assert len(metrics.ring) == 3
        clock.jump(100)
        await trio.sleep(1)
        # One for the stall, not twenty.
        assert len(metrics.ring) == 4
        await trio.sleep(10)
        assert len(metrics.ring) == 6
        nursery.cancel_scope.cancel()


async def test_lag_is_the_time_that_a_task_waits_for_its_turn(clock: MockClock) -> None:
    lag = LoopLag(tick=0.5, ticks=4)
    assert not lag.running
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.run)
        await trio.sleep(1.25)
        assert lag.running
        assert lag.worst == 0
        clock.jump(3.25)
        # It is due, and has not run yet.
        assert lag.last == pytest.approx(3.0)
        await trio.sleep(0.1)
        assert lag.last == lag.worst == pytest.approx(3.0)
        await trio.sleep(1.1)
        assert lag.last == 0
        assert lag.worst == pytest.approx(3.0)
        await trio.sleep(2)
        assert lag.worst == 0
        nursery.cancel_scope.cancel()
    assert not lag.running


async def test_metrics_are_freed_with_their_daemon(clock: MockClock) -> None:
    """Registered anywhere else than in its own registry, a daemon that is gone would still be read."""
    import weakref

    metrics = Metrics()
    gone = weakref.ref(metrics)
    del metrics
    gc.collect()
    assert gone() is None


def test_process_that_is_gone_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    reader = ProcessReader(child.pid)
    assert reader.read() is not None
    child.communicate(b"\n")
    assert reader.read() is None
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
