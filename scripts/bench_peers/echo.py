"""The floor: a process for each client that sends back what comes, without looking at it."""

from __future__ import annotations

import os
import signal
import socket

from bench_peers.kit.peer import Load, Peer, Place
from bench_peers.kit.processes import ready

__all__ = ["PEERS", "serve"]

PEERS = (
    Peer(
        name="echo",
        title="blocking echo (the floor)",
        module="echo",
        load=Load.LEAN,
        kinds=frozenset({"requests"}),
        handshake=False,
    ),
)


def serve(place: Place) -> None:
    """Serve until killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that have ended
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.socket)
        listener.listen(64)
        ready()
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                _echo(client)
                os._exit(0)
            client.close()


def _echo(client: socket.socket) -> None:
    try:
        while data := client.recv(65536):
            client.sendall(data)
    except ConnectionError:
        pass
