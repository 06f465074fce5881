"""The load that the lean client makes, for every kind of job."""

from __future__ import annotations

import select
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from bench_peers.kit import work
from bench_peers.kit.jobs import Job, Meter
from bench_peers.kit.lean import HEADER, MAGIC, LeanClient
from bench_peers.kit.peer import Peer, Place
from bench_peers.kit.processes import ready

__all__ = ["run"]

_clock = time.perf_counter
_PATIENCE = 20.0


def run(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    """Do the job; gives what it measured."""
    match job.kind:
        case "requests" | "big":
            return _requests(peer, place, job)
        case "connect":
            return _connect(peer, place, job)
        case "fan-out":
            return _fan_out(place, job)
        case "paced":
            return _paced(peer, place, job)
        case "hold":
            return _hold(place, job)
        case "heavy-handler" | "large-frames":
            _disturb(place, job.kind)
    raise SystemExit(f"The lean client cannot do {job.kind}")


@contextmanager
def _clients(peer: Peer, place: Place, count: int, *, quiet: bool = False) -> Iterator[list[LeanClient]]:
    wanted = ("subscribe",) if quiet else ()
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(LeanClient(place.socket, handshake=peer.handshake, capabilities=wanted)))
            for _ in range(count)
        ]


# -- requests -------------------------------------------------------------------------------------------------------


def _requests(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    command = "bench.big" if job.kind == "big" else job.command
    with _clients(peer, place, job.clients, quiet=job.quiet) as clients, ExitStack() as others:
        if job.subscriptions:
            other = others.enter_context(closing(LeanClient(place.socket, capabilities=("subscribe",))))
            _subscribe(other, job.subscriptions)
        for client in clients:
            size = client.check(command)
            client.prepare(command)
        _drive(clients, job, job.warm_seconds, size)
        meter = Meter(job.pid)
        latencies = _drive(clients, job, job.seconds, size)
        found = meter.sample(len(latencies), latencies)
        for client in clients:
            client.check(command)
    return found


def _subscribe(client: LeanClient, count: int) -> None:
    for number in range(count):
        client.ask("events.subscribe", {"events": [f"other-{number}.*"]})


def _drive(clients: list[LeanClient], job: Job, seconds: float, size: int) -> list[float]:
    if len(clients) > 1:
        return _many_clients(clients, seconds, size)
    return _one_after_other(clients[0], seconds, size) if job.depth == 1 else _in_flight(clients[0], job, seconds, size)


def _one_after_other(client: LeanClient, seconds: float, size: int) -> list[float]:
    until = _clock() + seconds
    latencies = []
    while _clock() < until:
        latencies.append(client.one_more(size, _clock))
    return latencies


def _in_flight(client: LeanClient, job: Job, seconds: float, size: int) -> list[float]:
    """Keep `depth` requests open. Answers are told apart by their size alone, and counted in the order of asking."""
    latencies: list[float] = []
    began: deque[float] = deque()
    until = _clock() + seconds
    received = 0
    new = job.depth
    while True:
        now = _clock()
        if new and now < until:
            began.extend([now] * new)
            client.more(new)
        if not began:
            return latencies
        received += len(client.receive())
        now = _clock()
        new = received // size
        received -= new * size
        if new > len(began):
            raise work.WrongAnswer("more answers came than requests went")
        latencies.extend(now - began.popleft() for _ in range(new))


def _many_clients(clients: list[LeanClient], seconds: float, size: int) -> list[float]:
    """Keep one request open on each connection."""
    latencies: list[float] = []
    poll = select.epoll()
    by_fd = {client.sock.fileno(): client for client in clients}
    until = _clock() + seconds
    began: dict[int, float] = {}
    missing: dict[int, int] = {}
    for fd, client in by_fd.items():
        poll.register(fd, select.EPOLLIN)
        began[fd], missing[fd] = _clock(), size
        client.more(1)
    with closing(poll):
        while began:
            for fd, _ in poll.poll(_PATIENCE) or _stalled():
                missing[fd] -= len(by_fd[fd].receive())
                if missing[fd] > 0:
                    continue
                if missing[fd]:
                    raise work.WrongAnswer("an answer was longer than the one that was checked")
                now = _clock()
                latencies.append(now - began[fd])
                if now < until:
                    began[fd], missing[fd] = now, size
                    by_fd[fd].more(1)
                else:
                    del began[fd]
    return latencies


def _stalled() -> Any:
    raise work.WrongAnswer(f"nothing came for {_PATIENCE:.0f} seconds")


# -- at a given rate ------------------------------------------------------------------------------------------------


def _paced(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    """Find out the capacity, and then ask at 80 % of it, whether or not answers come."""
    with _clients(peer, place, 1) as (client,):
        size = client.check()
        client.prepare("bench.status")
        _in_flight(client, job, job.warm_seconds, size)
        began = _clock()
        capacity = len(_in_flight(client, job, job.seconds, size)) / (_clock() - began)
        meter = Meter(job.pid)
        latencies = _at_rate(client, capacity * 0.8, job.seconds, size)
        found = meter.sample(len(latencies), latencies)
        client.check()
    return {**found, "capacity": capacity}


def _at_rate(client: LeanClient, rate: float, seconds: float, size: int) -> list[float]:
    """Latencies from when each request was due: a late one is not forgiven for going late."""
    latencies: list[float] = []
    planned = int(rate * seconds)
    sent = received = 0
    start = _clock()
    while len(latencies) < planned:
        now = _clock()
        due = min(planned, int((now - start) * rate) + 1) - sent
        # Never so many that both sides wait for the other to read: requests of that many fit into a socket.
        due = min(due, 256, 1024 - (sent - len(latencies)))
        if due > 0:
            client.more(due)
            sent += due
        wait = _PATIENCE if sent == planned else max(0.0, start + sent / rate - _clock())
        if select.select([client.sock], [], [], wait)[0]:
            received += len(client.receive())
            now = _clock()
            done = len(latencies)
            latencies.extend(now - (start + number / rate) for number in range(done, received // size))
        elif sent == planned:
            _stalled()
    return latencies


# -- the rest -------------------------------------------------------------------------------------------------------


def _connect(peer: Peer, place: Place, job: Job) -> dict[str, float]:
    latencies: list[float] = []

    def connect(until: float) -> None:
        while _clock() < until:
            began = _clock()
            client = LeanClient(place.socket, handshake=peer.handshake)
            client.check()
            latencies.append(_clock() - began)
            client.close()

    connect(_clock() + job.warm_seconds)
    latencies.clear()
    meter = Meter(job.pid)
    connect(_clock() + job.seconds)
    return meter.sample(len(latencies), latencies)


def _fan_out(place: Place, job: Job) -> dict[str, float]:
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(LeanClient(place.socket))) for _ in range(job.clients)]
        _check_events(clients)
        _broadcast(clients, job)
        count = 0
        meter = Meter(job.pid)
        while meter.seconds < job.seconds:
            _broadcast(clients, job)
            count += job.events * job.clients
        found = meter.sample(count, [])
        _check_events(clients)
    return found


def _check_events(clients: list[LeanClient]) -> None:
    """Every client gets a few events, and the one that asked its answer."""
    request_id = clients[0].begin("bench.broadcast", {"n": work.CHECKED_EVENTS, "burst": 1})
    for client in clients:
        messages = [client.read() for _ in range(work.CHECKED_EVENTS + (client is clients[0]))]
        events = [message for message in messages if message["type"] == "event"]
        answers = [message["id"] for message in messages if message["type"] == "response"]
        if len(events) != work.CHECKED_EVENTS or answers != [request_id] * (client is clients[0]):
            raise work.WrongAnswer(f"a broadcast was answered with {str(messages)[:200]}")
        for event in events:
            if event["event"] != work.EVENT:
                raise work.WrongAnswer(f"the event {event['event']!r} came")
            work.check_event(event["data"])


def _broadcast(clients: list[LeanClient], job: Job) -> None:
    """Have events sent, and take them all. Frames are counted by how they begin."""
    with closing(select.epoll()) as poll:
        by_fd = {client.sock.fileno(): client for client in clients}
        latest = dict.fromkeys(by_fd, b"")
        missing = job.events * job.clients + 1
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        clients[0].begin("bench.broadcast", {"n": job.events, "burst": job.burst})
        while missing > 0:
            for fd, _ in poll.poll(_PATIENCE) or _stalled():
                before = latest[fd]
                data = before[1 - len(MAGIC) :] + by_fd[fd].receive()
                begun = data.count(MAGIC)
                missing -= begun
                latest[fd] = data if begun else before + data[len(MAGIC) - 1 :]
    if missing:
        raise work.WrongAnswer("more events came than were sent")
    for fd, client in by_fd.items():
        _finish(client, latest[fd])


def _finish(client: LeanClient, data: bytes) -> None:
    """Read the rest of the last frame, which was counted as soon as it began."""
    data = data[data.rfind(MAGIC) :]
    if len(data) < HEADER.size:
        data += client.exactly(HEADER.size - len(data))
    client.exactly(HEADER.size + HEADER.unpack_from(data)[1] - len(data))


def _hold(place: Place, job: Job) -> dict[str, float]:
    """Stay connected until killed."""
    with ExitStack() as stack:
        for _ in range(job.clients):
            stack.enter_context(closing(LeanClient(place.socket))).check()
        ready()
        signal.pause()
    return {}


def _disturb(place: Place, kind: str) -> None:
    """Be a bad neighbour until killed."""
    client = LeanClient(place.socket)
    if kind == "heavy-handler":
        client.begin("bench.heavy", {"seconds": 600})
        ready()
        client.read()
        return
    blob = {"blob": "x" * work.LARGE_ARG_BYTES}
    work.check("bench.swallow", blob, client.ask("bench.swallow", blob))
    ready()
    while True:
        client.ask("bench.swallow", blob)
