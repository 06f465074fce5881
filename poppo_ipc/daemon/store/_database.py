"""Opening the database: what is none of ours, newer than we know, or damaged is refused and left as it is."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from poppo_ipc.daemon.store._schema import APPLICATION_ID, MIGRATIONS, VERSION
from poppo_ipc.errors import PoppoError

__all__ = ["StoreCorrupt", "StoreError", "StoreTooNew", "open_database"]

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_BUSY_MS: Final = 5000


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
    that is refused.
    """
    try:
        new = not path.exists() or path.stat().st_size == 0
        if not new:
            _inspect(path)
        elif not read_only:
            # Made by us and not by SQLite, so that it is never open to others.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = _connect(path, read_only)
    except OSError as error:
        raise StoreError(f"The state in {path} cannot be opened: {error.strerror}") from error
    try:
        if not read_only:
            _migrate(connection)
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreError(f"The state in {path} cannot be used: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _inspect(path: Path) -> None:
    """Look at the file with nothing that could write to it."""
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreCorrupt(f"{path} is no database; move it away, or restore a copy of it")
    application = int.from_bytes(header[68:72], "big")
    version = int.from_bytes(header[60:64], "big")
    if application not in (APPLICATION_ID, 0):
        raise StoreCorrupt(f"{path} is the database of another program; use another state directory")
    if version > VERSION:
        raise StoreTooNew(
            f"{path} has version {version} and this release knows up to {VERSION}; upgrade, "
            "or use another state directory"
        )
    try:
        connection = _connect(path, read_only=True)
        try:
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        problem = str(error)
    if problem != "ok":
        raise StoreCorrupt(f"{path} is damaged ({problem}); move it away, or restore a copy of it")


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
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
    except sqlite3.OperationalError as error:
        raise StoreError(f"The state in {path} cannot be opened: {error}") from error
    connection.row_factory = sqlite3.Row
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # Each commit is on disk before it is acknowledged.
    connection.execute("PRAGMA synchronous = FULL")
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
