"""The endpoint for scrapers: real sockets, and clients that do not behave."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry, Gauge
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.daemon.monitoring import serve_metrics
from poppo_ipc.errors import AddressError, AddressInUse

pytestmark = pytest.mark.anyio

GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def endpoint(registry: CollectorRegistry | None = None, **options: Any) -> AsyncIterator[int]:
    if registry is None:
        registry = CollectorRegistry()
        Gauge("answer", "To everything.", registry=registry).set(42)
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve_metrics, registry, 0, **options))
        nursery.cancel_scope.cancel()


async def exchange(port: int, data: bytes, *, end: bool = True) -> bytes:
    """Send it, and read to the end of the connection."""
    with trio.fail_after(60):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(data)
            if end:
                await stream.send_eof()
            return await everything(stream)


async def everything(stream: trio.SocketStream) -> bytes:
    received = b""
    try:
        async for chunk in stream:
            received += chunk
    except trio.BrokenResourceError:
        pass
    return received


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_get() -> None:
    async with endpoint() as port:
        answer = await exchange(port, GET)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == 200
    assert b"answer 42.0\n" in body
    assert b"content-type: text/plain; version=0.0.4" in head.lower()
    assert b"content-length: %d" % len(body) in head.lower()


async def test_openmetrics_is_given_to_those_who_ask() -> None:
    request = GET.replace(b"\r\n\r\n", b"\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n")
    async with endpoint() as port:
        answer = await exchange(port, request)
    assert b"application/openmetrics-text" in answer
    assert answer.endswith(b"# EOF\n")


async def test_a_connection_is_kept_for_more_requests() -> None:
    async with endpoint() as port:
        answer = await exchange(port, GET * 3)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b"answer 42.0\n") == 3


async def test_close_is_honoured() -> None:
    async with endpoint() as port:
        answer = await exchange(port, GET.replace(b"Host", b"Connection: close\r\nHost"), end=False)
    assert status(answer) == 200


async def test_the_numbers_are_those_of_the_scrape() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("asked", "How often.", registry=registry)

    async def refresh() -> None:
        await trio.lowlevel.checkpoint()
        gauge.inc()

    async with endpoint(registry, refresh=refresh) as port:
        assert b"asked 1.0" in await exchange(port, GET)
        assert b"asked 2.0" in await exchange(port, GET)


async def test_scrapes_at_once() -> None:
    registry = CollectorRegistry()
    Gauge("answer", "", registry=registry)
    inside, all_inside = 0, trio.Event()

    async def refresh() -> None:
        nonlocal inside
        inside += 1
        if inside == 5:
            all_inside.set()
        await all_inside.wait()

    answers: list[bytes] = []

    async def scrape(port: int) -> None:
        answers.append(await exchange(port, GET))

    async with endpoint(registry, refresh=refresh) as port, trio.open_nursery() as scrapers:
        for _ in range(5):
            scrapers.start_soon(scrape, port)
    assert [status(answer) for answer in answers] == [200] * 5


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /metrics/x HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /metrics?name=x HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, 431),
        (b"GET /" + b"y" * 100_000, 431),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_what_is_no_scrape_is_refused(request_bytes: bytes, expected: int) -> None:
    async with endpoint() as port:
        answer = await exchange(port, request_bytes)
        assert status(answer) == expected
        # The next one is served as if nothing had been.
        assert status(await exchange(port, GET)) == 200
    if expected == 405:
        assert b"Allow: GET" in answer


async def test_head_gets_no_body() -> None:
    async with endpoint() as port:
        answer = await exchange(port, GET.replace(b"GET", b"HEAD"))
    assert status(answer) == 405
    assert answer.endswith(b"\r\n\r\n")


async def test_a_client_that_dawdles_is_closed_when_its_time_is_up(clock: MockClock) -> None:
    async with endpoint(request_seconds=10.0) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        began = trio.current_time()
        received = None
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - whichever byte meets the closed connection
            while True:
                await stream.send_all(b"G")
                with trio.move_on_after(3):
                    received = await stream.receive_some()
                    if not received:
                        raise trio.BrokenResourceError
        assert 10 <= trio.current_time() - began <= 13
        assert not received


async def test_an_idle_connection_is_closed(clock: MockClock) -> None:
    async with endpoint(request_seconds=10.0) as port:
        began = trio.current_time()
        assert await exchange(port, b"", end=False) == b""
        assert trio.current_time() - began == pytest.approx(10)


async def test_a_connection_that_is_used_stays(clock: MockClock) -> None:
    clock.autojump_threshold = math.inf  # the text is made in a thread, for which no clock waits
    async with endpoint(request_seconds=10.0) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(4):
            await stream.send_all(GET)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
            await wait_all_tasks_blocked()
            clock.jump(8)


async def test_a_client_that_does_not_read_is_closed(clock: MockClock) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("many", "x" * 1000, ["number"], registry=registry)
    for number in range(200):
        gauge.labels("y" * 1000 + str(number))
    clock.autojump_threshold = math.inf
    places = endpoint(registry, request_seconds=10.0, connections=1)
    async with places as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        await stream.send_all(GET * 60)
        await wait_all_tasks_blocked()
        assert status(await exchange(port, GET)) == 503
        # Its place comes free, though it still holds its end. An answer that was only being made in its thread as the
        # clock jumped may still go out, with a new time for the next.
        answer = 503
        while answer == 503:
            clock.jump(1000)
            await wait_all_tasks_blocked()
            answer = status(await exchange(port, GET))
        assert answer == 200


async def test_one_connection_too_many() -> None:
    async with endpoint(connections=1) as port, await trio.open_tcp_stream("127.0.0.1", port) as first:
        await first.send_all(GET)
        assert await first.receive_some()
        assert status(await exchange(port, GET)) == 503
        await first.send_all(GET)
        assert (await first.receive_some()).startswith(b"HTTP/1.1 200")


async def test_metrics_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    async def refresh() -> None:
        raise RuntimeError("/secret/path")

    async with endpoint(refresh=refresh) as port:
        answer = await exchange(port, GET)
    assert status(answer) == 500
    assert b"secret" not in answer
    assert "cannot be shown" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", "localhost", ""])
async def test_only_loopback(host: str) -> None:
    with pytest.raises(AddressError, match="loopback"):
        await serve_metrics(CollectorRegistry(), 0, host)


async def test_a_port_in_use() -> None:
    async with endpoint() as port:
        with pytest.raises(AddressInUse, match=str(port)):
            await serve_metrics(CollectorRegistry(), port)


async def test_cancelled_it_leaves_no_socket() -> None:
    async with endpoint() as port:
        pass
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", port)
