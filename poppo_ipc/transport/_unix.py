"""Unix sockets: the stream, connecting, and the listener."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what Windows lacks

from __future__ import annotations

import sys

assert sys.platform != "win32"

import errno
import os
import socket
from collections import deque
from collections.abc import Awaitable, Collection

import anyio
from anyio import BrokenResourceError, ClosedResourceError, ResourceGuard
from anyio.lowlevel import checkpoint

from ..errors import AddressError
from ._activation import bound_path
from ._address import Address, AddressKind, check_path_length
from ._blocking import FIRST_WAIT, LONGEST_WAIT
from ._borders import BACKLOG_FULL, connect_failed, trusted_peer
from ._claim import Claim, identity_of
from ._contract import Listener, Stream
from ._handle import Handle
from ._peer import PeerCredentials, peer_credentials
from ._polled import PolledStream

__all__ = ["UnixListener", "UnixStream", "connect_unix", "listen_on", "listen_unix"]


class UnixStream(PolledStream):
    """A connected Unix socket, owned by the stream."""

    def __init__(self, sock: socket.socket, address: Address, peer: PeerCredentials) -> None:
        super().__init__(address, peer)
        self._handle = Handle(sock)
        self._broken = False

    def fileno(self) -> int | None:
        return self._handle.sock.fileno()

    def _pull(self, max_bytes: int) -> bytes | None:
        if self._broken:
            raise BrokenResourceError
        try:
            return self._handle.sock.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as exc:
            # The kernel reports a reset once and the end of the stream from then on, which would be a lie.
            self._broken = True
            raise BrokenResourceError from exc

    def _push(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self._handle.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self._doomed = True
            raise BrokenResourceError from exc

    def _until_readable(self) -> Awaitable[None]:
        return self._handle.readable()

    def _until_writable(self) -> Awaitable[None]:
        return self._handle.writable()

    def _finish(self) -> None:
        try:
            self._handle.sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            # macOS says so where the peer has gone, and then there is nobody to tell.
            if exc.errno != errno.ENOTCONN:
                raise BrokenResourceError from exc

    def _shut(self) -> None:
        self._handle.close()


async def connect_unix(address: Address, trusted_uids: Collection[int | str] | None) -> Stream:
    """`connect` for Unix sockets."""
    check_path_length(address.name)
    await checkpoint()
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as exc:
        raise connect_failed(address, exc) from exc
    try:
        sock.setblocking(False)
        await _connect(sock, address)
        return UnixStream(sock, address, trusted_peer(sock, address, trusted_uids))
    except BaseException:
        sock.close()
        raise


async def _connect(sock: socket.socket, address: Address) -> None:
    wait = FIRST_WAIT
    while True:
        try:
            sock.connect(address.name)
        except OSError as exc:
            if exc.errno not in BACKLOG_FULL:
                raise connect_failed(address, exc) from exc
            # Linux gives no event for room in the queue, so it has to be asked again.
            await anyio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)
        else:
            return


class UnixListener(Listener):
    """A listening Unix socket: one that we bound and hold the claim on, or one that a service manager handed over."""

    def __init__(self, sock: socket.socket, address: Address, claim: Claim | None) -> None:
        self._address = address
        self._handle = Handle(sock)
        self._claim = claim
        self._identity = identity_of(address.name) if claim is None else None
        # Clients that a socket which lost its name had in its queue when another took its place.
        self._inherited: deque[socket.socket] = deque()
        self._accepting = ResourceGuard("accepting from")
        self._closed = False

    @property
    def address(self) -> Address:
        return self._address

    async def accept(self) -> Stream:
        with self._accepting:
            await checkpoint()
            while True:
                if self._closed:
                    raise ClosedResourceError
                handle = self._handle
                sock = self._inherited.popleft() if self._inherited else _accept_nowait(handle.sock)
                if sock is not None:
                    # No await from here on: a cancellation would lose the client.
                    try:
                        return UnixStream(sock, self._address, peer_credentials(sock))
                    except OSError as exc:
                        sock.close()
                        raise ConnectionAbortedError(errno.ECONNABORTED, "the client has gone") from exc
                try:
                    await handle.readable()
                except ClosedResourceError:
                    if self._closed or handle is self._handle:
                        raise
                    # heal() put another socket in this one's place.

    def still_bound(self) -> bool:
        if self._closed:
            return False
        if self._claim is not None:
            return self._claim.still_bound()
        return self._identity is not None and identity_of(self._address.name) == self._identity

    def heal(self) -> bool:
        if self._closed:
            raise ClosedResourceError
        if self._claim is None:
            if self.still_bound():
                os.utime(self._address.name)
                return False
            raise AddressError(f"{self._address} was deleted, and only the service manager that made it can restore it")
        fresh = self._claim.heal()
        if fresh is None:
            return False
        old, self._handle = self._handle, Handle(fresh)
        # Nobody can connect to the old socket any more, so its queue only gets shorter. Should files run short here,
        # the clients that are left in it are cut off and will connect again.
        try:
            while (sock := _accept_nowait(old.sock)) is not None:
                self._inherited.append(sock)
        except OSError:
            pass
        finally:
            old.close()
        return True

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                if self._claim is not None:
                    self._claim.unlink()
            finally:
                self._handle.close()
                if self._claim is not None:
                    self._claim.release()
                while self._inherited:
                    self._inherited.pop().close()
        await checkpoint()


def _accept_nowait(sock: socket.socket) -> socket.socket | None:
    try:
        return sock.accept()[0]
    except BlockingIOError:
        return None


async def listen_unix(address: Address, backlog: int) -> Listener:
    """`listen` for Unix sockets."""
    await checkpoint()
    claim = Claim.take(address.name, backlog)
    return UnixListener(claim.sock, address, claim)


def listen_on(sock: socket.socket) -> Listener:
    """A listener on a Unix stream socket that listens already, as from `activated_sockets`. Takes the socket over.

    Closing the listener closes this process's copy of the socket and never deletes its path: it belongs to whoever
    bound it.

    Raises AddressError for a socket of another kind, one that does not listen, or one without a path.
    """
    return UnixListener(sock, Address(AddressKind.UNIX, bound_path(sock)), None)
