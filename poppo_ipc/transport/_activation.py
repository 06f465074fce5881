"""Sockets that a service manager opened for us: systemd's protocol, which others speak too."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from ..errors import AddressError

__all__ = ["activated_sockets", "bound_path"]

_FIRST_FD = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def activated_sockets(
    environ: MutableMapping[str, str] | None = None,
    pid: int | None = None,
    *,
    name: str | None = None,
    unset: bool = False,
) -> list[socket.socket]:
    """The sockets that the service manager handed to this process, in its order; empty if it did not.

    They are no longer inherited by children. Call once: each call makes new objects for the same descriptors, and
    the first one closed closes them.

    Args:
        environ: where `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` are read; this process's by default.
        pid: the process that they have to be meant for; this one by default, so that children ignore them.
        name: only the sockets of this name (systemd's `FileDescriptorName=`).
        unset: delete the variables, so that children do not see them.

    Raises AddressError if the variables are meant for us but wrong, or a descriptor is no socket.
    """
    environ = os.environ if environ is None else environ
    texts = [environ.get(variable, "") for variable in _VARIABLES]
    if unset:
        for variable in _VARIABLES:
            environ.pop(variable, None)
    if not texts[0] or not texts[1]:
        return []
    try:
        meant, count = int(texts[0]), int(texts[1])
    except ValueError:
        raise AddressError(f"LISTEN_PID={texts[0]!r} or LISTEN_FDS={texts[1]!r} is no number") from None
    if meant != (os.getpid() if pid is None else pid):
        return []
    names = texts[2].split(":") if texts[2] else []
    sockets: list[socket.socket] = []
    wanted = [index for index in range(count) if name is None or names[index : index + 1] == [name]]
    try:
        for index in wanted:
            sockets.append(_adopt(_FIRST_FD + index))  # noqa: PERF401 - those made before a failure are needed below
    except BaseException:
        for sock in sockets:
            sock.detach()  # not ours to close: the caller got nothing
        raise
    return sockets


def _adopt(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        return socket.socket(fileno=fd)
    except OSError as exc:
        raise AddressError(f"File descriptor {fd} from the service manager is no socket: {exc.strerror}") from exc


def bound_path(sock: socket.socket) -> str:
    """The absolute path that `sock`, a listening Unix stream socket, is bound to.

    Raises AddressError if it is anything else.
    """
    if sock.family.name != "AF_UNIX" or sock.type != socket.SOCK_STREAM:
        raise AddressError(f"Not a Unix stream socket: {sock!r}")
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise AddressError(f"The socket does not listen: {sock!r}")
    path = sock.getsockname()
    if not isinstance(path, str) or not path:
        raise AddressError(f"The socket has no path in the file system: {sock!r}")
    return os.path.abspath(path)
