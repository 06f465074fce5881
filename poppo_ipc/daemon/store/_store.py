"""The daemon's state on disk: changes of many tasks share a commit, and none is told of before it is on disk.

One thread owns the writing connection. While it waits for the disk, changes gather; it takes all of them into the
next transaction. Should one of them fail, the transaction is done again with each in a savepoint of its own, so that
the one that fails undoes itself alone: savepoints for all would cost a third of the time for what hardly ever
happens. The event loop never waits for the disk. The standard module in a thread was chosen over libraries that bridge
each statement: they cost a hand-over per statement, and here it is one per commit.
"""

from __future__ import annotations

import logging
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import trio

from poppo_ipc.daemon.store._database import StoreError, connect, open_database
from poppo_ipc.daemon.store._failures import cannot_read, cannot_write, is_disk_error, log_text
from poppo_ipc.daemon.store._lock import release_lock, take_lock
from poppo_ipc.daemon.store._transaction import EncodeEvent, StoredEvent, Transaction

__all__ = ["Store", "open_store"]

logger = logging.getLogger("poppo_ipc.daemon.store")

T = TypeVar("T")

# Changes of one commit at most: bounds how long the first of them waits for the last.
_BATCH: Final = 512
# After a commit of so many changes the next one waits for company: while more come with each look, and not for long.
_MANY: Final = 8
_LOOK_SECONDS: Final = 0.0005
_LOOKS: Final = 8
_READERS: Final = 2
# Steps of SQLite's machine between two looks at whether the reader was cancelled: some tenths of a millisecond.
_STEPS: Final = 20_000


class _Change(Generic[T]):
    """A change on its way to the disk. `state` is `queued`, then `taken` or `withdrawn`."""

    __slots__ = ("after", "error", "run", "state", "task", "value")

    def __init__(self, run: Callable[[Transaction], T], after: Callable[[T], object] | None) -> None:
        self.run = run
        self.after = after
        self.task = trio.lowlevel.current_task()
        self.state = "queued"
        self.value: T | None = None
        self.error: BaseException | None = None


class _Spoilt(Exception):
    """A change of a batch failed, and those beside it have to be done again without it."""


class Store:
    """Use `open_store`. All methods belong to the event loop's thread; changes run in the store's."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, encode: EncodeEvent, token: trio.lowlevel.TrioToken
    ) -> None:
        self.path = path
        self._connection = connection
        self._encode = encode
        # None is the last: the store is closed.
        self._changes: queue.SimpleQueue[_Change[Any] | None] = queue.SimpleQueue()
        self._taking = threading.Lock()
        self._closing = False
        self._busy = False  # whether changes come faster than commits
        self._token = token
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
        row = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        if row is None:
            row = (secrets.token_hex(8),)
            connection.execute("INSERT INTO meta (key, value) VALUES ('epoch', ?)", row)
        return str(row[0]), int(connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])

    @property
    def seq(self) -> int:
        """The number of the last event that is on disk, or about to be."""
        return self._seq

    def on_events(self, callback: Callable[[list[StoredEvent]], None]) -> None:
        """Have `callback` called with the events of each commit, in order, in the event loop's thread.

        Called before the writes that made them return.
        """
        self._on_events = callback

    async def write(self, change: Callable[[Transaction], T], after: Callable[[T], object] | None = None) -> T:
        """Run `change(transaction)` in the store's thread and give what it returns, once that is on disk.

        What `change` raises undoes it and is raised here. It may be run a second time, its first run undone, so it
        must do nothing but return its result. Raises StoreUnavailable where the disk does not take it; nothing of it
        is kept then, and the next write tries the disk anew. Cancelled before the thread took it up, nothing happens;
        after that it is waited for, as long as a commit takes, and this returns normally. So a caller's deadline, too,
        bounds no more than the wait for the thread.

        `after(result)` is called in the event loop's thread once the change is on disk, in the order of the changes
        and before their events are sent: what is kept in memory has to change there, since writers wake in any order.
        """
        if self._closing:
            raise StoreError("The store is closed")
        item = _Change(change, after)
        self._changes.put(item)
        # Woken by `_tell`. Trio's own means and not an event: it knows just what a change has to, that the wait can be
        # given up until some point and not after it, and it is on the path of every command that changes anything.
        await trio.lowlevel.wait_task_rescheduled(lambda raise_cancel: self._withdraw(item))
        if item.error is not None:
            raise item.error
        return item.value  # type: ignore[return-value]  # set, or there is an error

    def _withdraw(self, item: _Change[Any]) -> trio.lowlevel.Abort:
        with self._taking:
            if item.state == "queued":
                item.state = "withdrawn"
                return trio.lowlevel.Abort.SUCCEEDED
            # A commit ends in the time that the disk takes, and its outcome must not be lost.
            return trio.lowlevel.Abort.FAILED

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query(connection)` on a read-only connection in a thread; it sees all that was acknowledged.

        Never waits for writers, nor they for it; all its statements see the same state. It must read its cursors to
        their end, and return none. Cancelled, it is interrupted. What it raises is raised here, errors of the disk as
        StoreUnavailable and others of SQLite as StoreError.
        """
        if self._closing:
            raise StoreError("The store is closed")
        return await trio.to_thread.run_sync(self._read, query, limiter=self._reading)

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = None
        try:
            connection = self._readers.pop() if self._readers else self._connect_reader()
            connection.execute("BEGIN")
            result = query(connection)
            connection.execute("ROLLBACK")
        except BaseException as error:
            # What the query left half read would show the next one an old state.
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                trio.from_thread.check_cancelled()
                if is_disk_error(error, reading=True):
                    logger.error("The state in %s could not be read: %s", self.path, log_text(error))
                    raise cannot_read(error) from error
                raise StoreError(f"The state cannot be read: {error}") from error
            raise
        self._readers.append(connection)
        if self._closing:
            self._close_readers()
        return result

    def _connect_reader(self) -> sqlite3.Connection:
        connection = connect(self.path, read_only=True)
        connection.set_progress_handler(_is_cancelled, _STEPS)
        return connection

    # -- the thread ---------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Commit changes until the store is closed and none is left."""
        try:
            while batch := self._take_batch():
                events = self._commit(batch)
                self._token.run_sync_soon(self._tell, batch, events)
        finally:
            # The last connection to close tidies up the database's own log, which a read-only one cannot.
            self._close_readers()
            self._connection.close()

    def _take_batch(self) -> list[_Change[Any]]:
        """The next changes, once there are any; none at the end."""
        batch: list[_Change[Any]] = []
        while not batch:
            items = [self._changes.get()]
            if self._busy:
                self._gather()
            with suppress(queue.Empty):
                while len(items) < _BATCH:
                    items.append(self._changes.get_nowait())
            with self._taking:
                for item in items:
                    if item is None:
                        # Nothing comes after it; the next round ends here, too.
                        self._changes.put(None)
                    elif item.state == "queued":
                        item.state = "taken"
                        batch.append(item)
            if items[-1] is None:
                break
        self._busy = len(batch) >= _MANY
        return batch

    def _gather(self) -> None:
        """More are on their way, and one commit for all of them costs less than two."""
        seen = -1
        for _ in range(_LOOKS):
            here = self._changes.qsize()
            if here == seen or here >= _BATCH:
                return
            seen = here
            time.sleep(_LOOK_SECONDS)

    def _commit(self, batch: list[_Change[Any]]) -> list[StoredEvent]:
        try:
            try:
                transaction = self._transact(batch, self._apply)
            except _Spoilt:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                transaction = self._transact(batch, self._apply_apart)
        except Exception as error:
            self._give_up(batch, error)
            return []
        self._seq = transaction.seq
        self.failure = None
        self.commits += 1
        self.changes += len(batch)
        return transaction.events

    def _transact(self, batch: list[_Change[Any]], apply: Callable[[_Change[Any], Transaction], None]) -> Transaction:
        transaction = Transaction(self._connection, self._seq, self._encode)
        transaction.execute("BEGIN IMMEDIATE")
        for item in batch:
            apply(item, transaction)
        transaction.store_events()
        transaction.store_answers()
        transaction.execute("COMMIT")
        return transaction

    def _apply(self, item: _Change[Any], transaction: Transaction) -> None:
        try:
            item.value = item.run(transaction)
        except BaseException as error:
            if is_disk_error(error):
                # Not the change's fault, but the commit's: nothing that follows would fare better.
                raise
            raise _Spoilt from error

    def _apply_apart(self, item: _Change[Any], transaction: Transaction) -> None:
        execute = transaction.execute
        seq, events, answers = transaction.seq, len(transaction.events), len(transaction.answers)
        execute("SAVEPOINT change")
        try:
            item.value = item.run(transaction)
        except BaseException as error:
            if is_disk_error(error):
                raise
            item.error = error
            execute("ROLLBACK TO change")
            transaction.seq = seq
            del transaction.events[events:]
            del transaction.answers[answers:]
        execute("RELEASE change")

    def _give_up(self, batch: list[_Change[Any]], error: Exception) -> None:
        logger.error("A commit of %d changes to %s failed: %s", len(batch), self.path, log_text(error))
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
        self.failure = _told(error).message
        for item in batch:
            item.value = None
            # Each its own: an exception that many tasks raise gathers all of their tracebacks.
            item.error = _told(error)
            item.error.__cause__ = error

    def _tell(self, batch: list[_Change[Any]], events: list[StoredEvent]) -> None:
        for item in batch:
            if item.after is not None and item.error is None:
                try:
                    item.after(item.value)
                except Exception as error:
                    # Ours, and its writer's alone.
                    logger.exception("What follows a change failed")
                    item.error = error
        if events:
            try:
                self._on_events(events)
            except Exception:
                logger.exception("Events could not be sent")
        for item in batch:
            trio.lowlevel.reschedule(item.task)

    # -- closing ------------------------------------------------------------------------------------------------

    def close_soon(self) -> None:
        """Take no more changes; those that were taken are still committed."""
        if not self._closing:
            self._closing = True
            self._changes.put(None)

    def _close_readers(self) -> None:
        while self._readers:
            self._readers.pop().close()


def _told(error: Exception) -> StoreError:
    """What writers are told of what their commit failed by."""
    if isinstance(error, sqlite3.Error) and is_disk_error(error):
        return cannot_write(error)
    return StoreError("The state could not be written; look at the daemon's log")


def _is_cancelled() -> bool:
    try:
        trio.from_thread.check_cancelled()
    except trio.Cancelled:
        return True
    return False


@asynccontextmanager
async def open_store(path: Path, encode: EncodeEvent) -> AsyncIterator[Store]:
    """The store at `path`, made or migrated as needed, for the block; all that was taken is on disk at its end.

    `encode(name, data, seq)` makes an event's frame. Raises StoreLocked where another process has it open, and what
    `open_database` raises.
    """
    token = trio.lowlevel.current_trio_token()
    lock = await trio.to_thread.run_sync(take_lock, path)
    try:
        store = await trio.to_thread.run_sync(_open, path, encode, token)
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_work, store)
            try:
                yield store
            except Exception as error:
                # Raised bare below: a nursery would wrap it.
                failure = error
            finally:
                store.close_soon()
        if failure is not None:
            raise failure
    finally:
        release_lock(lock)


async def _work(store: Store) -> None:
    # Shielded: it ends when the store is closed, and a thread that never began would close nothing. With no limit: a
    # disk that hangs holds the thread in a call that nothing ends, and to leave it behind would give the state's lock
    # to the next daemon while this one's last commit may still come.
    with trio.CancelScope(shield=True):
        # Of its own limiter: it must begin however many threads the program has busy.
        await trio.to_thread.run_sync(store.work, limiter=trio.CapacityLimiter(1))


def _open(path: Path, encode: EncodeEvent, token: trio.lowlevel.TrioToken) -> Store:
    connection = open_database(path)
    try:
        return Store(path, connection, encode, token)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"The state in {path} cannot be used: {error}") from error
