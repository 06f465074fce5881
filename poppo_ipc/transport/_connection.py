"""What a program without an event loop has in hand: a connection, and how to wait for it. Imports no event loop."""

from __future__ import annotations

import sys
from abc import abstractmethod
from typing import Protocol

from ._peer import PeerCredentials

if sys.platform == "win32":
    from ._pipe_blocking import BlockingPipe
else:
    import select
    import socket
    from typing import Any

    from ._peer import peer_credentials

__all__ = ["Connection", "Waiter", "peer_of"]


class Connection(Protocol):
    """The calls of `socket.socket` that are needed here, and mean what they mean there; a socket is one.

    What fails raises OSError; BlockingIOError where a connection that does not block would have to.
    """

    @abstractmethod
    def setblocking(self, flag: bool, /) -> None:
        """Whether `recv` and `send` wait."""

    @abstractmethod
    def settimeout(self, value: float | None, /) -> None:
        """How many seconds `recv`, `send` and `sendall` wait until they raise TimeoutError; None: for ever."""

    @abstractmethod
    def recv(self, bufsize: int, /) -> bytes:
        """At least one byte and at most `bufsize`; `b""` at the end."""

    @abstractmethod
    def send(self, data: bytes | bytearray | memoryview, /) -> int:
        """Hand over a part of `data`; how many bytes that was."""

    @abstractmethod
    def sendall(self, data: bytes | bytearray | memoryview, /) -> None:
        """Hand over all of `data`."""

    @abstractmethod
    def close(self) -> None:
        """Close. Idempotent. What was sent still arrives."""


if sys.platform == "win32":

    class Waiter:
        """Waits for one connection. Raises TypeError for a kind that it does not know."""

        __slots__ = ("_pipe",)

        def __init__(self, connection: Connection) -> None:
            self._pipe = _pipe(connection)

        def wait(self, writing: bool, timeout: float | None) -> bool:
            """Wait up to `timeout` seconds until something can be read, or written where `writing`."""
            return self._pipe.wait(writing, timeout)

        def unsent(self) -> bool:
            """Whether bytes that were sent have not reached the system yet. Raises OSError if they never will."""
            return self._pipe.unsent()

    def peer_of(connection: Connection) -> PeerCredentials:
        """The process at the other end. Raises OSError where it cannot be told, TypeError for an unknown kind."""
        return _pipe(connection).peer

    def _pipe(connection: Connection) -> BlockingPipe:
        if not isinstance(connection, BlockingPipe):
            raise TypeError(f"No connection of connect_blocking(): {connection!r}")
        return connection
else:

    class Waiter:
        """Waits for one connection. Raises TypeError for a kind that it does not know."""

        __slots__ = ("_poll", "_sock", "_writing")

        def __init__(self, connection: Connection) -> None:
            self._sock = _socket(connection)
            self._writing = False
            # select() has a bound on descriptors, but there is a system that has nothing else.
            self._poll: Any = None
            if hasattr(select, "poll"):
                self._poll = select.poll()
                self._poll.register(self._sock, select.POLLIN)

        def wait(self, writing: bool, timeout: float | None) -> bool:
            """Wait up to `timeout` seconds until something can be read, or written where `writing`."""
            if self._poll is None:
                return any(select.select([self._sock], [self._sock] if writing else [], [], timeout))
            if writing is not self._writing:
                self._poll.modify(self._sock, select.POLLIN | (select.POLLOUT if writing else 0))
                self._writing = writing
            return bool(self._poll.poll(None if timeout is None else timeout * 1000))

        def unsent(self) -> bool:
            """Whether bytes that were sent have not reached the system yet. Raises OSError if they never will."""
            return False

    def peer_of(connection: Connection) -> PeerCredentials:
        """The process at the other end. Raises OSError where it cannot be told, TypeError for an unknown kind."""
        return peer_credentials(_socket(connection))

    def _socket(connection: Connection) -> socket.socket:
        if not isinstance(connection, socket.socket):
            raise TypeError(f"No connection of connect_blocking(): {connection!r}")
        return connection
