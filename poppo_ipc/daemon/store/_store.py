"""The daemon's state on disk: changes of many tasks share a commit, and none is told of before it is on disk.

One thread owns the writing connection. While it waits for the disk, changes gather; it takes all of them into the
next transaction, each in a savepoint of its own, so that one that fails undoes itself alone. The event loop never
waits for the disk. The standard module in a thread was chosen over libraries that bridge each statement: they cost a
hand-over per statement, and here it is one per commit.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import trio

from poppo_ipc.daemon.store._database import StoreError, open_database
from poppo_ipc.daemon.store._transaction import EncodeEvent, StoredEvent, Transaction

__all__ = ["Store", "open_store"]

logger = logging.getLogger("poppo_ipc.daemon.store")

T = TypeVar("T")

# Changes of one commit at most: bounds how long the first of them waits for the last.
_BATCH: Final = 512
_READERS: Final = 2
_DISK_ERRORS: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
    }
)


class _Change(Generic[T]):
    """A change on its way to the disk."""

    __slots__ = ("done", "error", "run", "state", "value")

    def __init__(self, run: Callable[[Transaction], T]) -> None:
        self.run = run
        self.state = "queued"
        self.value: T | None = None
        self.error: BaseException | None = None
        self.done = trio.Event()


class Store:
    """Use `open_store`. All methods belong to the event loop's thread; changes run in the store's."""

    def __init__(self, path: Path, connection: sqlite3.Connection, encode: EncodeEvent) -> None:
        self.path = path
        self._connection = connection
        self._encode = encode
        self._changes: deque[_Change[Any] | None] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self._token = trio.lowlevel.current_trio_token()
        self._readers: list[sqlite3.Connection] = []
        self._reading = trio.CapacityLimiter(_READERS)
        self._on_events: Callable[[list[StoredEvent]], None] = lambda events: None
        #: What went wrong with the last commit; None while the disk takes them.
        self.failure: str | None = None
        #: Commits, and the changes in them.
        self.commits = 0
        self.changes = 0
        self.epoch, self._seq = self._begin()

    def _begin(self) -> tuple[str, int]:
        connection = self._connection
        connection.execute(
            "INSERT OR IGNORE INTO meta (key, value) VALUES ('epoch', ?), ('seq', '0')", (secrets.token_hex(8),)
        )
        epoch = str(connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
        floor = int(connection.execute("SELECT value FROM meta WHERE key = 'seq'").fetchone()[0])
        last = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
        return epoch, max(floor, last or 0)

    @property
    def seq(self) -> int:
        """The number of the last event that is on disk, or about to be."""
        return self._seq

    def on_events(self, callback: Callable[[list[StoredEvent]], None]) -> None:
        """Have `callback` called with the events of each commit, in order, in the event loop's thread.

        It is called before the changes that stored them are told that they are done. It must not raise.
        """
        self._on_events = callback

    async def write(self, change: Callable[[Transaction], T]) -> T:
        """Run `change(transaction)` in the store's thread and give what it returns, once that is on disk.

        What `change` raises undoes it and is raised here. Raises StoreError where the disk does not take it; nothing
        of it is kept then. Cancelled before the thread took it up, nothing happens; after that it is waited for, as
        long as a commit takes, and this returns normally.
        """
        if self._closing:
            raise StoreError("The store is closed")
        item = _Change(change)
        with self._ready:
            self._changes.append(item)
            self._ready.notify()
        try:
            await item.done.wait()
        except trio.Cancelled:
            if self._withdraw(item):
                raise
            # Shielded: a commit ends in the time that the disk takes, and its outcome must not be lost.
            with trio.CancelScope(shield=True):
                await item.done.wait()
        if item.error is not None:
            raise item.error
        return item.value  # type: ignore[return-value]  # set, or there is an error

    def _withdraw(self, item: _Change[Any]) -> bool:
        with self._ready:
            if item.state == "queued":
                item.state = "withdrawn"
                return True
            return False

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query(connection)` on a read-only connection in a thread; it sees all that was acknowledged.

        Never waits for writers, nor they for it. Cancelled, the query is interrupted. Raises StoreError.
        """
        async with self._reading:
            connection = self._readers.pop() if self._readers else None
            try:
                if connection is None:
                    connection = await trio.to_thread.run_sync(lambda: open_database(self.path, read_only=True))
                return await self._query(connection, query)
            finally:
                if connection is not None:
                    self._readers.append(connection)

    async def _query(self, connection: sqlite3.Connection, query: Callable[[sqlite3.Connection], T]) -> T:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_interrupt_when_cancelled, connection)
            try:
                result = await trio.to_thread.run_sync(lambda: query(connection))
            except sqlite3.Error as error:
                # Raised bare below: a nursery would wrap it.
                failure: sqlite3.Error | None = error
            else:
                failure = None
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise StoreError(f"The state cannot be read: {failure}") from failure
        return result

    # -- the thread ---------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Commit changes until the store is closed and none is left."""
        try:
            while True:
                batch = self._take_batch()
                if not batch:
                    return
                events = self._commit(batch)
                self._token.run_sync_soon(self._tell, batch, events)
        finally:
            self._connection.close()

    def _take_batch(self) -> list[_Change[Any]]:
        with self._ready:
            while True:
                batch: list[_Change[Any]] = []
                while self._changes and len(batch) < _BATCH:
                    item = self._changes.popleft()
                    if item is not None and item.state == "queued":
                        item.state = "taken"
                        batch.append(item)
                if batch or self._closing:
                    return batch
                self._ready.wait()

    def _commit(self, batch: list[_Change[Any]]) -> list[StoredEvent]:
        connection = self._connection
        transaction = Transaction(connection, self._seq, self._encode)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for item in batch:
                self._apply(item, transaction)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_up(batch, error)
            return []
        self._seq = transaction.seq
        self.failure = None
        self.commits += 1
        self.changes += len(batch)
        return transaction.events

    def _apply(self, item: _Change[Any], transaction: Transaction) -> None:
        execute = transaction.execute
        seq, events = transaction.seq, len(transaction.events)
        execute("SAVEPOINT change")
        try:
            item.value = item.run(transaction)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF in _DISK_ERRORS:
                # Not the change's fault, but the commit's: nothing that follows would fare better.
                raise
            item.error = error
            execute("ROLLBACK TO change")
            transaction.seq = seq
            del transaction.events[events:]
        execute("RELEASE change")

    def _give_up(self, batch: list[_Change[Any]], error: sqlite3.Error) -> None:
        self.failure = str(error)
        logger.error("A commit of %d changes failed: %s", len(batch), error)
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for item in batch:
            item.value = None
            item.error = StoreError("The state could not be written; look at the daemon's log and its disk")

    def _tell(self, batch: list[_Change[Any]], events: list[StoredEvent]) -> None:
        if events:
            self._on_events(events)
        for item in batch:
            item.done.set()

    # -- closing ------------------------------------------------------------------------------------------------

    def close_soon(self) -> None:
        """Take no more changes; those that were taken are still committed."""
        with self._ready:
            self._closing = True
            self._ready.notify()

    def close_readers(self) -> None:
        """Let go of the reading connections."""
        while self._readers:
            self._readers.pop().close()


async def _interrupt_when_cancelled(connection: sqlite3.Connection) -> None:
    try:
        await trio.sleep_forever()
    finally:
        connection.interrupt()


@asynccontextmanager
async def open_store(path: Path, encode: EncodeEvent) -> AsyncIterator[Store]:
    """The store at `path`, made or migrated as needed, for the block; all that was taken is on disk at its end.

    `encode(name, data, seq)` makes an event's frame. Raises what `open_database` raises.
    """
    connection = await trio.to_thread.run_sync(open_database, path)
    store = Store(path, connection, encode)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, store.work)
        try:
            yield store
        except Exception as error:
            # Raised bare below: a nursery would wrap it.
            failure = error
        finally:
            store.close_soon()
    store.close_readers()
    if failure is not None:
        raise failure
