"""Queries: of all that was acknowledged, beside the writer, and ended when nobody waits for them any more."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from poppo_ipc.daemon.store import StoreError

from .kit import LIMIT, Gate, keys, opened, put

pytestmark = pytest.mark.trio

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_a_query_sees_all_that_was_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        for number in range(15):
            await it.store.write(put(str(number)))
            assert len(await keys(it.store)) == number + 1


async def test_a_query_does_not_wait_for_the_writer(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        await it.store.write(put("a"))
        async with Gate(it.store) as gate:
            assert await keys(it.store) == {"a"}
            assert not gate.passed.is_set()


async def test_all_statements_of_a_query_see_the_same_state(tmp_path: Path) -> None:
    began, changed = threading.Event(), threading.Event()

    def twice(connection: Any) -> list[int]:
        found = [connection.execute("SELECT count(*) FROM meta").fetchone()[0]]
        began.set()
        assert changed.wait(LIMIT)
        return [*found, connection.execute("SELECT count(*) FROM meta").fetchone()[0]]

    counts: list[int] = []
    async with opened(tmp_path / "db") as it:

        async def read() -> None:
            counts.extend(await it.store.read(twice))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.to_thread.run_sync(began.wait, LIMIT)
            await it.store.write(put("a"))
            changed.set()
    assert counts == [1, 1]


async def test_a_query_cannot_write(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        with pytest.raises(StoreError, match="cannot be read"):
            await it.store.read(lambda connection: connection.execute("DELETE FROM meta"))


async def test_what_is_wrong_with_a_query_is_told_and_its_own_exceptions_come_bare(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        with pytest.raises(StoreError, match="no such table"):
            await it.store.read(lambda connection: connection.execute("SELECT * FROM missing"))

        def broken(connection: Any) -> None:
            connection.execute("SELECT 1")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await it.store.read(broken)
        assert await keys(it.store) == set()


async def test_a_query_that_failed_half_way_does_not_show_the_next_one_an_old_state(tmp_path: Path) -> None:
    """Its cursor lives as long as the traceback, and with it the state that it saw."""

    def half(connection: Any) -> None:
        for _ in connection.execute("SELECT key FROM meta"):
            raise KeyError

    async with opened(tmp_path / "db") as it:
        await it.store.write(put("a"))
        failures = []
        for _ in range(3):
            try:
                await it.store.read(half)
            except KeyError as error:
                failures.append(error)
        await it.store.write(put("b"))
        for _ in range(4):
            assert await keys(it.store) == {"a", "b"}
        assert len(failures) == 3


async def test_cancelled_a_query_is_interrupted_and_its_connection_serves_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        for _ in range(3):
            running = threading.Event()

            def endless(connection: Any, running: threading.Event = running) -> Any:
                running.set()
                return connection.execute(ENDLESS).fetchone()

            with trio.fail_after(LIMIT), trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(it.store.read, endless)
                    await trio.to_thread.run_sync(running.wait, LIMIT)
                    scope.cancel()
            assert scope.cancelled_caught
            assert await keys(it.store) == set()
        await it.store.write(put("a"))
        assert await keys(it.store) == {"a"}


async def test_cancelled_at_any_moment_a_query_ends(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        for ticks in range(12):
            with trio.fail_after(LIMIT), trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(it.store.read, lambda connection: connection.execute(ENDLESS).fetchone())
                    for _ in range(ticks):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert scope.cancelled_caught


async def test_many_readers_share_few_connections(tmp_path: Path) -> None:
    connections: set[int] = set()
    most = [0, 0]
    lock = threading.Lock()

    def look(connection: Any) -> None:
        with lock:
            connections.add(id(connection))
            most[0] += 1
            most[1] = max(most)
        connection.execute("SELECT count(*) FROM meta").fetchone()
        with lock:
            most[0] -= 1

    async with opened(tmp_path / "db") as it, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(it.store.read, look)
    assert len(connections) <= 2
    assert most[1] <= 2


async def test_a_query_that_outlives_the_store_leaves_no_connection_behind(tmp_path: Path) -> None:
    running, go = threading.Event(), threading.Event()

    def slow(connection: Any) -> int:
        running.set()
        assert go.wait(LIMIT)
        return int(connection.execute("SELECT count(*) FROM meta").fetchone()[0])

    counts: list[int] = []

    async with trio.open_nursery() as nursery:
        async with opened(tmp_path / "db") as it:

            async def read() -> None:
                counts.append(await it.store.read(slow))

            nursery.start_soon(read)
            await trio.to_thread.run_sync(running.wait, LIMIT)
        go.set()
    assert counts == [1]
    assert it.store._readers == []
