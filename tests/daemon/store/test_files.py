"""What is opened, what is refused and left as it is, and who else has it open."""

# ruff: noqa: ASYNC220, ASYNC221, ASYNC230, ASYNC240 - nothing else runs in the loop of these tests

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from poppo_ipc.daemon.store import StoreCorrupt, StoreError, StoreLocked, StoreTooNew, Transaction, open_database
from poppo_ipc.daemon.store import _database as database
from poppo_ipc.daemon.store._schema import APPLICATION_ID, VERSION

from .kit import keys, opened, put

pytestmark = pytest.mark.trio


async def fill(path: Path) -> None:
    async with opened(path) as it:

        def many(transaction: Transaction) -> None:
            for number in range(200):
                put(str(number), "x" * 500, event=True)(transaction)

        await it.store.write(many)


def foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
        connection.commit()


def empty_foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")


def other_application(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1234")


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(3 * 4096, len(data) - 4096, 4096):
        data[at : at + 64] = b"\xff" * 64
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:8192])


def header_alone(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


REFUSED: list[Callable[[Path], object]] = [
    foreign,
    empty_foreign,
    other_application,
    damaged,
    truncated,
    header_alone,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"SQLite format 3\x00"),
    lambda path: path.write_text("notes of mine\n" * 100),
]


@pytest.mark.parametrize("spoil", REFUSED)
async def test_what_is_damaged_or_not_ours_is_refused_and_not_touched(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    path = tmp_path / "db"
    await fill(path)
    if spoil in (foreign, empty_foreign, other_application):
        path.unlink()
    spoil(path)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreCorrupt) as caught:
            async with opened(path):
                pytest.fail("it was opened")
        assert str(path) in caught.value.message
    assert path.read_bytes() == before


async def test_a_newer_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await fill(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match=f"has version {VERSION + 1} and this release knows up to {VERSION}"):
        async with opened(path):
            pytest.fail("it was opened")
    assert path.read_bytes() == before


async def test_a_newer_version_that_is_still_in_the_log_is_refused_and_neither_file_touched(tmp_path: Path) -> None:
    path, copy = tmp_path / "db", tmp_path / "copy"
    await fill(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        for ending in ("", "-wal"):
            shutil.copy(f"{path}{ending}", f"{copy}{ending}")
    assert int.from_bytes(copy.read_bytes()[60:64], "big") == VERSION
    log = Path(f"{copy}-wal")
    before = copy.read_bytes(), log.read_bytes()
    with pytest.raises(StoreTooNew):
        async with opened(copy):
            pytest.fail("it was opened")
    assert (copy.read_bytes(), log.read_bytes()) == before


async def test_a_log_whose_database_is_gone_is_refused_and_not_deleted(tmp_path: Path) -> None:
    path, log = tmp_path / "db", tmp_path / "db-wal"
    log.write_bytes(b"all that is left" * 100)
    with pytest.raises(StoreCorrupt, match="belongs to a database that is not there"):
        async with opened(path):
            pytest.fail("it was opened")
    assert log.read_bytes() == b"all that is left" * 100
    assert not path.exists()
    path.write_bytes(b"")
    with pytest.raises(StoreCorrupt):
        async with opened(path):
            pytest.fail("it was opened")
    assert log.exists()


async def test_what_the_log_still_holds_is_there_after_a_crash_and_a_torn_end_of_it_does_no_harm(
    tmp_path: Path,
) -> None:
    path, copy = tmp_path / "db", tmp_path / "copy"
    async with opened(path) as it:
        for number in range(20):
            await it.store.write(put(str(number)))
        for ending in ("", "-wal"):
            shutil.copy(f"{path}{ending}", f"{copy}{ending}")
    with open(f"{copy}-wal", "ab") as log:
        log.write(os.urandom(5000))
    async with opened(copy) as it:
        assert await keys(it.store) == set(map(str, range(20)))


async def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(StoreCorrupt, match="is no file"):
        async with opened(tmp_path / "directory"):
            pytest.fail("it was opened")


async def test_a_pipe_in_its_place_is_refused(tmp_path: Path) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreCorrupt, match="is no file"):
        async with opened(tmp_path / "pipe"):
            pytest.fail("it was opened")


async def test_without_its_directory_there_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        async with opened(tmp_path / "nowhere" / "db"):
            pytest.fail("it was opened")


async def test_leftovers_of_a_start_that_was_killed_are_no_hindrance(tmp_path: Path) -> None:
    for ending in ("", "-wal", "-journal", "-shm"):
        (tmp_path / f"db.new{ending}").write_bytes(b"half-made")
    async with opened(tmp_path / "db") as it:
        await it.store.write(put("a"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db", "db.lock"]


async def test_killed_while_it_is_made_the_next_start_makes_it(tmp_path: Path) -> None:
    """Without its own name until it is whole, a half-made database was refused at each later start."""
    script = (
        "import os, sqlite3, sys, pathlib\n"
        "from poppo_ipc.daemon.store import _database as d\n"
        "real = d.connect\n"
        "def connect(path, **options):\n"
        "    connection = real(path, **options)\n"
        "    connection.set_trace_callback(lambda sql: os._exit(9) if 'CREATE TABLE tasks' in sql else None)\n"
        "    return connection\n"
        "d.connect = connect\n"
        "d.open_database(pathlib.Path(sys.argv[1]))\n"
    )
    path = tmp_path / "db"
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    assert not path.exists()
    async with opened(path) as it:
        await it.store.write(put("a"))


async def test_a_large_database_is_checked_without_the_output_of_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "db"
    await fill(path)
    asked: list[str] = []
    real = database.connect

    def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
        connection = real(path, read_only=read_only)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(database, "connect", connect)
    open_database(path).close()
    assert "PRAGMA quick_check(1)" in asked
    del asked[:]
    monkeypatch.setattr(database, "_CHECKED_BYTES", 1)
    open_database(path).close()
    checked = {statement for statement in asked if "quick_check" in statement}
    assert "PRAGMA quick_check('tasks')" in checked
    assert "PRAGMA quick_check('output')" not in checked
    damaged(path)
    with pytest.raises(StoreCorrupt):
        open_database(path)


async def test_it_is_ours_and_every_commit_is_synced(tmp_path: Path) -> None:
    path = tmp_path / "db"
    async with opened(path) as it:
        pragmas = await it.store.write(
            lambda transaction: {
                name: transaction.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys", "application_id", "user_version")
            }
        )
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "application_id": APPLICATION_ID,
        "user_version": VERSION,
    }


# -- two at once ----------------------------------------------------------------------------------------------------


async def test_a_second_one_in_the_same_process_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    async with opened(path) as it:
        with pytest.raises(StoreLocked, match=f"in use by process {os.getpid()}") as caught:
            async with opened(path):
                pytest.fail("it was opened")
        assert caught.value.pid == os.getpid()
        await it.store.write(put("a"))
    async with opened(path) as it:
        assert await keys(it.store) == {"a"}


HOLDER = """
import sys, trio
from pathlib import Path
from poppo_ipc.daemon.store import open_store
async def main():
    async with open_store(Path(sys.argv[1]), lambda name, data, seq: b""):
        print("open", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_another_process_has_it_until_it_dies_however_it_does(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            with pytest.raises(StoreLocked) as caught:
                async with opened(path):
                    pytest.fail("it was opened")
            assert caught.value.pid == holder.pid
        finally:
            holder.kill()
    async with opened(path) as it:
        await it.store.write(put("a"))


async def test_a_lock_file_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "db.lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(StoreError, match="cannot be opened"):
        async with opened(tmp_path / "db"):
            pytest.fail("it was opened")
    assert (tmp_path / "theirs").read_text() == "theirs"
