"""Both event loops, and pairs of streams of every kind that the platform has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from poppo_ipc.transport import Stream, connect, listen, memory_pair

from ._pipes import asyncio_pipes, may_read_ahead
from ._streams import NATIVE, clog


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[NATIVE, "memory", "memory-listener", "one-byte"])
async def pair(
    request: pytest.FixtureRequest, anyio_backend: str, address: str
) -> AsyncIterator[tuple[Stream, Stream]]:
    """Two connected streams."""
    match request.param:
        case "memory":
            streams = memory_pair()
        case "one-byte":
            streams = memory_pair(1)
        case "pipe" if anyio_backend == "asyncio":
            streams = await asyncio_pipes(address)
        case kind:
            listener = await listen(address if kind == NATIVE else "memory:s")
            client = await connect(listener.address)
            streams = client, await listener.accept()
            await listener.aclose()
    try:
        yield streams
    finally:
        for stream in streams:
            await stream.aclose()


@pytest.fixture
async def clogged(pair: tuple[Stream, Stream], anyio_backend: str) -> tuple[Stream, Stream]:
    """Two connected streams; the first has sent `b"c"`s until there was no room for one more."""
    clog(pair[0])
    while may_read_ahead(pair[1]):
        await anyio.lowlevel.checkpoint()
        clog(pair[0])
    return pair
