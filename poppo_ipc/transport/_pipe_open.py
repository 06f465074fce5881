"""Making and opening named pipes so that only those get in who may, free of event loops."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import errno
from collections.abc import Collection
from typing import Final

from .._win32.calls import (
    ERROR_ACCESS_DENIED,
    ERROR_BAD_PATHNAME,
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_NAME,
    ERROR_PIPE_BUSY,
    close_handle,
)
from .._win32.pipes import client_process, create_instance, has_gone, open_client, server_process
from .._win32.processes import process_runs
from .._win32.security import Descriptor, own_sid, owner_of, sid_of_process
from ..errors import AddressError, AddressInUse, ConnectFailed
from ._address import PIPE_PREFIX, SOCKET_VARIABLE, Address
from ._borders import REMEDY, Reason, check_trusted
from ._peer import PeerCredentials
from ._pipe_end import PipeEnd
from ._pipe_rules import descriptor_text

__all__ = [
    "client_credentials",
    "make_instance",
    "open_end",
    "shortage",
    "trusted_server",
]

# Short of memory, handles or the pool that pipes live in: others give it back.
_SHORTAGES: Final = {
    4: errno.EMFILE, 8: errno.ENOMEM, 14: errno.ENOMEM, 1450: errno.ENOBUFS, 1455: errno.ENOMEM, 1816: errno.ENOMEM,
}  # fmt: skip


def _path(address: Address) -> str:
    return f"{PIPE_PREFIX}{address.name}"


# -- the server's end ----------------------------------------------------------------------------------------------


def make_instance(address: Address, *, first: bool) -> int:
    """A server's end that clients can connect to. The `first` one claims the name.

    A pipe lives on, without a server, for as long as a client holds its end: where there is such a one of ours, this is
    one more end of it. Raises AddressInUse where it is another's, AddressError where Windows takes no such name, and
    OSError, with an errno that `accept_retrying` knows for a shortage.
    """
    descriptor = Descriptor(descriptor_text(own_sid()))
    try:
        return create_instance(_path(address), first=first, security=descriptor.attributes)
    except OSError as error:
        if error.winerror == ERROR_ACCESS_DENIED:
            left = _beside_what_is_left(address, descriptor) if first else None
            if left is not None:
                return left
            raise AddressInUse(
                f"Another program has the pipe {address}. Stop it first, or choose another address"
            ) from error
        if error.winerror in (ERROR_INVALID_NAME, ERROR_BAD_PATHNAME):
            raise AddressError(f"Windows takes no pipe of the name {address}", remedy="choose another") from error
        raise shortage(error) from error


def _beside_what_is_left(address: Address, descriptor: Descriptor) -> int | None:
    """A server's end beside those that clients of a server before us hold; None where the pipe is another's."""
    if _is_served(address):
        return None
    try:
        handle = create_instance(_path(address), first=False, security=descriptor.attributes)
    except OSError:
        return None
    try:
        # The first instance's descriptor is that of the pipe for as long as there is one.
        ours = owner_of(handle) == own_sid()
    except OSError:
        ours = False
    if not ours:
        close_handle(handle)
        return None
    return handle


def _is_served(address: Address) -> bool:
    """Whether a client can connect: a server always has an end that waits."""
    try:
        handle = open_client(_path(address))
    except OSError:
        return False
    close_handle(handle)
    return True


def shortage(error: OSError) -> OSError:
    """The error itself, or, where it says that something has run short, one with an errno that tells so."""
    code = _SHORTAGES.get(error.winerror)
    return error if code is None else OSError(code, error.strerror)


def client_credentials(handle: int) -> PeerCredentials:
    """Whose process is at the other end of a server's end, its user from the process's token.

    The user stays untold where we may not look. Raises OSError if it has gone.
    """
    pid = client_process(handle)
    return PeerCredentials(pid=pid, sid=_sid_of(pid))


# -- the client's end ----------------------------------------------------------------------------------------------


def open_end(address: Address) -> PipeEnd | None:
    """A client's end of the pipe at `address`, or None if all its instances are taken. Raises ConnectFailed."""
    try:
        return PipeEnd(open_client(_path(address)))
    except OSError as error:
        if error.winerror == ERROR_PIPE_BUSY:
            return None
        raise _connect_failed(address, error) from error


def trusted_server(handle: int, address: Address, trusted_uids: Collection[int | str] | None) -> PeerCredentials:
    """Who runs the server of a client's end. Raises ConnectFailed where that is nobody to talk to.

    The pipe's owner has to be trusted, whom nobody but a system's administrator can feign, and the user of the process
    that made it.
    """
    try:
        pid = server_process(handle)
        peer = PeerCredentials(pid=pid, sid=_sid_of(pid))
        owner = PeerCredentials(pid=pid, sid=owner_of(handle))
    except OSError as error:
        raise _connect_failed(address, error) from error
    if peer.sid is None and not process_runs(pid):
        raise ConnectFailed(f"The daemon at {address} ended just now", remedy=REMEDY, reason=Reason.ABSENT)
    check_trusted(address, owner, trusted_uids)
    check_trusted(address, peer, trusted_uids)
    return peer


def _sid_of(pid: int) -> str | None:
    try:
        return sid_of_process(pid)
    except OSError:
        return None


def _connect_failed(address: Address, error: OSError) -> ConnectFailed:
    code = error.winerror
    if code == ERROR_FILE_NOT_FOUND:
        return ConnectFailed(
            f"No daemon listens at {address}, there is no such pipe", remedy=REMEDY, reason=Reason.ABSENT
        )
    if code == ERROR_ACCESS_DENIED:
        return ConnectFailed(
            f"No permission to connect to {address}",
            remedy="it belongs to another user; run as that user, or set "
            f"{SOCKET_VARIABLE} to the address of your own daemon",
            reason=Reason.DENIED,
            retryable=False,
        )
    if code in (ERROR_INVALID_NAME, ERROR_BAD_PATHNAME):
        return ConnectFailed(
            f"{address} is not the pipe of a daemon ({error.strerror})",
            remedy=f"set {SOCKET_VARIABLE} to one",
            reason=Reason.NOT_A_DAEMON,
            retryable=False,
        )
    return ConnectFailed(
        f"Could not connect to {address}: {error.strerror}", retryable=has_gone(error) or code in _SHORTAGES
    )
