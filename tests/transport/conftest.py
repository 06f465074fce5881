"""Short directories for sockets, both event loops, and pairs of streams of every kind that the platform has."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from poppo_ipc.transport import Stream, connect, listen, memory_pair

from ._streams import NATIVE, native_address


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A private directory whose path leaves room for a socket's name; pytest's own are too long for that."""
    path = Path(tempfile.mkdtemp(prefix="p", dir=None if sys.platform == "win32" else "/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(params=[NATIVE, "memory", "memory-listener", "one-byte"])
async def pair(
    request: pytest.FixtureRequest, anyio_backend: str, short_dir: Path
) -> AsyncIterator[tuple[Stream, Stream]]:
    """Two connected streams."""
    match request.param:
        case "memory":
            streams = memory_pair()
        case "one-byte":
            streams = memory_pair(1)
        case kind:
            listener = await listen(native_address(short_dir) if kind == NATIVE else "memory:s")
            client = await connect(listener.address)
            streams = client, await listener.accept()
            await listener.aclose()
    try:
        yield streams
    finally:
        for stream in streams:
            await stream.aclose()


@pytest.fixture
def clogged(pair: tuple[Stream, Stream]) -> tuple[Stream, Stream]:
    """Two connected streams; the first has sent `b"c"`s until there was no room for one more."""
    while pair[0].send_nowait(b"c" * 65536):
        pass
    while pair[0].send_nowait(b"c"):
        pass
    return pair
