"""What a client is told of a disk that fails: clear, stable, and with nothing in it of paths and statements."""

from __future__ import annotations

import copy
import pickle
import sqlite3
from pathlib import Path

import pytest

from poppo_ipc.daemon.store import StoreError, StoreUnavailable, Transaction
from poppo_ipc.daemon.store._failures import answer_not_stored, cannot_read, cannot_write, is_disk_error
from poppo_ipc.errors import CommandError, Unavailable

from .kit import keys, opened, put

CODES = {
    "SQLITE_BUSY": "locked",
    "SQLITE_CANTOPEN": "no-access",
    "SQLITE_CORRUPT": "damaged",
    "SQLITE_FULL": "full",
    "SQLITE_IOERR": "io-error",
    "SQLITE_NOMEM": "no-memory",
    "SQLITE_NOTADB": "damaged",
    "SQLITE_READONLY": "read-only",
}
#: SQLite tells more of a failure in the higher bits.
EXTENDED = 10 << 8


def raised(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("near INSERT INTO tasks: /home/somebody/state.db")
    error.sqlite_errorcode = getattr(sqlite3, name) | EXTENDED
    return error


@pytest.mark.parametrize("name", CODES)
def test_each_failure_says_what_happened_and_what_to_do(name: str) -> None:
    error = raised(name)
    assert is_disk_error(error)
    for told in (cannot_write(error), cannot_read(error), answer_not_stored(cannot_write(error))):
        assert isinstance(told, (StoreError, Unavailable))
        assert (told.code, told.details) == ("UNAVAILABLE", {"reason": CODES[name]})
        assert "INSERT" not in told.message
        assert "/" not in told.message
        happened, _, remedy = told.message.partition(". ")
        assert happened.startswith("The ")
        assert remedy


def test_a_full_disk_in_words() -> None:
    assert cannot_write(raised("SQLITE_FULL")).message == (
        "The daemon cannot store changes: the disk is full. Free some space and try again"
    )


def test_a_wrong_statement_is_no_failure_of_the_disk() -> None:
    assert not is_disk_error(raised("SQLITE_ERROR"))
    assert not is_disk_error(raised("SQLITE_CONSTRAINT"))
    assert not is_disk_error(sqlite3.ProgrammingError("of Python's module, with no code"))
    assert not is_disk_error(ValueError("full"))
    assert not is_disk_error(raised("SQLITE_READONLY"), reading=True)


def test_it_survives_copy_and_pickle_and_the_wire() -> None:
    error = cannot_write(raised("SQLITE_FULL"))
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert isinstance(twin, StoreUnavailable)
        assert (twin.code, twin.message, twin.details) == (error.code, error.message, error.details)
    assert isinstance(CommandError.from_wire(error.code, error.message, error.details), Unavailable)


@pytest.mark.trio
async def test_a_database_that_became_read_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path / "db") as it:

        def set_read_only(on: int) -> None:
            it.store._connection.execute(f"PRAGMA query_only = {on}")

        def only(transaction: Transaction) -> None:
            transaction.execute("PRAGMA query_only = ON")

        await it.store.write(put("before"))
        await it.store.write(only)
        with pytest.raises(StoreUnavailable, match="its database is read-only") as caught:
            await it.store.write(put("after", event=True))
        assert str(tmp_path) not in caught.value.message
        # The log has what the client has not.
        assert str(tmp_path / "db") in caplog.text
        assert "(SQLITE_READONLY)" in caplog.text
        assert it.store.failure == caught.value.message
        set_read_only(0)
        await it.store.write(put("after", event=True))
        assert it.store.failure is None
        assert await keys(it.store) == {"before", "after"}
        assert it.heard == [["put", "after", 1]]
