"""rpyc: a threaded server on a Unix socket. Structures go as JSON, since rpyc would pass them by reference.

There is no authentication: rpyc leaves that to TLS or SSH.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench_peers.kit import work
from bench_peers.kit.peer import ALL_MODES, FAN_OUT, Load, Peer, Place
from bench_peers.kit.processes import ready

__all__ = ["PEERS", "client", "serve"]

PEERS = (
    Peer(
        name="rpyc",
        title="rpyc",
        module="rpyc_service",
        load=Load.SYNC,
        kinds=ALL_MODES - FAN_OUT,
        needs=("rpyc",),
        most_clients=1000,
    ),
)


def serve(place: Place) -> None:
    """Serve until killed."""
    import rpyc
    from rpyc.utils.server import ThreadedServer

    class Service(rpyc.Service):  # type: ignore[misc]
        def exposed_call(self, command: str, args: str) -> str:
            return json.dumps(work.answer(command, json.loads(args)))

    server = ThreadedServer(Service, socket_path=place.socket, backlog=1024)
    threading.Thread(target=server.start).start()
    ready()


class _Client:
    def __init__(self, call: Any) -> None:
        self._call = call
        self._open: deque[Any] = deque()

    def begin(self, command: str, args: dict[str, Any]) -> None:
        """Ask."""
        self._open.append(self._call(command, json.dumps(args)))

    def end(self) -> Any:
        """Wait for the answer to the oldest question."""
        return json.loads(self._open.popleft().value)


@contextmanager
def client(place: Place) -> Iterator[_Client]:
    """A client, connected."""
    import rpyc
    from rpyc.utils.factory import unix_connect

    connection = unix_connect(place.socket)
    try:
        yield _Client(rpyc.async_(connection.root.call))
    finally:
        connection.close()
