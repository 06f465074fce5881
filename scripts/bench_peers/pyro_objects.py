"""Pyro5: an object on a Unix socket, a thread per client. 64 in flight are 64 calls in a batch. No authentication."""

from __future__ import annotations

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
        name="pyro5",
        title="Pyro5",
        module="pyro_objects",
        load=Load.SYNC,
        kinds=ALL_MODES - FAN_OUT,
        needs=("Pyro5",),
        most_clients=1000,
        threads=True,
    ),
)


def serve(place: Place) -> None:
    """Serve until killed."""
    import Pyro5.api
    from Pyro5 import config

    config.THREADPOOL_SIZE = 2000

    @Pyro5.api.expose
    class Service:
        def call(self, command: str, args: dict[str, Any]) -> Any:
            return work.answer(command, args)

    with Pyro5.api.Daemon(unixsocket=place.socket) as daemon:
        daemon.register(Service(), "bench")
        ready()
        daemon.requestLoop()


class _Client:
    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy
        self._asked: list[tuple[str, dict[str, Any]]] = []
        self._answers: deque[Any] = deque()

    def begin(self, command: str, args: dict[str, Any]) -> None:
        """Ask, together with what else is asked until an answer is wanted."""
        self._asked.append((command, args))

    def end(self) -> Any:
        """Wait for the answer to the oldest question."""
        import Pyro5.api

        if not self._answers:
            asked, self._asked = self._asked, []
            if len(asked) == 1:
                return self._proxy.call(*asked[0])
            batch = Pyro5.api.BatchProxy(self._proxy)
            for command, args in asked:
                batch.call(command, args)
            self._answers.extend(batch())
        return self._answers.popleft()


@contextmanager
def client(place: Place) -> Iterator[_Client]:
    """A client, which connects at its first call."""
    import Pyro5.api

    with Pyro5.api.Proxy(f"PYRO:bench@./u:{place.socket}") as proxy:
        yield _Client(proxy)
