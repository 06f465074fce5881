"""This project: its server with handlers of three sorts, and its clients with and without an event loop.

The server is `Server` with a token, and limits raised only where the benchmark itself would run into them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from attrs import evolve

from bench_peers.kit import work
from bench_peers.kit.peer import FAN_OUT, REQUESTS, Load, Peer, Place
from bench_peers.kit.processes import ready

if TYPE_CHECKING:
    from poppo_ipc import Client
    from poppo_ipc.client import EventStream
    from poppo_ipc.commands import Router
    from poppo_ipc.server import Server

__all__ = ["PEERS", "client", "serve"]

_LEAN = Peer(name="poppo", title="poppo_ipc, async handlers", module="poppo", load=Load.LEAN, own=True)

PEERS = (
    _LEAN,
    evolve(_LEAN, name="poppo-sync-handlers", title="poppo_ipc, plain handlers", settings={"handlers": "sync"}),
    evolve(_LEAN, name="poppo-eager-off", title="poppo_ipc, a task per request", settings={"eager": False}),
    evolve(_LEAN, name="poppo-trio", title="poppo_ipc, Trio client", load=Load.TRIO, kinds=REQUESTS | FAN_OUT),
    evolve(
        _LEAN,
        name="poppo-pipeline",
        title="poppo_ipc, Trio client.pipeline()",
        load=Load.TRIO,
        kinds=frozenset({"in-flight"}),
        batches=True,
    ),
    evolve(_LEAN, name="poppo-asyncio", title="poppo_ipc, asyncio client", load=Load.ASYNCIO, kinds=REQUESTS | FAN_OUT),
    evolve(
        _LEAN,
        name="poppo-sync-client",
        title="poppo_ipc, SyncClient",
        module="poppo_without_loop",
        load=Load.SYNC,
        kinds=REQUESTS,
        threads=True,
    ),
)


# -- the server -----------------------------------------------------------------------------------------------------


def serve(place: Place) -> None:
    """Serve until killed."""
    trio.run(_serve, place)


async def _serve(place: Place) -> None:
    from poppo_ipc import Limits
    from poppo_ipc.server import Server

    settings = place.settings
    kept = settings.get("kept_events", Limits().kept_events)
    limits = Limits(clients=100_000, running_per_client=4096, kept_events=kept, kept_event_bytes=1 << 30)
    async with trio.open_nursery() as nursery:
        tools = _Tools(nursery)
        router = _router(tools, plain=settings.get("handlers") == "sync")
        eager = settings.get("eager", True)
        tools.server = Server(router, address=place.socket, auth=work.TOKEN, limits=limits, eager=eager)
        await nursery.start(tools.server.serve)
        for _ in range(settings.get("past_events", 0)):
            tools.server.publish_nowait(work.EVENT, work.EVENT_DATA)
        ready()


class _Tools:
    """What handlers need that is made after them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.server: Server

    async def broadcast(self, count: int, burst: int) -> None:
        """Publish `burst` events at a time, and let the others have a turn."""
        publish = self.server.publish_nowait
        for first in range(0, count, burst):
            for _ in range(min(burst, count - first)):
                publish(work.EVENT, work.EVENT_DATA)
            await trio.lowlevel.checkpoint()


def _router(tools: _Tools, *, plain: bool) -> Router:
    from poppo_ipc.commands import Router

    router = Router()
    (_declare_plain if plain else _declare_async)(router)

    @router.command("bench.swallow")
    async def swallow(blob: str) -> dict[str, int]:
        return {"length": len(blob)}

    @router.command("bench.broadcast")
    async def broadcast(n: int, burst: int) -> dict[str, bool]:
        tools.nursery.start_soon(tools.broadcast, n, burst)
        return {"ok": True}

    @router.command("bench.emit")
    async def emit() -> dict[str, Any]:
        tools.server.publish_nowait(work.EVENT, work.EVENT_DATA)
        return dict(work.STATUS)

    @router.command("bench.heavy")
    async def heavy(seconds: float) -> dict[str, bool]:
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            work.compute(0.001)
            await trio.lowlevel.checkpoint()
        return {"ok": True}

    return router


def _declare_async(router: Router) -> None:
    @router.command("bench.status")
    async def status() -> dict[str, Any]:
        return dict(work.STATUS)

    @router.command("bench.big")
    async def big() -> dict[str, str]:
        return {"blob": work.BLOB}


def _declare_plain(router: Router) -> None:
    @router.command("bench.status")
    def status() -> dict[str, Any]:
        return dict(work.STATUS)

    @router.command("bench.big")
    def big() -> dict[str, str]:
        return {"blob": work.BLOB}


# -- the client, on Trio and asyncio --------------------------------------------------------------------------------


class _Client:
    """`poppo_ipc.connect`, as the benchmark asks for it."""

    def __init__(self, client: Client, stack: AsyncExitStack) -> None:
        self.call = client.call
        self._client = client
        self._stack = stack
        self._events: EventStream

    async def many(self, command: str, count: int) -> list[Any]:
        """So many calls at once, in one pipeline."""
        async with self._client.pipeline() as pipeline:
            calls = [pipeline.call(command) for _ in range(count)]
        return [call.result() for call in calls]

    async def subscribe(self) -> None:
        """Get every event from now on."""
        self._events = await self._stack.enter_async_context(self._client.subscribe("**"))

    async def take(self, count: int) -> Any:
        """Wait for so many events; gives the data of the last one."""
        from poppo_ipc.client import Event

        events = self._events
        for _ in range(count):
            event = await anext(events)
            if not isinstance(event, Event):
                raise work.WrongAnswer(f"events were lost: {event}")
            data = event.data
        return data


@asynccontextmanager
async def client(place: Place) -> AsyncIterator[_Client]:
    """A client, connected."""
    from poppo_ipc import connect

    async with (
        connect(place.socket, token=work.TOKEN, event_buffer=100_000) as connected,
        AsyncExitStack() as stack,
    ):
        yield _Client(connected, stack)
