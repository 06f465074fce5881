"""A disk that is full: everything of the commit fails in words, nothing is left half-done, and it goes on with room."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.daemon.store import Store, StoreError, StoreUnavailable, Transaction

from .kit import Gate, keys, opened, put

pytestmark = pytest.mark.trio


async def set_room(store: Store, pages: int) -> None:
    """Let the database grow by so many pages."""

    def limit(transaction: Transaction) -> None:
        here = transaction.execute("PRAGMA page_count").fetchone()[0]
        transaction.execute(f"PRAGMA max_page_count = {here + pages}")

    await store.write(limit)


async def test_a_full_disk_fails_the_whole_commit_and_the_store_recovers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: dict[str, object] = {}

    async with opened(tmp_path / "db") as it:

        async def attempt(key: str, size: int) -> None:
            try:
                outcomes[key] = await it.store.write(put(key, "x" * size, event=True))
            except StoreError as error:
                outcomes[key] = error

        await it.store.write(put("before", event=True))
        await set_room(it.store, 10)
        async with trio.open_nursery() as nursery, Gate(it.store) as gate:
            for key, size in (("small", 10), ("large", 1_000_000), ("other", 10)):
                nursery.start_soon(attempt, key, size)
                await wait_all_tasks_blocked()
            gate.open()
        assert set(outcomes) == {"small", "large", "other"}
        assert all(isinstance(outcome, StoreError) for outcome in outcomes.values())
        assert it.store.failure is not None
        assert "full" in it.store.failure
        assert "A commit of 3 changes to " in caplog.text
        assert "failed: database or disk is full (SQLITE_FULL)" in caplog.text
        assert await keys(it.store) == {"before"}
        assert it.heard == [["put", "before", 1]]

        await set_room(it.store, 10_000)
        assert it.store.failure is None
        await it.store.write(put("after", "x" * 1_000_000, event=True))
        # The numbers of the events that were undone are given again.
        assert it.heard == [["put", "before", 1], ["put", "after", 2]]
    async with opened(tmp_path / "db") as it:
        assert await keys(it.store) == {"before", "after"}
        assert it.store.seq == 2


async def test_a_disk_that_is_full_for_long_fails_each_change_and_none_waits_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with opened(tmp_path / "db") as it:
        await set_room(it.store, 0)
        for number in range(15):
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                await it.store.write(put(str(number), "x" * 10_000))
        assert await keys(it.store) == set()
        await set_room(it.store, 100)
        assert await it.store.write(put("a", "x" * 10_000)) == "a"
