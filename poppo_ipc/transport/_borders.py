"""The map from what the system says of sockets, by errno and never by text, to the errors of this package.

Free of event loops, since the synchronous client uses it too.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Collection

from ..errors import ConnectFailed, TransportUnsupported
from ._address import SOCKET_VARIABLE, Address
from ._peer import PeerCredentials, peer_credentials

__all__ = [
    "ABORTED",
    "BACKLOG_FULL",
    "CAPACITY",
    "REMEDY",
    "Reason",
    "check_trusted",
    "connect_failed",
    "no_pipes",
    "no_unix",
    "too_busy",
    "trusted_peer",
    "user_name",
]

Reason = ConnectFailed.Reason

CAPACITY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""The process or the system is out of something that others will give back: wait and try again."""

ABORTED = frozenset({errno.ECONNABORTED, errno.EPROTO})
"""A client left before it was accepted: the next one is not affected."""

BACKLOG_FULL = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})
"""What Linux says to a non-blocking connect when the listener's queue is full: it lives, and there will be room."""

_PASSING = CAPACITY | {errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.ETIMEDOUT, errno.EINVAL}
# EINVAL and ENOTCONN are what macOS says of a socket whose peer closed it meanwhile.

REMEDY = f"start the daemon, or set {SOCKET_VARIABLE} to the address of one that runs"


def no_pipes(address: Address) -> TransportUnsupported:
    """The error where there are no named pipes."""
    return TransportUnsupported(
        f"Only Windows has named pipes, so {address} cannot be used: use unix:/path, or memory:NAME within one event "
        "loop"
    )


def no_unix(what: object) -> TransportUnsupported:
    """The error where Python has no Unix sockets."""
    return TransportUnsupported(
        f"Python has no Unix sockets on Windows, so {what} cannot be used: use npipe:NAME, or memory:NAME within one "
        "event loop"
    )


def user_name(uid: int) -> str:
    """The name and number of a user, for people: `alice (uid 1000)`, or `uid 1000` if nobody knows a name."""
    if sys.platform != "win32":
        import pwd

        try:
            return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
        except KeyError:
            pass
    return f"uid {uid}"


def _account(sid: str) -> str:
    """The name and SID of a user of Windows, for people."""
    if sys.platform == "win32":
        from .._win32.security import account_name

        if name := account_name(sid):
            return f"{name} ({sid})"
    return sid


def connect_failed(address: Address, exc: OSError) -> ConnectFailed:
    """The error for a connect to the Unix socket `address` that the system refused with `exc`.

    Looks at the path again to say more; what it finds may have changed since.
    """
    code = exc.errno
    if code == errno.ENOENT:
        return ConnectFailed(
            f"No daemon listens at {address}, there is no such socket", remedy=REMEDY, reason=Reason.ABSENT
        )
    if code == errno.ECONNREFUSED:
        if _is_other_file(address.name):
            return ConnectFailed(
                f"{address} is not a socket",
                remedy=f"set {SOCKET_VARIABLE} to one",
                reason=Reason.NOT_A_DAEMON,
                retryable=False,
            )
        return ConnectFailed(
            f"No daemon listens at {address}, its socket was left behind", remedy=REMEDY, reason=Reason.ABSENT
        )
    if code in (errno.EACCES, errno.EPERM):
        return ConnectFailed(
            f"No permission to connect to {address}",
            remedy=_owner(address.name),
            reason=Reason.DENIED,
            retryable=False,
        )
    if code == errno.ENOTDIR or code == errno.ELOOP or code == errno.EPROTOTYPE or code == errno.ENOTSOCK:
        return ConnectFailed(
            f"{address} is not the socket of a daemon ({os.strerror(code)})",
            remedy=f"set {SOCKET_VARIABLE} to one",
            reason=Reason.NOT_A_DAEMON,
            retryable=False,
        )
    why = os.strerror(code) if code is not None else str(exc)
    return ConnectFailed(f"Could not connect to {address}: {why}", retryable=code in _PASSING)


def too_busy(address: Address) -> ConnectFailed:
    """The error for a daemon whose queue stayed full for as long as there was time."""
    return ConnectFailed(
        f"The daemon at {address} is there but took no connection in time", remedy="try again", reason=Reason.BUSY
    )


def trusted_peer(sock: socket.socket, address: Address, trusted_uids: Collection[int | str] | None) -> PeerCredentials:
    """Who runs the server at `address` that `sock` is connected to. Raises ConnectFailed as `check_trusted`."""
    try:
        peer = peer_credentials(sock)
    except OSError as exc:
        raise connect_failed(address, exc) from exc
    check_trusted(address, peer, trusted_uids)
    return peer


def check_trusted(address: Address, peer: PeerCredentials, trusted_uids: Collection[int | str] | None) -> None:
    """Raise ConnectFailed unless the server at `address` is run by one of `trusted_uids` (None trusts anyone).

    A server whose user the platform does not tell is not trusted.
    """
    if trusted_uids is None or peer.is_one_of(trusted_uids):
        return
    who = "a user that the system does not tell"
    if peer.uid is not None:
        who = user_name(peer.uid)
    elif peer.sid is not None:
        who = _account(peer.sid)
    raise ConnectFailed(
        f"The server at {address} is run by {who}, who is not trusted, so nothing was sent to it",
        remedy=f"set {SOCKET_VARIABLE} to the address of your own daemon, or trust that user explicitly",
        reason=Reason.UNTRUSTED,
        retryable=False,
    )


def _is_other_file(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _owner(path: str) -> str:
    # A directory on the way may be what is shut; then the nearest thing that can be seen is named instead.
    place = path
    while True:
        try:
            uid = os.stat(place).st_uid
        except OSError:
            if place == os.path.dirname(place):
                return "ask its owner to let you in"
            place = os.path.dirname(place)
        else:
            return f"{place} belongs to {user_name(uid)}; run as that user, or ask them to let you in"
