"""Events on disk: numbered with the changes they tell of, sent once they are stored, and kept for who comes back."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import Any, Final

import trio

from poppo_ipc.daemon.store._database import StoreError
from poppo_ipc.daemon.store._store import Store
from poppo_ipc.daemon.store._transaction import StoredEvent, Transaction
from poppo_ipc.server import EventFrame, EventLog

__all__ = ["StoredEvents"]

logger = logging.getLogger("poppo_ipc.daemon.store")

# Events that the log has let go of stay on disk until there are so many: one delete for all of them.
_TRIM_EVERY: Final = 1000


class StoredEvents:
    """Joins the store and a server: `log` and `publish` are what a `Server` takes, `connect` lets the events out.

    `events` and `size` (bytes) bound what is kept, in memory and on disk.
    """

    def __init__(self, store: Store, log: EventLog, trimmed_to: int) -> None:
        self.log = log
        self._store = store
        self._trimmed_to = trimmed_to
        self._trim_now = trio.Event()
        # What is stored before there is a server (tasks that a dead daemon left) is kept for who comes back.
        self.connect(lambda name, seq, frame: log.append(EventFrame(frame, seq, name)))

    @classmethod
    async def load(cls, store: Store, events: int, size: int) -> StoredEvents:
        """What an earlier run has kept. Raises StoreError."""

        def kept(connection: sqlite3.Connection) -> tuple[list[EventFrame], int]:
            rows = connection.execute("SELECT seq, name, frame FROM events ORDER BY seq DESC LIMIT ?", (events,))
            found: list[EventFrame] = []
            total = 0
            for row in rows:
                total += len(row["frame"])
                if total > size:
                    break
                found.append(EventFrame(row["frame"], row["seq"], row["name"]))
            first = connection.execute("SELECT min(seq) FROM events").fetchone()[0]
            return found[::-1], store.seq if first is None else first - 1

        log = EventLog(events, size, epoch=store.epoch, seq=store.seq)
        found, trimmed_to = await store.read(kept)
        log.restore(found)
        return cls(store, log, trimmed_to)

    def connect(self, emit: Callable[[str, int, bytes], None]) -> None:
        """Send the events of each commit by `emit`, `Server.emit`. Until then they are kept for replay alone."""

        def send(events: list[StoredEvent]) -> None:
            for event in events:
                emit(event.name, event.seq, event.frame)
            if self._outdated() > _TRIM_EVERY:
                self._trim_now.set()

        self._store.on_events(send)

    async def publish(self, event: str, data: Any) -> int:
        """Store an event of its own, then send it: a server's `publisher`. Raises StoreError, and as encoding does."""
        return await self._store.write(lambda transaction: transaction.publish(event, data))

    def _outdated(self) -> int:
        return self.log.seq - len(self.log) - self._trimmed_to

    async def trim(self) -> None:
        """Delete what the log has let go of, now and then, until cancelled."""
        while True:
            await self._trim_now.wait()
            self._trim_now = trio.Event()
            # The last one stays, as the numbering goes on from it.
            upto = min(self.log.seq - len(self.log), self.log.seq - 1)

            def delete(transaction: Transaction, upto: int = upto) -> None:
                transaction.execute("DELETE FROM events WHERE seq <= ?", (upto,))

            try:
                await self._store.write(delete)
                self._trimmed_to = max(self._trimmed_to, upto)
            except StoreError as error:
                logger.warning("Old events could not be deleted: %s", error)
