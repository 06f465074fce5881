"""What a disk that fails is called: for clients in plain words, without a path or a statement; the log has the rest."""

from __future__ import annotations

import sqlite3
from typing import Final

from attrs import frozen

from poppo_ipc.daemon.store._database import StoreError
from poppo_ipc.errors import Unavailable

__all__ = ["StoreUnavailable", "answer_not_stored", "cannot_read", "cannot_write", "is_disk_error", "log_text"]


class StoreUnavailable(StoreError, Unavailable):
    """The disk did not take a change, or did not give what was asked for. Nothing of it was done.

    Clients get it as it is: `UNAVAILABLE`, with a message that says what to do, and `details["reason"]` for programs.
    Safe to retry, with the same idempotency key too; it succeeds without a restart once the disk is well again.
    """

    code = "UNAVAILABLE"


@frozen
class _Reason:
    name: str
    text: str
    remedy: str


_LOOK: Final = "Look at the daemon's log"
_DAMAGED: Final = _Reason("damaged", "its database is damaged", f"{_LOOK}, and restore a copy of the database")
# What is not a disk's own failure, a statement that is wrong, is a fault of the program and no such error.
_REASONS: Final = {
    sqlite3.SQLITE_BUSY: _Reason("locked", "another program has its database locked", "End that one and try again"),
    sqlite3.SQLITE_CANTOPEN: _Reason("no-access", "its database cannot be opened", f"{_LOOK}, and try again"),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: _Reason("full", "the disk is full", "Free some space and try again"),
    # A quota and a limit on the size of files come as this, too.
    sqlite3.SQLITE_IOERR: _Reason(
        "io-error", "the disk fails, or a limit on its use is reached", f"{_LOOK}, and try again when that is mended"
    ),
    sqlite3.SQLITE_NOMEM: _Reason("no-memory", "there is not enough memory", "Free some memory and try again"),
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_READONLY: _Reason("read-only", "its database is read-only", "Make it writable and try again"),
}


def is_disk_error(error: BaseException, *, reading: bool = False) -> bool:
    """Whether it is the disk that failed, and not a statement: one that writes, for who is `reading`."""
    if not isinstance(error, sqlite3.Error) or (reading and _primary(error) == sqlite3.SQLITE_READONLY):
        return False
    return _primary(error) in _REASONS


def cannot_write(error: sqlite3.Error) -> StoreUnavailable:
    """What the writers of a commit get that failed by a disk error."""
    return _unavailable("The daemon cannot store changes", _REASONS[_primary(error)])


def cannot_read(error: sqlite3.Error) -> StoreUnavailable:
    """What a reader gets whose query failed by a disk error."""
    return _unavailable("The daemon cannot read its state", _REASONS[_primary(error)])


def answer_not_stored(error: StoreUnavailable) -> StoreUnavailable:
    """What a client gets whose command has ended by itself, but whose answer the disk did not take."""
    name = (error.details or {})["reason"]
    reason = next(reason for reason in _REASONS.values() if reason.name == name)
    ended = "The command has ended, but the daemon cannot store its answer"
    return StoreUnavailable(
        f"{ended}: {reason.text}. Ask again with the same key when that is mended", {"reason": reason.name}
    )


def log_text(error: Exception) -> str:
    """The error with the name that SQLite has for it, which tells its kinds apart."""
    name = getattr(error, "sqlite_errorname", None)
    return str(error) if name is None else f"{error} ({name})"


def _unavailable(what: str, reason: _Reason) -> StoreUnavailable:
    return StoreUnavailable(f"{what}: {reason.text}. {reason.remedy}", {"reason": reason.name})


def _primary(error: sqlite3.Error) -> int:
    # Errors that Python's module raises by itself have no code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
