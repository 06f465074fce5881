"""This project's client without an event loop, against its usual server."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench_peers.kit import work
from bench_peers.kit.peer import Place

if TYPE_CHECKING:
    from poppo_ipc import SyncClient

__all__ = ["client", "serve"]


def serve(place: Place) -> None:
    """Serve until killed."""
    from bench_peers import poppo

    poppo.serve(place)


class _Client:
    """`SyncClient`: a lone question is a call, several are a pipeline."""

    def __init__(self, client: SyncClient) -> None:
        self._client = client
        self._asked: list[tuple[str, dict[str, Any]]] = []
        self._answers: deque[Any] = deque()

    def begin(self, command: str, args: dict[str, Any]) -> None:
        """Ask, together with what else is asked until an answer is wanted."""
        self._asked.append((command, args))

    def end(self) -> Any:
        """Wait for the answer to the oldest question."""
        if not self._answers:
            asked, self._asked = self._asked, []
            if len(asked) == 1:
                return self._client.call(*asked[0])
            with self._client.pipeline() as pipeline:
                calls = [pipeline.call(command, args) for command, args in asked]
            self._answers.extend(call.result() for call in calls)
        return self._answers.popleft()


@contextmanager
def client(place: Place) -> Iterator[_Client]:
    """A client, connected."""
    from poppo_ipc import SyncClient

    with SyncClient(place.socket, token=work.TOKEN) as connected:
        yield _Client(connected)
