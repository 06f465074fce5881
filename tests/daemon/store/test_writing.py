"""Changes: many in a commit, each whole or not at all, and told of when they are on disk."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.daemon.store import KeptAnswer, StoreError, Transaction
from poppo_ipc.transport._private import why_not_private

from .kit import Gate, keys, opened, put

pytestmark = pytest.mark.trio


async def test_a_change_gives_its_result_and_is_on_disk(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        assert await it.store.write(put("a", "1")) == "a"
        with sqlite3.connect(tmp_path / "db") as other:
            assert other.execute("SELECT value FROM meta WHERE key = 'a'").fetchone() == ("1",)
        other.close()
    async with opened(tmp_path / "db") as it:
        assert await keys(it.store) == {"a"}


async def test_what_waits_while_the_disk_is_busy_shares_one_commit(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it, trio.open_nursery() as nursery:
        async with Gate(it.store) as gate:
            for number in range(100):
                nursery.start_soon(it.store.write, put(str(number)))
            await wait_all_tasks_blocked()
            before = it.store.commits
            gate.open()
        await it.store.write(put("after"))
        assert len(await keys(it.store)) == 101
        # The gate's own, that of the hundred, and the last.
        assert it.store.commits - before <= 3
        assert it.store.changes == 102


async def test_a_failing_change_undoes_itself_alone_with_its_events_and_their_numbers(tmp_path: Path) -> None:
    outcomes: dict[str, Any] = {}

    async with opened(tmp_path / "db") as it:

        async def attempt(name: str, change: Any) -> None:
            try:
                outcomes[name] = await it.store.write(change)
            except Exception as error:
                outcomes[name] = error

        def fails(transaction: Transaction) -> None:
            put("spoilt", event=True)(transaction)
            raise KeyError("mine")

        def clashes(transaction: Transaction) -> None:
            transaction.publish("put", "clash")
            put("first")(transaction)

        def misuses(transaction: Transaction) -> None:
            transaction.execute("SELECT ?", (1, 2))

        def unfit(transaction: Transaction) -> None:
            put("unfit")(transaction)
            transaction.publish("put", "no frame")

        async with Gate(it.store) as gate, trio.open_nursery() as nursery:
            for name, change in {
                "first": put("first", event=True),
                "fails": fails,
                "clashes": clashes,
                "misuses": misuses,
                "unfit": unfit,
                "last": put("last", event=True),
            }.items():
                nursery.start_soon(attempt, name, change)
                await wait_all_tasks_blocked()
            gate.open()
        assert await keys(it.store) == {"first", "last"}
        assert it.heard == [["put", "first", 1], ["put", "last", 2]]
        assert (outcomes["first"], outcomes["last"]) == ("first", "last")
        assert type(outcomes["fails"]) is KeyError
        assert isinstance(outcomes["clashes"], sqlite3.IntegrityError)
        assert isinstance(outcomes["misuses"], sqlite3.ProgrammingError)
        assert isinstance(outcomes["unfit"], ValueError)
        assert it.store.failure is None


async def test_the_answer_of_a_change_that_fails_is_undone_with_it(tmp_path: Path) -> None:
    def answered(key: str, *, fail: bool = False) -> Any:
        def change(transaction: Transaction) -> None:
            transaction.keep_answer(KeptAnswer("p", key, "c", b"", b"1", None, 1))
            if fail:
                raise KeyError

        return change

    async with opened(tmp_path / "db") as it:
        async with Gate(it.store) as gate, trio.open_nursery() as nursery:
            for change in (answered("a"), answered("b", fail=True), answered("c")):

                async def attempt(change: Any = change) -> None:
                    with contextlib.suppress(KeyError):
                        await it.store.write(change)

                nursery.start_soon(attempt)
                await wait_all_tasks_blocked()
            gate.open()
        rows = await it.store.read(lambda c: c.execute("SELECT key FROM answers ORDER BY key").fetchall())
        assert [row["key"] for row in rows] == ["a", "c"]


async def test_an_exception_that_is_none_of_ours_does_not_end_the_thread(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:

        def leaves(transaction: Transaction) -> None:
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            await it.store.write(leaves)
        assert await it.store.write(put("a")) == "a"


async def test_what_follows_a_change_runs_in_the_order_of_the_changes_and_before_their_events(tmp_path: Path) -> None:
    said: list[str] = []
    async with opened(tmp_path / "db") as it:
        it.store.on_events(lambda events: said.extend(f"event {event.seq}" for event in events))
        async with Gate(it.store) as gate, trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(it.store.write, put(str(number), event=True), said.append)
                await wait_all_tasks_blocked()
            gate.open()
    assert said == [*map(str, range(20)), *(f"event {number}" for number in range(1, 21))]


async def test_what_follows_does_not_run_for_a_change_that_failed_and_its_own_failure_is_its_writers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[Any] = []
    async with opened(tmp_path / "db") as it:

        def fails(transaction: Transaction) -> None:
            raise KeyError

        def broken(key: str) -> None:
            raise ZeroDivisionError

        with pytest.raises(KeyError):
            await it.store.write(fails, said.append)
        with pytest.raises(ZeroDivisionError):
            await it.store.write(put("kept"), broken)
        assert await it.store.write(put("b"), said.append) == "b"
        assert said == ["b"]
        assert await keys(it.store) == {"kept", "b"}
    assert "What follows a change failed" in caplog.text


async def test_a_listener_that_fails_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path / "db") as it:

        def broken(events: Any) -> None:
            raise ZeroDivisionError

        it.store.on_events(broken)
        assert await it.store.write(put("a", event=True)) == "a"
    assert "Events could not be sent" in caplog.text


async def test_events_are_sent_after_they_are_stored_and_before_the_writer_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        on_disk: list[int] = []

        def look(events: Any) -> None:
            other = sqlite3.connect(tmp_path / "db")
            on_disk.append(other.execute("SELECT max(seq) FROM events").fetchone()[0])
            other.close()

        it.store.on_events(look)
        await it.store.write(put("a", event=True))
        assert on_disk == [1]


# -- cancelling -----------------------------------------------------------------------------------------------------


async def test_cancelled_before_it_was_taken_up_a_change_never_happens(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        async with Gate(it.store) as gate:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(it.store.write, put("withdrawn"))
                    await wait_all_tasks_blocked()
                    scope.cancel()
            assert scope.cancelled_caught
            gate.open()
        await it.store.write(put("b"))
        assert await keys(it.store) == {"b"}


async def test_cancelled_after_it_was_taken_up_a_change_is_waited_for_and_returns(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        gate = Gate(it.store)
        with trio.CancelScope() as scope:
            async with gate:
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                assert not gate.passed.is_set()
                gate.open()
        # Had it been cancelled, it would not have passed.
        assert gate.passed.is_set()


async def test_a_writer_that_is_cancelled_already_changes_nothing_or_is_told_the_result(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        for number in range(20):
            returned = False
            with trio.CancelScope() as scope:
                scope.cancel()
                await it.store.write(put(str(number)))
                returned = True
            assert (str(number) in await keys(it.store)) == returned


# -- closing --------------------------------------------------------------------------------------------------------


async def test_closing_commits_what_was_taken_and_takes_no_more(tmp_path: Path) -> None:
    results: list[str] = []
    async with trio.open_nursery() as nursery, opened(tmp_path / "db") as it, Gate(it.store) as gate:

        async def write(key: str) -> None:
            results.append(await it.store.write(put(key)))

        for number in range(600):
            nursery.start_soon(write, str(number))
        await wait_all_tasks_blocked()
        it.store.close_soon()
        with pytest.raises(StoreError, match="closed"):
            await it.store.write(put("late"))
        with pytest.raises(StoreError, match="closed"):
            await it.store.read(lambda connection: None)
        gate.open()
    assert sorted(results) == sorted(map(str, range(600)))
    async with opened(tmp_path / "db") as it:
        assert await keys(it.store) == set(results)


async def test_closed_it_leaves_one_file_and_an_empty_lock(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        await it.store.write(put("a"))
        await keys(it.store)
    assert sorted(os.listdir(tmp_path)) == ["db", "db.lock"]
    assert (tmp_path / "db.lock").read_bytes() == b""
    assert why_not_private(str(tmp_path / "db")) is None


async def test_an_exception_of_the_block_comes_out_bare_and_all_is_stored(tmp_path: Path) -> None:
    async def fail() -> None:
        async with opened(tmp_path / "db") as it:
            await it.store.write(put("a"))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with opened(tmp_path / "db") as it:
        assert await keys(it.store) == {"a"}


async def test_cancelled_it_still_closes(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with opened(tmp_path / "db") as it:
            await it.store.write(put("a"))
            scope.cancel()
            await trio.sleep_forever()
    async with opened(tmp_path / "db") as it:
        assert await keys(it.store) == {"a"}
