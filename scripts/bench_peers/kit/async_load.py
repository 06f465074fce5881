"""The load that a peer's own client makes on an event loop: asyncio, asyncio on uvloop, or Trio."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from bench_peers.kit import work
from bench_peers.kit.jobs import Job, Meter
from bench_peers.kit.peer import AsyncClient, Load, Peer, Place
from bench_peers.kit.processes import ready

__all__ = ["Tally", "run"]

_clock = time.perf_counter


class Tally:
    """Events as they come, counted, and who waits for so many of them."""

    def __init__(self) -> None:
        self._count = 0
        self._wanted = 0
        self._enough = anyio.Event()
        self._last: Any = None

    def add(self, data: Any) -> None:
        """One more."""
        self._last = data
        self._count += 1
        if self._count == self._wanted:
            self._enough.set()

    async def take(self, count: int) -> Any:
        """Wait for so many since the last time; gives the data of the last one."""
        self._wanted = count
        if self._count < count:
            self._enough = anyio.Event()
            await self._enough.wait()
        self._count -= count
        self._wanted = 0
        return self._last


def run(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    """Do the job; gives what it measured."""
    backend = "trio" if peer.load is Load.TRIO else "asyncio"
    options = {"use_uvloop": True} if peer.load is Load.UVLOOP else {}
    return anyio.run(_run, peer, place, job, backend=backend, backend_options=options)


async def _run(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    match job.kind:
        case "requests" | "big":
            return await _requests(peer, place, job)
        case "connect":
            return await _connect(peer, place, job)
        case "fan-out":
            return await _fan_out(peer, place, job)
        case "hold":
            return await _hold(peer, place, job)
    raise SystemExit(f"This client cannot do {job.kind}")


@asynccontextmanager
async def _clients(peer: Peer, place: Place, count: int) -> AsyncIterator[list[AsyncClient]]:
    code = peer.code()
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(code.client(place)) for _ in range(count)]


async def _check(client: AsyncClient, command: str = "bench.status") -> None:
    work.check(command, {}, await client.call(command, {}))


# -- requests -------------------------------------------------------------------------------------------------------


async def _requests(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    command = "bench.big" if job.kind == "big" else job.command
    async with _clients(peer, place, job.clients) as clients:
        for client in clients:
            await _check(client, command)
        await _drive(peer, clients, job, job.warm_seconds, command)
        meter = Meter(job.pid)
        latencies = await _drive(peer, clients, job, job.seconds, command)
        found = meter.sample(len(latencies), latencies)
        for client in clients:
            await _check(client, command)
    return found


async def _drive(peer: Peer, clients: list[AsyncClient], job: Job, seconds: float, command: str) -> list[float]:
    latencies: list[float] = []
    until = _clock() + seconds
    if job.depth > 1 and peer.batches:
        await _batches(clients[0], job.depth, until, latencies, command)
        return latencies
    if len(clients) == job.depth == 1:
        await _one_after_other(clients[0], until, latencies, command)
        return latencies
    async with anyio.create_task_group() as tasks:
        for client in clients * job.depth:
            tasks.start_soon(_one_after_other, client, until, latencies, command)
    return latencies


async def _one_after_other(client: AsyncClient, until: float, latencies: list[float], command: str) -> None:
    began = _clock()
    result = None
    while began < until:
        result = await client.call(command, {})
        now = _clock()
        latencies.append(now - began)
        began = now
    if result is not None:
        work.check(command, {}, result)


async def _batches(client: Any, count: int, until: float, latencies: list[float], command: str) -> None:
    while (began := _clock()) < until:
        results = await client.many(command, count)
        took = _clock() - began
        latencies.extend([took] * len(results))
        work.check(command, {}, results[-1])


async def _connect(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    latencies: list[float] = []

    async def connect(until: float) -> None:
        while (began := _clock()) < until:
            async with _clients(peer, place, 1) as (client,):
                await _check(client)
                latencies.append(_clock() - began)

    await connect(_clock() + job.warm_seconds)
    latencies.clear()
    meter = Meter(job.pid)
    await connect(_clock() + job.seconds)
    return meter.sample(len(latencies), latencies)


# -- events ---------------------------------------------------------------------------------------------------------


async def _fan_out(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    async with _clients(peer, place, job.clients) as clients:
        for client in clients:
            await client.subscribe()
        # Not every system can tell when a subscription holds.
        await anyio.sleep(0.2)
        await _broadcast(clients, work.CHECKED_EVENTS, 1)
        await _broadcast(clients, job.events, job.burst)
        count = 0
        meter = Meter(job.pid)
        while meter.seconds < job.seconds:
            await _broadcast(clients, job.events, job.burst)
            count += job.events * job.clients
        found = meter.sample(count, [])
        await _broadcast(clients, work.CHECKED_EVENTS, 1)
    return found


async def _broadcast(clients: list[AsyncClient], events: int, burst: int) -> None:
    async def take(client: AsyncClient) -> None:
        work.check_event(await client.take(events))

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(take, client)
        work.check("bench.broadcast", {}, await clients[0].call("bench.broadcast", {"n": events, "burst": burst}))


async def _hold(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    async with _clients(peer, place, job.clients) as clients:
        for client in clients:
            await _check(client)
        ready()
        await anyio.sleep_forever()
    return {}
