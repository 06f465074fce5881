"""What the tests of listeners share."""

from __future__ import annotations

import sys
from pathlib import Path

from poppo_ipc.transport import Address, Listener, Stream, connect, listen, listen_on

#: Event loops, and what can be listened on from them: asyncio has no listener for pipes.
PLACES = (
    [("trio", "pipe"), ("trio", "memory"), ("asyncio", "memory")]
    if sys.platform == "win32"
    else [(loop, kind) for loop in ("trio", "asyncio") for kind in ("unix", "memory", "activated")]
)


async def start(address: str) -> Listener:
    kind, _, path = address.partition(":")
    if kind != "activated":
        return await listen(address)
    if sys.platform != "win32":
        from ._claims import plain_server

        return listen_on(plain_server(Path(path)))
    raise NotImplementedError


async def echo(stream: Stream) -> None:
    async with stream:
        async for chunk in stream:
            await stream.send(chunk)


async def check_served(address: Address) -> None:
    async with await connect(address) as stream:
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
