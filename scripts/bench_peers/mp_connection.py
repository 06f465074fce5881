"""multiprocessing.connection of the standard library: pickle, authentication by a shared key, a thread per client."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from bench_peers.kit import work
from bench_peers.kit.peer import ALL_MODES, Load, Peer, Place
from bench_peers.kit.processes import ready

__all__ = ["PEERS", "client", "serve"]

PEERS = (
    Peer(
        name="multiprocessing",
        title="multiprocessing.connection",
        module="mp_connection",
        load=Load.SYNC,
        kinds=ALL_MODES,
        most_clients=1000,
    ),
)


class _Server:
    def __init__(self) -> None:
        self._clients: dict[Connection, threading.Lock] = {}

    def serve_client(self, connection: Connection) -> None:
        """One client to its end, in its thread."""
        lock = self._clients[connection] = threading.Lock()
        try:
            while True:
                command, args = connection.recv()
                if command == "bench.broadcast":
                    threading.Thread(target=self._broadcast, args=(args["n"],), daemon=True).start()
                result = work.answer(command, args)
                with lock:
                    connection.send(("answer", result))
        except (EOFError, OSError):
            pass
        finally:
            del self._clients[connection]

    def _broadcast(self, count: int) -> None:
        for _ in range(count):
            for connection, lock in list(self._clients.items()):
                with lock:
                    connection.send(("event", work.EVENT_DATA))


def serve(place: Place) -> None:
    """Serve until killed."""
    server = _Server()
    with Listener(place.socket, "AF_UNIX", backlog=1024, authkey=work.TOKEN.encode()) as listener:
        ready()
        while True:
            try:
                connection = listener.accept()
            except (EOFError, OSError):
                continue
            threading.Thread(target=server.serve_client, args=(connection,), daemon=True).start()


class _Client:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._events: deque[Any] = deque()

    def begin(self, command: str, args: dict[str, Any]) -> None:
        """Ask."""
        self._connection.send((command, args))

    def end(self) -> Any:
        """Wait for the answer to the oldest question."""
        while True:
            kind, data = self._connection.recv()
            if kind == "answer":
                return data
            self._events.append(data)

    def subscribe(self) -> None:
        """Every client gets every event."""

    def take(self, count: int) -> Any:
        """Wait for so many events; gives the data of the last one."""
        events = self._events
        while len(events) < count:
            events.append(self._connection.recv()[1])
        for _ in range(count):
            data = events.popleft()
        return data


@contextmanager
def client(place: Place) -> Iterator[_Client]:
    """A client, connected."""
    with Client(place.socket, "AF_UNIX", authkey=work.TOKEN.encode()) as connection:
        yield _Client(connection)
