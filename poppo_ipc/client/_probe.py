"""A look at an address from outside: whether somebody listens there, greets, and which process that is."""

from __future__ import annotations

from typing import Self

from poppo_ipc.errors import ConnectFailed
from poppo_ipc.transport import OWN_AND_ROOT, Address, connect_blocking
from poppo_ipc.transport._connection import Connection, peer_of

__all__ = ["Probe", "nothing_listens", "somebody_listens"]


class Probe:
    """A connection to whoever listens at an address. Nothing is said on it, and nothing waits."""

    def __init__(self, connection: Connection) -> None:
        connection.setblocking(False)
        self._connection = connection

    @classmethod
    def of(cls, address: Address) -> Self:
        """Connect; nothing is waited for. Raises what `connect_blocking` does."""
        return cls(connect_blocking(address, 0.0, trusted_uids=OWN_AND_ROOT))

    @property
    def pid(self) -> int | None:
        """The process that listens, where the system tells."""
        try:
            return peer_of(self._connection).pid
        except OSError:
            return None

    def greeted(self) -> bool | None:
        """Whether it has said a word: False if it closed without one, None if neither has happened yet."""
        try:
            return bool(self._connection.recv(1))
        except BlockingIOError:
            return None
        except OSError:
            return False

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def nothing_listens(error: BaseException) -> bool:
    """Whether this says that there is nobody at the address: no socket or pipe, or a socket whose owner is dead."""
    return isinstance(error, ConnectFailed) and error.reason is ConnectFailed.Reason.ABSENT


def somebody_listens(address: Address) -> bool:
    """Whether a connection can be made, or somebody is there who takes none just now."""
    try:
        Probe.of(address).close()
    except ConnectFailed as error:
        return not nothing_listens(error)
    return True
