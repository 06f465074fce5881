"""The commands in a server, asked by a client: what is on the wire can be read by the standard types."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from poppo_ipc.client import Client, connect
from poppo_ipc.commands import Router
from poppo_ipc.commands.standard import DAEMON_METRICS, HEALTH_CHECK, LOGS_TAIL, METRICS_GET, LogLine, LogsTailArgs
from poppo_ipc.daemon.monitoring import (
    HealthChecks,
    LogRing,
    Metrics,
    daemon_logging,
    health_router,
    logs_router,
    metrics_router,
)
from poppo_ipc.errors import InvalidArgs
from poppo_ipc.server import Server, running

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(ring: LogRing) -> AsyncIterator[tuple[Server, Client, Metrics]]:
    metrics, health, router = Metrics(), HealthChecks(), Router()
    health.add("ipc", lambda: True)
    for part in (metrics_router(metrics), logs_router(ring), health_router(health)):
        router.include(part)
    server = Server(router, address="memory:monitoring")
    metrics.watch(server=server)
    metrics.requests.know(server.commands)
    with trio.fail_after(30):
        async with running(server), connect(server.address, token=None) as client:
            yield server, client, metrics


async def test_every_answer_can_be_read_by_its_type() -> None:
    with daemon_logging() as logs:
        async with served(logs.ring) as (_, client, metrics):
            metrics.requests.on_answered("health.check", 0.001, None)
            everything = await client.call(DAEMON_METRICS)
            assert everything.metrics["sessions"]["connected"] == 1
            assert everything.metrics["requests"]["commands"]["health.check"]["answered"] == 1
            assert everything.metrics["requests"]["commands"]["ipc.describe"]["answered"] == 0
            window = await client.call(METRICS_GET)
            assert (window.type, window.period) == ("all", "5m")
            assert window.metrics["sessions"]["bytesIn"]["increase"] > 0
            with pytest.raises(InvalidArgs):
                await client.call("metrics.get", period="soon")
            assert (await client.call(HEALTH_CHECK)).status == "healthy"
            tail = await client.call(LOGS_TAIL, LogsTailArgs(lines=5))
            assert any("Serving on" in line.message for line in tail.lines)


async def test_following_over_a_connection() -> None:
    log = logging.getLogger("poppo_test")
    with daemon_logging(level="debug") as logs:
        async with served(logs.ring) as (_, client, _):
            args = LogsTailArgs(lines=1, level="warning", follow=True)
            log.warning("before")
            async with client.stream(LOGS_TAIL, args) as items:
                first: LogLine = await items.__anext__()
                assert first.message == "before"
                for number in range(3):
                    log.info("unwanted")
                    log.error("error %d", number)
                assert [(await items.__anext__()).message for _ in range(3)] == ["error 0", "error 1", "error 2"]
                assert logs.ring.followers == 1
            while logs.ring.followers:
                await trio.lowlevel.checkpoint()


async def test_those_who_follow_do_not_hold_up_the_end() -> None:
    with daemon_logging() as logs:
        async with (
            served(logs.ring) as (server, client, _),
            client.stream(LOGS_TAIL, LogsTailArgs(follow=True)) as items,
        ):
            await items.__anext__()
            logs.ring.end_following()
            async for _ in items:
                pass
            began = trio.current_time()
            await server.stop(grace=30)
            assert trio.current_time() - began < 10
