"""grpc.aio over a Unix socket: JSON in place of protocol buffers, the token in the metadata, events as a stream."""

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
        name="grpc",
        title="grpc.aio",
        module="grpc_aio",
        load=Load.ASYNCIO,
        kinds=ALL_MODES,
        needs=("grpc",),
        most_clients=1000,
    ),
)

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Each client has a connection of its own.
    ("grpc.use_local_subchannel_pool", 1),
)
_METADATA = (("authorization", work.TOKEN),)


class _Server:
    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, request: bytes, context: Any) -> bytes:
        """Any command."""
        await self._authenticate(context)
        command, args = json.loads(request)
        if command == "bench.broadcast":
            task = asyncio.create_task(self._broadcast(args["n"], args["burst"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return json.dumps(work.answer(command, args)).encode()

    async def events(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Every event from now on."""
        await self._authenticate(context)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)

    async def _authenticate(self, context: Any) -> None:
        import grpc

        if _METADATA[0] not in tuple(context.invocation_metadata()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED)

    async def _broadcast(self, count: int, burst: int) -> None:
        for first in range(0, count, burst):
            for _ in range(min(burst, count - first)):
                event = json.dumps(work.EVENT_DATA).encode()
                for queue in self._queues:
                    queue.put_nowait(event)
            await asyncio.sleep(0)


async def _serve(place: Place) -> None:
    import grpc

    service = _Server()
    handlers = {
        "call": grpc.unary_unary_rpc_method_handler(service.call),
        "events": grpc.unary_stream_rpc_method_handler(service.events),
    }
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", handlers),))
    server.add_insecure_port(f"unix:{place.socket}")
    await server.start()
    ready()
    await server.wait_for_termination()


def serve(place: Place) -> None:
    """Serve until killed."""
    asyncio.run(_serve(place))


class _Client:
    def __init__(self, channel: Any) -> None:
        self._ask = channel.unary_unary("/bench/call")
        self._listen = channel.unary_stream("/bench/events")
        self._tally = Tally()
        self._reading: asyncio.Task[None] | None = None
        self.take = self._tally.take

    async def call(self, command: str, args: dict[str, Any]) -> Any:
        """Ask and wait for the answer."""
        return json.loads(await self._ask(json.dumps((command, args)).encode(), metadata=_METADATA))

    async def subscribe(self) -> None:
        """Get every event from soon on."""
        self._reading = asyncio.create_task(self._read(self._listen(b"", metadata=_METADATA)))

    async def _read(self, events: Any) -> None:
        async for event in events:
            self._tally.add(json.loads(event))

    def close(self) -> None:
        """Listen no more."""
        if self._reading is not None:
            self._reading.cancel()


@asynccontextmanager
async def client(place: Place) -> AsyncIterator[_Client]:
    """A client, which connects at its first call."""
    import grpc

    async with grpc.aio.insecure_channel(f"unix:{place.socket}", options=_OPTIONS) as channel:
        connected = _Client(channel)
        try:
            yield connected
        finally:
            connected.close()
