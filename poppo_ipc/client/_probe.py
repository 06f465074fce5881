"""A look at an address from outside: whether somebody listens there, greets, and which process that is."""

from __future__ import annotations

import errno
import sys
from typing import Protocol, Self

from poppo_ipc.errors import ConnectFailed
from poppo_ipc.transport import OWN_AND_ROOT, Address, AddressKind, connect_blocking
from poppo_ipc.transport._connection import peer_of

__all__ = ["Probe", "nothing_listens", "somebody_listens"]


class _End(Protocol):
    """A connection that nobody waits for."""

    pid: int | None

    def peek(self) -> bytes | None:
        """What has come; None if nothing has yet, `b""` if nothing will."""

    def close(self) -> None: ...


class Probe:
    """A connection to whoever listens at an address. Nothing is said on it, and nothing waits."""

    def __init__(self, end: _End) -> None:
        self._end = end

    @classmethod
    def of(cls, address: Address) -> Self:
        """Connect; nothing is waited for. Raises what `connect_blocking` does."""
        if sys.platform == "win32" and address.kind is AddressKind.PIPE:
            return cls(_PipeEnd(address))
        return cls(_SocketEnd(address))

    @property
    def pid(self) -> int | None:
        """The process that listens, where the system tells."""
        return self._end.pid

    def greeted(self) -> bool | None:
        """Whether it has said a word: False if it closed without one, None if neither has happened yet."""
        came = self._end.peek()
        return None if came is None else bool(came)

    def close(self) -> None:
        """Close it."""
        self._end.close()


class _SocketEnd:
    def __init__(self, address: Address) -> None:
        self._sock = connect_blocking(address, 0.0, trusted_uids=OWN_AND_ROOT)
        self._sock.setblocking(False)
        try:
            self.pid = peer_of(self._sock).pid
        except OSError:
            self.pid = None

    def peek(self) -> bytes | None:
        try:
            return self._sock.recv(1)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def close(self) -> None:
        self._sock.close()


if sys.platform == "win32":
    from poppo_ipc.transport._pipe_open import open_end, trusted_server

    class _PipeEnd:
        def __init__(self, address: Address) -> None:
            end = open_end(address)
            if end is None:
                raise ConnectFailed(f"The daemon at {address} is there but took no connection: try again")
            self._end = end
            try:
                self.pid = trusted_server(end.handle, address, OWN_AND_ROOT).pid
            except BaseException:
                end.close()
                raise

        def peek(self) -> bytes | None:
            try:
                return self._end.pull(1)
            except OSError:
                return b""

        def close(self) -> None:
            self._end.close()


def nothing_listens(error: BaseException) -> bool:
    """Whether this says that there is nobody at the address: no socket or pipe, or a socket whose owner is dead."""
    cause = error.__cause__
    return (
        isinstance(error, ConnectFailed)
        and error.retryable
        and isinstance(cause, OSError)
        and cause.errno in (errno.ENOENT, errno.ECONNREFUSED)
    )


def somebody_listens(address: Address) -> bool:
    """Whether a connection can be made, or somebody is there who takes none just now."""
    try:
        Probe.of(address).close()
    except ConnectFailed as error:
        return not nothing_listens(error)
    return True
