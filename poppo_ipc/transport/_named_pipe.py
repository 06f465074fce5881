"""Windows named pipes: their addresses are understood, but they are not in this release.

Neither Trio nor anyio has a listener for them, and one that is not tested on Windows would be a promise that nobody
kept: which users may connect to a pipe is decided by its security descriptor when it is made.
"""

from __future__ import annotations

from collections.abc import Collection

from ..errors import TransportUnsupported
from ._address import Address
from ._contract import Listener, Stream

__all__ = ["connect_pipe", "listen_pipe"]


async def connect_pipe(address: Address, trusted_uids: Collection[int] | None) -> Stream:
    """`connect` for named pipes. Raises TransportUnsupported."""
    raise _unsupported(address)


async def listen_pipe(address: Address, backlog: int) -> Listener:
    """`listen` for named pipes. Raises TransportUnsupported."""
    raise _unsupported(address)


def _unsupported(address: Address) -> TransportUnsupported:
    return TransportUnsupported(
        f"Named pipes are not in this release, so {address} cannot be used: use unix:/path on Linux, macOS, the BSDs "
        "and WSL, or memory:NAME within one event loop"
    )
