"""The one table from a kind of address to the code that serves it, and the functions that look there."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from os import PathLike
from types import MappingProxyType

from attrs import frozen

from ._address import Address, AddressKind
from ._borders import no_unix
from ._contract import Listener, Stream
from ._memory import connect_memory, listen_memory
from ._named_pipe import connect_pipe, listen_pipe
from ._peer import OWN_AND_ROOT

if sys.platform != "win32":
    from ._unix import connect_unix, listen_on, listen_unix
else:
    import socket

    async def connect_unix(address: Address, trusted_uids: Collection[int | str] | None) -> Stream:
        raise no_unix(address)

    async def listen_unix(address: Address, backlog: int) -> Listener:
        raise no_unix(address)

    def listen_on(sock: socket.socket) -> Listener:
        """Raises TransportUnsupported: Python has no Unix sockets on Windows."""
        raise no_unix(sock)


__all__ = ["KINDS", "Kind", "connect", "listen", "listen_on"]


@frozen
class Kind:
    """How one kind of address is served."""

    connect: Callable[[Address, Collection[int | str] | None], Awaitable[Stream]]
    listen: Callable[[Address, int], Awaitable[Listener]]


KINDS: Mapping[AddressKind, Kind] = MappingProxyType(
    {
        AddressKind.UNIX: Kind(connect_unix, listen_unix),
        AddressKind.PIPE: Kind(connect_pipe, listen_pipe),
        AddressKind.MEMORY: Kind(connect_memory, listen_memory),
    }
)


async def connect(
    address: Address | str | PathLike[str], *, trusted_uids: Collection[int | str] | None = OWN_AND_ROOT
) -> Stream:
    """Connect to the server that listens at `address`.

    Has no time limit of its own: a listener that is there but whose queue is full is tried again, first after 1 ms
    and then after growing waits of up to 50 ms, until it has room or the caller's deadline cancels. All else fails at
    once. Cancellation leaves nothing open.

    Args:
        address: an address, or what `Address.parse` takes.
        trusted_uids: the users who may run the server, on Windows their SIDs as text, None for anyone; by default our
            own and root (there: the system itself). Checked before a byte is sent.

    Raises:
        AddressError: the text is no address, or the path is too long.
        TransportUnsupported: this platform or release has no such transport.
        ConnectFailed: nobody listens, permission is refused, or the server is run by a user who is not trusted: its
            `reason` says which, its `retryable` whether to try again.
    """
    address = Address.parse(address)
    return await KINDS[address.kind].connect(address, trusted_uids)


async def listen(address: Address | str | PathLike[str], *, backlog: int = 1024) -> Listener:
    """Claim `address` and listen there.

    A Unix socket's directory is made if absent and is private (0700) afterwards unless it is one that others share by
    nature, such as `/tmp` or a home directory; the socket has mode 0600 from its first moment; `<path>.lock` beside it
    is locked for as long as the listener, or this process, lives. Of two that start at once, one gets it.

    A named pipe is for our own user and the system, and for no other machine; a file in the user's local directory is
    locked in the same way. Only Trio can listen on one.

    Args:
        address: an address, or what `Address.parse` takes.
        backlog: clients that the system may queue until they are accepted. It may cut this down in silence; on a pipe
            it is one, and the others try again by themselves.

    Raises:
        AddressInUse: another server has the address; its `pid` where it is known. Nothing was touched.
        AddressError: the text is no address, the path is too long or taken by something that is no socket, or its
            directory is not safe or not writable. The message says what to do.
        TransportUnsupported: this platform or release has no such transport.
        OSError: the system refused for reasons of its own, such as a full disk.

    Cancellation leaves nothing behind.
    """
    address = Address.parse(address)
    return await KINDS[address.kind].listen(address, backlog)
