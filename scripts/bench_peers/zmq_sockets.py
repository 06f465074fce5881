"""ZeroMQ: a ROUTER answers, a PUB tells events, both over Unix sockets, with JSON. No authentication.

Its events all go out in one go, whatever the bursts: the library's own thread does the sending.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench_peers.kit import work
from bench_peers.kit.peer import ALL_MODES, Load, Peer, Place
from bench_peers.kit.processes import ready

__all__ = ["PEERS", "client", "serve"]

PEERS = (
    Peer(
        name="zeromq",
        title="ZeroMQ (pyzmq) + json",
        module="zmq_sockets",
        load=Load.SYNC,
        kinds=ALL_MODES,
        needs=("zmq",),
        most_clients=5000,
    ),
)


def serve(place: Place) -> None:
    """Serve until killed."""
    import zmq

    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 65_000)
    router, events = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
    for socket in (router, events):
        socket.set_hwm(0)
        socket.set(zmq.BACKLOG, 1024)
    router.bind(f"ipc://{place.socket}")
    events.bind(f"ipc://{place.socket}-events")
    ready()
    while True:
        client, request = router.recv_multipart()
        command, args = json.loads(request)
        router.send_multipart((client, json.dumps(work.answer(command, args)).encode()))
        if command == "bench.broadcast":
            for _ in range(args["n"]):
                events.send(json.dumps(work.EVENT_DATA).encode())


class _Client:
    def __init__(self, context: Any, path: str) -> None:
        import zmq

        self._context = context
        self._path = path
        self._socket = context.socket(zmq.DEALER)
        self._socket.set_hwm(0)
        self._socket.connect(f"ipc://{path}")
        self._events: Any = None

    def begin(self, command: str, args: dict[str, Any]) -> None:
        """Ask."""
        self._socket.send(json.dumps((command, args)).encode())

    def end(self) -> Any:
        """Wait for the answer to the oldest question."""
        return json.loads(self._socket.recv())

    def subscribe(self) -> None:
        """Get every event from soon on."""
        import zmq

        self._events = self._context.socket(zmq.SUB)
        self._events.set_hwm(0)
        self._events.subscribe(b"")
        self._events.connect(f"ipc://{self._path}-events")

    def take(self, count: int) -> Any:
        """Wait for so many events; gives the data of the last one."""
        for _ in range(count):
            data = json.loads(self._events.recv())
        return data

    def close(self) -> None:
        """End the connections."""
        self._socket.close(linger=0)
        if self._events is not None:
            self._events.close(linger=0)


@contextmanager
def client(place: Place) -> Iterator[_Client]:
    """A client; the library connects in the background."""
    import zmq

    context: Any = zmq.Context.instance()
    context.set(zmq.MAX_SOCKETS, 65_000)
    connected = _Client(context, place.socket)
    try:
        yield connected
    finally:
        connected.close()
