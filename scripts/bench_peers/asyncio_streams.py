"""asyncio's streams and the json module, speaking this wire: what one would write without a library.

Each client has one task, which answers one request after another; an event is encoded once and written to all.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import evolve

from bench_peers.kit import work
from bench_peers.kit.async_load import Tally
from bench_peers.kit.lean import HEADER, MAGIC, frame
from bench_peers.kit.peer import FAN_OUT, REQUESTS, Load, Peer, Place
from bench_peers.kit.processes import ready

__all__ = ["PEERS", "client", "serve"]

_LEAN = Peer(name="asyncio", title="asyncio streams + json", module="asyncio_streams", load=Load.LEAN)
_UVLOOP = evolve(
    _LEAN, name="uvloop", title="asyncio streams + json on uvloop", needs=("uvloop",), settings={"loop": "uvloop"}
)

PEERS = (
    _LEAN,
    _UVLOOP,
    evolve(_LEAN, name="asyncio-own", load=Load.ASYNCIO, kinds=REQUESTS | FAN_OUT),
    evolve(_UVLOOP, name="uvloop-own", load=Load.UVLOOP, kinds=REQUESTS | FAN_OUT),
)


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    magic, length = HEADER.unpack(await reader.readexactly(HEADER.size))
    if magic != MAGIC:
        raise ConnectionError(f"a frame began with {magic!r}")
    message: dict[str, Any] = json.loads(await reader.readexactly(length))
    return message


# -- the server -----------------------------------------------------------------------------------------------------


class _Server:
    def __init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from welcome to its end."""
        try:
            writer.write(frame(type="welcome", authRequired=True))
            await self._authenticate(reader, writer)
            self._writers.add(writer)
            while True:
                message = await _read(reader)
                writer.write(await self._answer(message))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _authenticate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = await _read(reader)
        if message["type"] != "auth" or not hmac.compare_digest(message["token"], work.TOKEN):
            raise ConnectionError("no token")
        writer.write(frame(type="auth-success", id=message["id"]))

    async def _answer(self, message: dict[str, Any]) -> bytes:
        command, args = message["command"], message["args"]
        if command == "bench.broadcast":
            task = asyncio.create_task(self._broadcast(args["n"], args["burst"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif command == "bench.heavy":
            await self._heavy(args["seconds"])
        try:
            result = work.answer(command, args)
        except KeyError:
            return frame(type="error", id=message["id"], error={"message": f"Unknown command: {command}"})
        return frame(type="response", id=message["id"], success=True, result=result)

    async def _broadcast(self, count: int, burst: int) -> None:
        for first in range(0, count, burst):
            for _ in range(min(burst, count - first)):
                event = frame(type="event", event=work.EVENT, data=work.EVENT_DATA)
                for writer in self._writers:
                    writer.write(event)
            for writer in list(self._writers):
                await writer.drain()
            await asyncio.sleep(0)

    async def _heavy(self, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while clock() < until:
            work.compute(0.001)
            await asyncio.sleep(0)


async def _serve(place: Place) -> None:
    server = await asyncio.start_unix_server(_Server().serve_client, place.socket, backlog=1024)
    async with server:
        ready()
        await server.serve_forever()


def serve(place: Place) -> None:
    """Serve until killed."""
    if place.settings.get("loop") == "uvloop":
        import uvloop

        uvloop.run(_serve(place))
    else:
        asyncio.run(_serve(place))


# -- the client -----------------------------------------------------------------------------------------------------


class _Client:
    """A task that reads, and a future for each question."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._open: dict[str, asyncio.Future[Any]] = {}
        self._ids = itertools.count()
        self._tally = Tally()
        self.take = self._tally.take

    async def authenticate(self) -> None:
        """Show the token."""
        await _read(self._reader)
        self._writer.write(frame(type="auth", id="auth", token=work.TOKEN))
        if (await _read(self._reader))["type"] != "auth-success":
            raise ConnectionError("the token was refused")

    async def read(self) -> None:
        """Give every answer to who waits for it."""
        while True:
            message = await _read(self._reader)
            if message["type"] == "event":
                self._tally.add(message["data"])
            elif message["type"] == "response":
                self._open.pop(message["id"]).set_result(message["result"])
            else:
                self._open.pop(message["id"]).set_exception(ConnectionError(str(message)))

    async def call(self, command: str, args: dict[str, Any]) -> Any:
        """Ask and wait for the answer."""
        request_id = str(next(self._ids))
        answer = self._open[request_id] = asyncio.get_running_loop().create_future()
        self._writer.write(frame(type="command", id=request_id, command=command, args=args))
        return await answer

    async def subscribe(self) -> None:
        """Every client gets every event."""


@asynccontextmanager
async def client(place: Place) -> AsyncIterator[_Client]:
    """A client, connected."""
    reader, writer = await asyncio.open_unix_connection(place.socket)
    connected = _Client(reader, writer)
    await connected.authenticate()
    reading = asyncio.create_task(connected.read())
    try:
        yield connected
    finally:
        reading.cancel()
        writer.close()
