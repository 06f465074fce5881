"""A fake daemon within one Trio run: a real server, a listener that is tapped, and the faults that happen to both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from poppo_ipc.client import DEFAULT
from poppo_ipc.client._options import Default
from poppo_ipc.commands import Router
from poppo_ipc.limits import Limits
from poppo_ipc.protocol import ALL_CAPABILITIES
from poppo_ipc.server import EventLog, Server, TokenAuth, encode_event, generate_token
from poppo_ipc.testing._answering import fake_router
from poppo_ipc.testing._book import Book
from poppo_ipc.testing._door import Door, door_of
from poppo_ipc.testing._faults import FaultPlan
from poppo_ipc.testing._schemas import Schemas
from poppo_ipc.testing._tapped import TappedListener
from poppo_ipc.transport import Address, listen

__all__ = ["DaemonCore"]


class _LossyLog(EventLog):
    """Can let events be gone for good."""

    def lose(self, count: int) -> None:
        """Number so many events that nobody gets, and keep none of those before."""
        self.seq += count
        self._kept.clear()
        self._bytes = 0


class DaemonCore:
    """What answers by a book. Besides `serve`, everything is for the thread in which that runs.

    Args:
        router: what is declared; the standard commands and events where none is given.
        token: the token that clients have to show, a new one by default; None lets in all of this user.
        assert_all_called, allow_unexpected: as `Book` has them.
        limits, capabilities: as `Server` has them.
    """

    def __init__(
        self,
        router: Router | Iterable[Router] | None = None,
        *,
        token: str | Default | None = DEFAULT,
        assert_all_called: bool = True,
        allow_unexpected: bool = False,
        limits: Limits | None = None,
        capabilities: tuple[str, ...] = ALL_CAPABILITIES,
    ) -> None:
        self.book = Book(Schemas(router), assert_all_called=assert_all_called, allow_unexpected=allow_unexpected)
        self.plan = FaultPlan()
        self.token: str | None = generate_token() if isinstance(token, Default) else token
        self._limits = Limits() if limits is None else limits
        self._capabilities = capabilities
        self._router = fake_router(self.book)
        self._server: Server
        self._log: _LossyLog
        self._listener: TappedListener
        self._door: Door
        self._life = trio.CancelScope()
        self._again = False

    async def serve(self, address: Address, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started()` once clients can connect. Raises what `listen` raises."""
        listener = await listen(address)
        self._door = door_of(listener)
        try:
            async with trio.open_nursery() as nursery:
                self._listener = TappedListener(listener, self.book, self.plan, nursery)
                self._make_server()
                task_status.started()
                await self._serve_on()
        finally:
            self._door.open()
            with trio.move_on_after(self._limits.flush_seconds, shield=True):
                await listener.aclose()

    async def _serve_on(self) -> None:
        self._again = True
        while self._again:
            self._again = False
            with trio.CancelScope() as self._life:
                await self._server.serve()

    def _make_server(self) -> None:
        limits = self._limits
        self._log = _LossyLog(limits.kept_events, limits.kept_event_bytes)
        self._server = Server(
            self._router,
            address=self._listener,
            auth=self._auth(),
            limits=limits,
            name="fake-daemon",
            capabilities=self._capabilities,
            log=self._log,
        )

    def _auth(self) -> TokenAuth | None:
        return None if self.token is None else TokenAuth.from_secret(self.token)

    # -- what happens -----------------------------------------------------------------------------------------------

    def emit(self, event: str, data: Any) -> int:
        """Send an event to all who subscribed; gives its number."""
        return self._server.publish_nowait(event, data)

    def shut(self) -> None:
        """Refuse new connections."""
        self._door.shut()

    def open(self) -> None:
        """Take them again."""
        self._door.open()

    def drop_clients(self) -> None:
        """Close all connections."""
        for stream in list(self._listener.streams):
            stream.drop()

    def restart(self) -> None:
        """Be another daemon. Who connects meanwhile waits for it."""
        self.drop_clients()
        self._make_server()
        self._again = True
        self._life.cancel()

    def lose_events(self, count: int) -> None:
        """Close all connections, and number so many events that nobody gets."""
        self.drop_clients()
        self._log.lose(count)

    def drop_events(self, count: int) -> None:
        """Tell all who subscribed that so many events were dropped for them."""
        first, last = self._log.seq + 1, self._log.seq + count
        self._log.lose(count)
        told = {"dropped": count, "firstSeq": first, "lastSeq": last}
        event = encode_event("ipc.events-dropped", told, self._server.limits.frame_bytes)
        for stream in list(self._listener.streams):
            stream.tell_loss(bytes(event.frame))

    def change_token(self, token: str | None) -> str | None:
        """Take another token, or none, and close all connections; gives the old one."""
        old, self.token = self.token, token
        self._server.auth = self._auth()
        self.drop_clients()
        return old
