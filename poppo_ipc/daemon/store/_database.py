"""Opening the database: what is none of ours, newer than we know, or damaged is refused and left as it is."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from poppo_ipc.daemon.store._schema import APPLICATION_ID, MIGRATIONS, VERSION
from poppo_ipc.errors import PoppoError
from poppo_ipc.transport._private import create_private_file

__all__ = ["StoreCorrupt", "StoreError", "StoreTooNew", "connect", "open_database"]

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_BUSY_MS: Final = 5000
# Checking reads the whole file, at some hundred MiB a second. Of a larger one the output of tasks, which is most of
# it, is left out: a daemon has to be up again soon.
_CHECKED_BYTES: Final = 256 * 1024 * 1024
_LEFTOVERS: Final = ("-wal", "-shm", "-journal")


class StoreError(PoppoError):
    """The state could not be read or written: the disk is full, or fails. What was acknowledged is not lost."""

    code = "STORE_ERROR"


class StoreCorrupt(StoreError):
    """The database file is damaged, or none of ours. It was not touched: restore a copy, or move it away."""

    code = "STORE_CORRUPT"


class StoreTooNew(StoreError):
    """The database was written by a newer release. It was not touched: upgrade, or use another state directory."""

    code = "STORE_TOO_NEW"


def open_database(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to the database, made or migrated as needed; in autocommit mode, usable from any one thread.

    Raises StoreCorrupt, StoreTooNew, or StoreError where the file cannot be opened. Nothing is written to a file
    that is refused. Making and migrating is for who holds the lock of the store.
    """
    try:
        if not read_only and not _is_there(path):
            _make(path)
        _inspect(path)
        connection = connect(path, read_only=read_only)
    except OSError as error:
        raise StoreError(f"The state in {path} cannot be opened: {error.strerror}") from error
    try:
        if not read_only:
            _migrate(connection)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"The state in {path} cannot be used: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to a database that was opened before. Raises StoreError."""
    mode = "ro" if read_only else "rw"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_MS / 1000,
            cached_statements=256,
        )
    except sqlite3.Error as error:
        raise StoreError(f"The state in {path} cannot be opened: {error}") from error
    connection.row_factory = sqlite3.Row
    return connection


def _is_there(path: Path) -> bool:
    """Whether there is a file; its log without it is a part of a database whose other part was lost."""
    if path.exists():
        return True
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreCorrupt(f"{log} belongs to a database that is not there; restore that, or move the log away")
    return False


def _inspect(path: Path) -> None:
    """Look at the file with nothing that could write to it."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise StoreCorrupt(f"{path} is no file; use another state directory")
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreCorrupt(f"{path} is no database; move it away, or restore a copy of it")
    # Before SQLite opens it: what is not ours is not even looked into.
    _check_owner(path, int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))
    try:
        connection = connect(path, read_only=True)
        try:
            # The log may hold a later state than the file.
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            _check_owner(path, application, connection.execute("PRAGMA user_version").fetchone()[0])
            problem = _find_damage(connection, whole=path.stat().st_size <= _CHECKED_BYTES)
        finally:
            connection.close()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreError(f"The state in {path} cannot be read: {error}") from error
        problem = str(error)
    if problem is not None:
        raise StoreCorrupt(f"{path} is damaged ({problem}); move it away, or restore a copy of it")


def _check_owner(path: Path, application: int, version: int) -> None:
    if application != APPLICATION_ID:
        raise StoreCorrupt(f"{path} is the database of another program; use another state directory")
    if version > VERSION:
        raise StoreTooNew(
            f"{path} has version {version} and this release knows up to {VERSION}; upgrade, "
            "or use another state directory"
        )


def _find_damage(connection: sqlite3.Connection, *, whole: bool) -> str | None:
    tables = ["1"]
    if not whole:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'output'")
        tables = [f"'{row[0]}'" for row in found]
    for table in tables:
        problem = connection.execute(f"PRAGMA quick_check({table})").fetchone()[0]
        if problem != "ok":
            return str(problem)
    return None


def _make(path: Path) -> None:
    """Make the database under another name, and give it its own when it is whole: killed in the middle, a daemon
    leaves nothing that the next one would have to refuse."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        _delete(fresh)
        # Made by us and not by SQLite, so that it is never open to others.
        os.close(create_private_file(str(fresh)))
        connection = connect(fresh)
        try:
            _migrate(connection)
        finally:
            connection.close()
        os.replace(fresh, path)
        _sync_directory(path.parent)
    except sqlite3.Error as error:
        raise StoreError(f"The state in {path} cannot be made: {error}") from error
    finally:
        _delete(fresh)


def _delete(path: Path) -> None:
    for name in (path.name, *(f"{path.name}{ending}" for ending in _LEFTOVERS)):
        with suppress(FileNotFoundError):
            path.with_name(name).unlink()


def _sync_directory(path: Path) -> None:
    if os.name == "posix":
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _migrate(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise sqlite3.OperationalError("this file system cannot hold a database with a log; use a local one")
    # Each commit is on disk before it is acknowledged; on macOS that takes a sync of another kind.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return
    for number in range(version, VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[number]}; PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {number + 1}; COMMIT;"
        )
    # Into the file itself, where the next release looks before it opens it.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
