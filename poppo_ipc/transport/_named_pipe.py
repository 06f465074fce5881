"""Windows named pipes: which event loop's code serves them."""

from __future__ import annotations

import sys
from collections.abc import Collection

from ..errors import TransportUnsupported
from ._address import Address
from ._borders import no_pipes
from ._contract import Listener, Stream

__all__ = ["connect_pipe", "listen_pipe"]

if sys.platform == "win32":
    import sniffio

    async def connect_pipe(address: Address, trusted_uids: Collection[int | str] | None) -> Stream:
        """`connect` for named pipes."""
        if sniffio.current_async_library() == "trio":
            from . import _pipe_trio

            return await _pipe_trio.connect_pipe(address, trusted_uids)
        from . import _pipe_asyncio

        return await _pipe_asyncio.connect_pipe(address, trusted_uids)

    async def listen_pipe(address: Address, backlog: int) -> Listener:
        """`listen` for named pipes. There is no queue of a chosen length: who finds no room tries again."""
        if sniffio.current_async_library() == "trio":
            from . import _pipe_trio

            return await _pipe_trio.listen_pipe(address)
        raise TransportUnsupported(
            f"{address} cannot be listened on from asyncio, whose servers of pipes would let anybody in: run the "
            "server on Trio"
        )
else:

    async def connect_pipe(address: Address, trusted_uids: Collection[int | str] | None) -> Stream:
        """`connect` for named pipes. Raises TransportUnsupported."""
        raise no_pipes(address)

    async def listen_pipe(address: Address, backlog: int) -> Listener:
        """`listen` for named pipes. Raises TransportUnsupported."""
        raise no_pipes(address)
