"""Servers for the time of a block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from poppo_ipc.errors import DeclarationError
from poppo_ipc.server._server import Server

__all__ = ["running"]


@asynccontextmanager
async def running(*servers: Server) -> AsyncIterator[Server]:
    """Serve inside the block, for short programs and tests; gives the (first) server, bound and accepting.

    At the end of the block, also by an exception or cancellation, the servers stop: gracefully where nothing was
    cancelled. An exception of the block comes out bare, and so does one of `serve` that comes before it.
    """
    if not servers:
        raise DeclarationError("running() needs a server")
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        serving: list[Server] = []
        try:
            for server in servers:
                await nursery.start(server.serve)
                serving.append(server)
            yield servers[0]
        except Exception as error:
            failure = error
        for server in serving:
            server.stop_soon()
    if failure is not None:
        raise failure
