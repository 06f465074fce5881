"""The way to a daemon's address, shut and opened under a listener that knows nothing of it."""

from __future__ import annotations

import os
import socket
import sys
from typing import Protocol

from poppo_ipc.transport import Address, AddressKind, Listener
from poppo_ipc.transport._memory import MemoryListener, _register

__all__ = ["Door", "door_of"]


class Door(Protocol):
    """Shuts and opens at once, without waiting; a second time changes nothing. Open it before the listener closes."""

    def shut(self) -> None:
        """Who connects from here on is refused."""

    def open(self) -> None:
        """Who connects from here on comes to the listener again."""


def door_of(listener: Listener) -> Door:
    """The door before a listener that `listen` gave."""
    if sys.platform == "win32":
        if isinstance(listener, PipeListener):
            return _PipeDoor(listener)
    elif listener.address.kind is AddressKind.UNIX:
        return _UnixDoor(listener.address.name)
    assert isinstance(listener, MemoryListener)
    return _MemoryDoor(listener.address, listener)


if sys.platform == "win32":
    from poppo_ipc.transport._pipe_trio import PipeListener

    class _PipeDoor:
        """The pipe has no instance that waits for a client."""

        def __init__(self, listener: PipeListener) -> None:
            self._listener = listener

        def shut(self) -> None:
            self._listener.pause()

        def open(self) -> None:
            self._listener.resume()
else:

    class _UnixDoor:
        """Another socket, on which nobody listens, takes the place of the listener's."""

        def __init__(self, path: str) -> None:
            self._path = path
            self._aside = f"{path}.aside"
            self._dead: socket.socket | None = None

        def shut(self) -> None:
            if self._dead is None:
                os.rename(self._path, self._aside)
                self._dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._dead.bind(self._path)

        def open(self) -> None:
            if self._dead is not None:
                self._dead.close()
                self._dead = None
                os.rename(self._aside, self._path)


class _MemoryDoor:
    """The listener's name is taken out of the register of the event loop."""

    def __init__(self, address: Address, listener: MemoryListener) -> None:
        self._name = address.name
        self._listener = listener

    def shut(self) -> None:
        _register().pop(self._name, None)

    def open(self) -> None:
        _register()[self._name] = self._listener
