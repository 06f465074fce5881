"""HTTP over a Unix socket: uvicorn on uvloop with httptools, and aiohttp's client; events as a stream of lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench_peers.kit import work
from bench_peers.kit.async_load import Tally
from bench_peers.kit.peer import ALL_MODES, Load, Peer, Place
from bench_peers.kit.processes import ready

__all__ = ["PEERS", "client", "serve"]

PEERS = (
    Peer(
        name="http",
        title="uvicorn + aiohttp",
        module="http_uvicorn",
        load=Load.ASYNCIO,
        kinds=ALL_MODES,
        needs=("uvicorn", "httptools", "uvloop", "aiohttp"),
        most_clients=1000,
    ),
)

_BEARER = f"Bearer {work.TOKEN}"


class _App:
    """The application, as ASGI has it: no framework."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if (b"authorization", _BEARER.encode()) not in scope["headers"]:
            await self._respond(send, 401, b"")
        elif scope["path"] == "/events":
            await self._events(send)
        else:
            await self._respond(send, 200, await self._answer(receive))

    async def _respond(self, send: Any, status: int, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, receive: Any) -> bytes:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        command, args = json.loads(body)
        if command == "bench.broadcast":
            task = asyncio.create_task(self._broadcast(args["n"], args["burst"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return json.dumps(work.answer(command, args)).encode()

    async def _events(self, send: Any) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.add(queue)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            while True:
                await send({"type": "http.response.body", "body": await queue.get(), "more_body": True})
        finally:
            self._queues.discard(queue)

    async def _broadcast(self, count: int, burst: int) -> None:
        for first in range(0, count, burst):
            for _ in range(min(burst, count - first)):
                event = json.dumps(work.EVENT_DATA).encode() + b"\n"
                for queue in self._queues:
                    queue.put_nowait(event)
            await asyncio.sleep(0)


def serve(place: Place) -> None:
    """Serve until killed."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready()

    options: dict[str, Any] = {"loop": "uvloop", "http": "httptools", "lifespan": "off", "backlog": 1024}
    config = uvicorn.Config(_App(), uds=place.socket, log_level="warning", access_log=False, **options)
    Server(config).run()


class _Client:
    def __init__(self, session: Any) -> None:
        self._session = session
        self._tally = Tally()
        self._reading: asyncio.Task[None] | None = None
        self.take = self._tally.take

    async def call(self, command: str, args: dict[str, Any]) -> Any:
        """Ask and wait for the answer."""
        async with self._session.post("/command", data=json.dumps((command, args)).encode()) as response:
            if response.status != 200:
                raise work.WrongAnswer(f"{command} was answered with the status {response.status}")
            return json.loads(await response.read())

    async def subscribe(self) -> None:
        """Get every event from soon on."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with self._session.get("/events", timeout=None) as response:
            async for line in response.content:
                self._tally.add(json.loads(line))

    def close(self) -> None:
        """Listen no more."""
        if self._reading is not None:
            self._reading.cancel()


@asynccontextmanager
async def client(place: Place) -> AsyncIterator[_Client]:
    """A client, which connects at its first call, and again for each further one in flight."""
    import aiohttp

    async with aiohttp.ClientSession(
        base_url="http://localhost",
        connector=aiohttp.UnixConnector(place.socket),
        headers={"authorization": _BEARER},
    ) as session:
        connected = _Client(session)
        try:
            yield connected
        finally:
            connected.close()
