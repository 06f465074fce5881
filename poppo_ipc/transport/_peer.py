"""Who is at the other end of a connection, by the system's word, and whether that is somebody to talk to."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable, Collection, Iterator
from typing import final

from attrs import frozen

__all__ = ["OWN_AND_ROOT", "PeerCredentials", "own_credentials", "peer_credentials"]

if sys.platform == "linux":
    _SO_PEERCRED = socket.SO_PEERCRED
else:
    _SO_PEERCRED = 17
# macOS and FreeBSD; Python has no names for these.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2

_UCRED = struct.Struct("=iII")  # pid, uid, gid
_XUCRED = struct.Struct("=IIhxx16I")  # version, uid, number of groups, groups; native padding spelt out
_PID = struct.Struct("=i")
_NOBODY_KNOWN = 2**32 - 1  # (uid_t)-1
_SYSTEM = "S-1-5-18"  # Windows' root

GetSockOpt = Callable[[int, int, int], bytes]


@frozen
class PeerCredentials:
    """The process at the other end, as the kernel knew it when it connected or began to listen.

    A part that the platform does not tell is None. The pid may belong to another process by now.
    """

    uid: int | None = None
    """The effective user id."""

    gid: int | None = None
    """The effective group id."""

    pid: int | None = None
    """The process id, None also where that process lives in a pid namespace that we cannot see."""

    sid: str | None = None
    """Windows' name for the user, such as `S-1-5-18` for the system itself, from the token of the process."""

    def is_one_of(self, users: Collection[int | str]) -> bool:
        """Whether this is one of `users`: uids, or SIDs as text. A process whose user is not known is nobody's."""
        return (self.uid is not None and self.uid in users) or (self.sid is not None and self.sid in users)


@final
class _OwnAndRoot(Collection[int | str]):
    """Our own effective user of the moment, and root: asked for each time, as a daemon may drop its rights."""

    def _users(self) -> set[int | str]:
        own = own_credentials()
        if sys.platform == "win32":
            return {_SYSTEM} if own.sid is None else {_SYSTEM, own.sid}
        else:
            return {0} if own.uid is None else {0, own.uid}

    def __contains__(self, user: object) -> bool:
        return user in self._users()

    def __iter__(self) -> Iterator[int | str]:
        return iter(self._users())

    def __len__(self) -> int:
        return len(self._users())

    def __repr__(self) -> str:
        return "OWN_AND_ROOT"


OWN_AND_ROOT: Collection[int | str] = _OwnAndRoot()
"""The users trusted by default: our own effective uid, evaluated at each look, and root's; on Windows our own SID and
that of the system itself, S-1-5-18."""


def own_credentials() -> PeerCredentials:
    """Our own process, as a peer on the same machine would see it."""
    if sys.platform == "win32":
        from .._win32.security import own_sid

        return PeerCredentials(pid=os.getpid(), sid=own_sid())
    else:
        return PeerCredentials(uid=os.geteuid(), gid=os.getegid(), pid=os.getpid())


def peer_credentials(sock: socket.socket, platform: str = sys.platform) -> PeerCredentials:
    """The credentials of the process at the other end of `sock`, a connected Unix socket.

    All parts are None on a platform that is not known to tell. Raises OSError if the kernel refuses, which it does on
    some systems once the peer has gone.
    """
    reader = _READERS.get(platform.rstrip("0123456789"))
    return PeerCredentials() if reader is None else reader(sock.getsockopt)


def _linux(getsockopt: GetSockOpt) -> PeerCredentials:
    pid, uid, gid = _UCRED.unpack(getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, _UCRED.size))
    return PeerCredentials(uid=_known(uid), gid=_known(gid), pid=pid if pid > 0 else None)


def _xucred(getsockopt: GetSockOpt) -> PeerCredentials:
    # The kernel may append fields in later versions and tells less when it knows less, so only the start is read.
    data = getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
    version, uid, count, *groups = _XUCRED.unpack(data[: _XUCRED.size].ljust(_XUCRED.size, b"\0"))
    if version != 0 or len(data) < 12:  # XUCRED_VERSION; another layout would be misread
        return PeerCredentials()
    return PeerCredentials(uid=_known(uid), gid=_known(groups[0]) if count > 0 else None)


def _darwin(getsockopt: GetSockOpt) -> PeerCredentials:
    who = _xucred(getsockopt)
    (pid,) = _PID.unpack(getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, _PID.size))
    return PeerCredentials(uid=who.uid, gid=who.gid, pid=pid if pid > 0 else None)


def _known(number: int) -> int | None:
    return None if number == _NOBODY_KNOWN else number


_READERS: dict[str, Callable[[GetSockOpt], PeerCredentials]] = {
    "linux": _linux,
    "darwin": _darwin,
    "freebsd": _xucred,
    "dragonfly": _xucred,
}
