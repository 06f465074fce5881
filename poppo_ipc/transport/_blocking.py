"""Connecting without an event loop, for the synchronous client: nothing here may import one."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Collection
from os import PathLike

from ..errors import TransportUnsupported
from ._address import Address, AddressKind, check_path_length
from ._borders import BACKLOG_FULL, connect_failed, no_pipes, no_unix, too_busy, trusted_peer
from ._connection import Connection
from ._peer import OWN_AND_ROOT

__all__ = ["FIRST_WAIT", "LONGEST_WAIT", "connect_blocking"]

FIRST_WAIT = 0.001
"""Seconds between the first two tries at a listener whose queue is full; doubled from try to try."""

LONGEST_WAIT = 0.05
"""Seconds that the wait between two tries grows to: a person does not notice them, a processor does not either."""


def connect_blocking(
    address: Address | str | PathLike[str],
    timeout: float | None,
    *,
    trusted_uids: Collection[int | str] | None = OWN_AND_ROOT,
) -> Connection:
    """Connect to `address` and return a blocking socket without a timeout, not inherited by children.

    On Windows it is a named pipe, with as many of a socket's calls as `Connection` has.

    Args:
        address: an address, or what `Address.parse` takes.
        timeout: seconds to wait for room in the queue of a listener that is there but busy; None waits for ever, 0
            tries once.
        trusted_uids: the users who may run the server, on Windows their SIDs as text, None for anyone. Checked before
            a byte is sent.

    Raises:
        AddressError: the text is no address, or the path is too long.
        TransportUnsupported: this platform has no such transport, or it needs an event loop.
        ConnectFailed: nobody listens, permission is refused, the time is over (`retryable`), or the server is run by
            a user who is not trusted.
    """
    address = Address.parse(address)
    deadline = None if timeout is None else time.monotonic() + timeout
    match address.kind:
        case AddressKind.UNIX:
            return _connect_unix(address, deadline, trusted_uids)
        case AddressKind.PIPE:
            return _connect_pipe(address, deadline, trusted_uids)
        case AddressKind.MEMORY:
            raise TransportUnsupported(f"Without an event loop nothing can be connected to within one: {address}")


def _connect_pipe(address: Address, deadline: float | None, trusted_uids: Collection[int | str] | None) -> Connection:
    if sys.platform == "win32":
        from ._pipe_blocking import connect_pipe_blocking

        return connect_pipe_blocking(address, deadline, trusted_uids)
    else:
        raise no_pipes(address)


def _connect_unix(
    address: Address, deadline: float | None, trusted_uids: Collection[int | str] | None
) -> socket.socket:
    check_path_length(address.name)
    sock = _new_socket(address)
    try:
        # Not settimeout(timeout): on Linux it would fail at once on a full queue instead of waiting for room.
        sock.setblocking(False)
        _connect(sock, address, deadline)
        trusted_peer(sock, address, trusted_uids)
        sock.setblocking(True)
    except BaseException:
        sock.close()
        raise
    return sock


def _new_socket(address: Address) -> socket.socket:
    if sys.platform == "win32":
        raise no_unix(address)
    else:
        try:
            return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as exc:
            raise connect_failed(address, exc) from exc


def _connect(sock: socket.socket, address: Address, deadline: float | None) -> None:
    wait = FIRST_WAIT
    while True:
        try:
            sock.connect(address.name)
        except OSError as exc:
            if exc.errno not in BACKLOG_FULL:
                raise connect_failed(address, exc) from exc
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise too_busy(address) from exc
            time.sleep(wait if left is None else min(wait, left))
            wait = min(wait * 2, LONGEST_WAIT)
        else:
            return
