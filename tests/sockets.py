"""Listening for connections that block: on Unix a socket, on Windows the project's pipes with a socket's calls."""

from __future__ import annotations

import socket
import sys
import threading
from typing import Protocol

from poppo_ipc import Address
from poppo_ipc.testing.conformance._wire import Door, Wire, open_door

__all__ = ["Listening", "Sock", "listening"]

_SLICE = 0.05
_FOR_EVER = 3600.0


class Sock(Protocol):
    """What a server needs of a connection."""

    def settimeout(self, value: float | None, /) -> None: ...
    def recv(self, bufsize: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class Listening(Protocol):
    """What it needs of a place to listen at."""

    def accept(self) -> tuple[Sock, object]: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class PipeSocket:
    """A connection to a pipe."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._seconds = _FOR_EVER
        self._rest = b""

    def settimeout(self, value: float | None, /) -> None:
        self._seconds = _FOR_EVER if value is None else value

    def recv(self, bufsize: int, /) -> bytes:
        data = self._rest or self._wire.receive(self._seconds)
        self._rest = data[bufsize:]
        return data[:bufsize]

    def sendall(self, data: bytes, /) -> None:
        self._wire.send(data, _FOR_EVER)

    def shutdown(self, how: int, /) -> None:
        self._wire.close()

    def close(self) -> None:
        self._wire.close()


class PipeListening:
    """A pipe that is listened on."""

    def __init__(self, address: Address) -> None:
        self._door: Door = open_door(address)
        self._over = threading.Event()

    def accept(self) -> tuple[Sock, object]:
        while not self._over.is_set():
            try:
                return PipeSocket(self._door.accept(_SLICE)), None
            except TimeoutError:
                continue
        raise OSError("nobody listens any more")

    def shutdown(self, how: int, /) -> None:
        self._over.set()

    def close(self) -> None:
        self._door.close()


def listening(address: str) -> Listening:
    """A place to listen at."""
    parsed = Address.parse(address)
    if sys.platform == "win32":
        return PipeListening(parsed)
    else:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(parsed.name)
        sock.listen()
        return sock
