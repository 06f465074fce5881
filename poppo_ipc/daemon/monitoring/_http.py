"""`GET /metrics` over HTTP/1.1 for a scraper on this machine. Off unless somebody runs it."""

from __future__ import annotations

import errno
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable
from email.utils import formatdate
from typing import Final

import h11
import trio
from attrs import frozen
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from poppo_ipc.errors import AddressError, AddressInUse

__all__ = ["serve_metrics"]

logger = logging.getLogger("poppo_ipc.daemon.metrics")

_PATH: Final = b"/metrics"
# Scrapers send some 300 bytes.
_REQUEST_BYTES: Final = 8 * 1024
# The usual scrape timeout.
_REQUEST_SECONDS: Final = 10.0
# A few scrapers, and a person with a browser.
_CONNECTIONS: Final = 16
_READ_BYTES: Final = 4 * 1024
# Time for a client to read an error before the connection goes, whatever it still sends.
_LINGER_SECONDS: Final = 1.0
_PLAIN: Final = "text/plain; charset=utf-8"


async def serve_metrics(
    registry: CollectorRegistry,
    port: int,
    host: str = "127.0.0.1",
    *,
    refresh: Callable[[], Awaitable[None]] | None = None,
    request_seconds: float = _REQUEST_SECONDS,
    connections: int = _CONNECTIONS,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; `await nursery.start(serve_metrics, …)` gives the port once scrapers can connect.

    There is no authentication, so it only listens on loopback. Cancelled, connections are closed at once.

    Args:
        registry: what to show.
        port: 0 for any that is free.
        host: an IP address of this machine for itself.
        refresh: awaited before each scrape (`Metrics.refresh`).
        request_seconds: the time for one request and its answer, and that a connection may be idle.
        connections: how many at once; one more is told 503.

    Raises AddressError where the host is not loopback or the port cannot be used, and AddressInUse.
    """
    _check_loopback(host)
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as exc:
        where = f"port {port} of {host}"
        if exc.errno == errno.EADDRINUSE:
            raise AddressInUse(f"Metrics cannot be served: {where} is in use; choose another metrics_port") from exc
        raise AddressError(f"Metrics cannot be served: {where} cannot be used: {exc.strerror}") from exc
    endpoint = _Endpoint(registry, refresh, request_seconds, trio.CapacityLimiter(connections))
    bound = int(listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, endpoint.serve, listeners)
        logger.info("Serving metrics on http://%s:%d/metrics", host, bound)
        task_status.started(bound)


def _check_loopback(host: str) -> None:
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise AddressError(f"Metrics are only served on loopback, as 127.0.0.1 or ::1, and not on {host!r}")


@frozen
class _Answer:
    status: int
    body: bytes
    content_type: str = _PLAIN
    headers: tuple[tuple[str, str], ...] = ()


class _Refused(Exception):
    """The request cannot be served; the connection ends after the answer."""

    def __init__(self, answer: _Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Gone(Exception):
    """The client has closed the connection."""


@frozen(eq=False)
class _Endpoint:
    registry: CollectorRegistry
    refresh: Callable[[], Awaitable[None]] | None
    seconds: float
    places: trio.CapacityLimiter

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end. Raises nothing but cancellation."""
        client = _Client(stream)
        try:
            with trio.move_on_after(self.seconds) as scope:
                try:
                    self.places.acquire_on_behalf_of_nowait(client)
                except trio.WouldBlock:
                    await client.refuse(_Answer(503, b"Too many connections\n"))
                    return
                try:
                    while await self._exchange(client):
                        scope.deadline = trio.current_time() + self.seconds
                finally:
                    self.places.release_on_behalf_of(client)
        except (_Gone, trio.BrokenResourceError, trio.ClosedResourceError):
            logger.debug("A scraper has gone")
        except Exception:
            logger.exception("A scrape failed")
        finally:
            await trio.aclose_forcefully(stream)

    async def _exchange(self, client: _Client) -> bool:
        """Answer one request; whether there may be another on this connection."""
        try:
            request = await client.request()
            answer = await self._answer(request)
        except _Refused as refused:
            await client.refuse(refused.answer)
            return False
        await client.send(answer)
        return client.next()

    async def _answer(self, request: h11.Request) -> _Answer:
        if request.target.partition(b"?")[0] != _PATH:
            return _Answer(404, b"Not found; metrics are at /metrics\n")
        if request.method != b"GET":
            return _Answer(405, b"Only GET is answered\n", headers=(("Allow", "GET"),))
        accept = next((value for name, value in request.headers if name == b"accept"), b"")
        try:
            if self.refresh is not None:
                await self.refresh()
            # Read here, where the numbers are; made into text where it does not hold up the event loop.
            metrics = list(self.registry.collect())
            encoder, content_type = choose_encoder(accept.decode("ascii", "replace"))
            body = await trio.to_thread.run_sync(encoder, _Collected(metrics), abandon_on_cancel=True)
        except Exception:
            logger.exception("The metrics cannot be shown")
            raise _Refused(_Answer(500, b"The metrics cannot be shown; see the log\n")) from None
        return _Answer(200, body, content_type)


class _Collected(Collector):
    """A registry of what has been read already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class _Client:
    """One connection: h11's state and the socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_REQUEST_BYTES)
        self._wants_body = True

    async def request(self) -> h11.Request:
        """The next request, which must have no body. Raises _Refused, _Gone."""
        request = await self._next_event()
        if type(request) is not h11.Request:
            raise _Gone
        self._wants_body = request.method != b"HEAD"
        if type(await self._next_event()) is not h11.EndOfMessage:
            raise _Refused(_Answer(400, b"A request for metrics has no body\n"))
        return request

    async def _next_event(self) -> h11.Event:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                status = error.error_status_hint
                raise _Refused(_Answer(status, b"This is no request that can be read\n")) from None
            if event is h11.PAUSED:
                raise _Gone
            if isinstance(event, h11.Event):
                return event
            self._http.receive_data(await self._stream.receive_some(_READ_BYTES))

    async def send(self, answer: _Answer, *, last: bool = False) -> None:
        """Send an answer whole."""
        headers = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *answer.headers,
        ]
        if last:
            headers.append(("Connection", "close"))
        parts: list[h11.Event] = [
            h11.Response(status_code=answer.status, headers=headers),
            h11.Data(data=answer.body if self._wants_body else b""),
            h11.EndOfMessage(),
        ]
        data = b"".join(self._http.send(part) or b"" for part in parts)
        await self._stream.send_all(data)

    async def refuse(self, answer: _Answer) -> None:
        """Send an answer, then end the connection so that it can still be read."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        with trio.move_on_after(_LINGER_SECONDS):
            await self.send(answer, last=True)
            await self._stream.send_eof()
            # Closing over unread input would reset the connection under the answer.
            while await self._stream.receive_some(_READ_BYTES):
                pass

    def next(self) -> bool:
        """Whether another request may come."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True
