"""The load that a peer's own client makes without an event loop.

Many clients in one process: one thread asks on all of them in turn where the client can ask without waiting; where it
cannot, each has a thread.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench_peers.kit import work
from bench_peers.kit.jobs import Job, Meter
from bench_peers.kit.peer import Peer, Place, SyncClient
from bench_peers.kit.processes import ready

__all__ = ["run"]

_clock = time.perf_counter
# Events that one client takes before the next one's turn: a server that waits for a client may not wait for this one.
_STEP = 20


def run(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    """Do the job; gives what it measured."""
    match job.kind:
        case "requests" | "big":
            return _requests(peer, place, job)
        case "connect":
            return _connect(peer, place, job)
        case "fan-out":
            return _fan_out(peer, place, job)
        case "hold":
            return _hold(peer, place, job)
    raise SystemExit(f"This client cannot do {job.kind}")


@contextmanager
def _clients(peer: Peer, place: Place, count: int) -> Iterator[list[SyncClient]]:
    code = peer.code()
    with ExitStack() as stack:
        yield [stack.enter_context(code.client(place)) for _ in range(count)]


def _check(client: SyncClient, command: str = "bench.status") -> None:
    client.begin(command, {})
    work.check(command, {}, client.end())


# -- requests -------------------------------------------------------------------------------------------------------


def _requests(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    command = "bench.big" if job.kind == "big" else job.command
    if peer.threads and job.clients > 1:
        return _in_threads(peer, place, job, command)
    with _clients(peer, place, job.clients) as clients:
        for client in clients:
            _check(client, command)
        _in_turn(clients * job.depth, job.warm_seconds, command)
        meter = Meter(job.pid)
        latencies = _in_turn(clients * job.depth, job.seconds, command)
        found = meter.sample(len(latencies), latencies)
        for client in clients:
            _check(client, command)
    return found


def _in_turn(clients: list[SyncClient], seconds: float, command: str) -> list[float]:
    """Keep one request open for each entry; a client stands in the list as often as it has requests in flight."""
    latencies: list[float] = []
    until = _clock() + seconds
    turn: deque[tuple[SyncClient, float]] = deque()
    result = None
    for client in clients:
        turn.append((client, _clock()))
        client.begin(command, {})
    while turn:
        client, began = turn.popleft()
        result = client.end()
        now = _clock()
        latencies.append(now - began)
        if now < until:
            turn.append((client, now))
            client.begin(command, {})
    work.check(command, {}, result)
    return latencies


def _in_threads(peer: Peer, place: Place, job: Job, command: str) -> dict[str, float]:
    """Each thread makes its client itself: not every one can be passed on."""
    found: list[list[float]] = []
    started = threading.Barrier(job.clients + 1)

    def one() -> None:
        with _clients(peer, place, 1) as (client,):
            try:
                _check(client, command)
                _in_turn([client], job.warm_seconds, command)
                started.wait(20)
            except BaseException:
                started.abort()
                raise
            found.append(_in_turn([client], job.seconds, command))
            _check(client, command)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(job.clients)]
    for thread in threads:
        thread.start()
    started.wait(20)
    meter = Meter(job.pid)
    for thread in threads:
        thread.join()
    if len(found) < job.clients:
        raise work.WrongAnswer("a client broke")
    latencies = [latency for each in found for latency in each]
    return meter.sample(len(latencies), latencies)


def _connect(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    latencies: list[float] = []

    def connect(until: float) -> None:
        while (began := _clock()) < until:
            with _clients(peer, place, 1) as (client,):
                _check(client)
                latencies.append(_clock() - began)

    connect(_clock() + job.warm_seconds)
    latencies.clear()
    meter = Meter(job.pid)
    connect(_clock() + job.seconds)
    return meter.sample(len(latencies), latencies)


# -- events ---------------------------------------------------------------------------------------------------------


def _fan_out(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    with _clients(peer, place, job.clients) as clients:
        for client in clients:
            client.subscribe()
        # Not every system can tell when a subscription holds.
        time.sleep(0.2)
        _broadcast(clients, work.CHECKED_EVENTS, 1)
        _broadcast(clients, job.events, job.burst)
        count = 0
        meter = Meter(job.pid)
        while meter.seconds < job.seconds:
            _broadcast(clients, job.events, job.burst)
            count += job.events * job.clients
        found = meter.sample(count, [])
        _broadcast(clients, work.CHECKED_EVENTS, 1)
    return found


def _broadcast(clients: list[SyncClient], events: int, burst: int) -> None:
    clients[0].begin("bench.broadcast", {"n": events, "burst": burst})
    work.check("bench.broadcast", {}, clients[0].end())
    for first in range(0, events, _STEP):
        for client in clients:
            work.check_event(client.take(min(_STEP, events - first)))


def _hold(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    with _clients(peer, place, job.clients) as clients:
        for client in clients:
            _check(client)
        ready()
        signal.pause()
    return {}
