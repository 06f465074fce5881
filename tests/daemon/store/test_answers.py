"""Idempotency keys that outlive the daemon: the answer is on disk with what it answers, or neither is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from addresses import native_address
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.client import connect
from poppo_ipc.commands import Context, Router
from poppo_ipc.daemon.store import (
    Store,
    StoredAnswers,
    StoreError,
    StoreUnavailable,
    Transaction,
    _answers,
    open_store,
)
from poppo_ipc.errors import CallTimeout, CommandError, Conflict, NotFound, Unavailable
from poppo_ipc.server import Answers, Outcome, Server

from .kit import LIMIT, Gate, encode, keys, put

pytestmark = pytest.mark.trio


class Daemon:
    def __init__(self, store: Store, answers: StoredAnswers, client: Any) -> None:
        self.store = store
        self.answers = answers
        self.client = client

    async def rows(self) -> list[str]:
        return [
            row[0]
            for row in await self.store.read(lambda c: c.execute("SELECT key FROM answers ORDER BY key").fetchall())
        ]


def router(answers: StoredAnswers, runs: list[str], started: trio.Event) -> Router:
    made = Router()

    @made.command("put")
    async def put_one(ctx: Context, key: str, fail: str = "") -> dict[str, Any]:
        """One that stores its answer with its change."""
        runs.append(key)
        started.set()

        def change(transaction: Transaction) -> dict[str, Any]:
            put(key)(transaction)
            if fail:
                raise NotFound(fail)
            if key == "large":
                transaction.execute("INSERT INTO meta VALUES ('large too', zeroblob(1000000))")
            return {"key": key, "count": len(runs)}

        return await answers.commit(ctx, change)

    @made.command("author")
    async def author(ctx: Context, key: str, fail: str = "") -> dict[str, Any]:
        """One that knows nothing of stores."""
        runs.append(key)
        if fail:
            raise CommandError("MINE", fail, {"key": key})
        return {"key": key, "count": len(runs)}

    @made.command("plain")
    def plain(key: str) -> dict[str, Any]:
        runs.append(key)
        return {"key": key, "count": len(runs)}

    @made.command("harmless", idempotent=True)
    async def harmless(ctx: Context, key: str) -> dict[str, Any]:
        runs.append(key)
        return {"key": key, "count": len(runs)}

    return made


@asynccontextmanager
async def daemon(directory: Path, runs: list[str], *, count: int = 100, seconds: float = 600) -> AsyncIterator[Daemon]:
    async with open_store(directory / "db", encode) as store:
        answers = await StoredAnswers.load(store, count, 1 << 20, seconds)
        with native_address() as address:
            server = Server(router(answers, runs, trio.Event()), address=address, answers=answers)
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve)
                async with connect(address, reconnect=False) as client:
                    yield Daemon(store, answers, client)
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("command", ["put", "author", "plain"])
async def test_a_key_gives_its_answer_again_after_a_restart_and_runs_nothing(tmp_path: Path, command: str) -> None:
    runs: list[str] = []
    for _ in range(3):
        async with daemon(tmp_path, runs) as it:
            for _ in range(2):
                answer = await it.client.call(command, key="a", idempotency_key="k")
                assert answer == {"key": "a", "count": 1}
            with pytest.raises(Conflict):
                await it.client.call(command, key="b", idempotency_key="k")
            with pytest.raises(Conflict):
                await it.client.call("harmless", key="a", idempotency_key="k")
            assert await it.rows() == ["k"]
    assert runs == ["a"]


@pytest.mark.parametrize("command", ["put", "author"])
async def test_errors_are_kept_whole(tmp_path: Path, command: str) -> None:
    runs: list[str] = []
    for _ in range(2):
        async with daemon(tmp_path, runs) as it:
            with pytest.raises(CommandError, match="no such thing") as caught:
                await it.client.call(command, key="a", fail="no such thing", idempotency_key="k")
            if command == "author":
                assert (caught.value.code, caught.value.details) == ("MINE", {"key": "a"})
            else:
                assert caught.value.code == "NOT_FOUND"
            # What had failed left nothing but its answer.
            assert await keys(it.store) == set()
    assert runs == ["a"]


async def test_what_may_be_done_twice_is_not_stored(tmp_path: Path) -> None:
    runs: list[str] = []
    async with daemon(tmp_path, runs) as it:
        for _ in range(2):
            await it.client.call("harmless", key="a", idempotency_key="k")
        assert await it.rows() == []
    assert runs == ["a"]


async def test_the_answer_is_in_the_same_commit_as_the_change(tmp_path: Path) -> None:
    async with daemon(tmp_path, []) as it:
        before = it.store.commits
        await it.client.call("put", key="a", idempotency_key="k")
        assert it.store.commits == before + 1


async def test_many_answers_of_one_commit_are_all_kept(tmp_path: Path) -> None:
    """They are stored with fewer statements than there are of them."""
    runs: list[str] = []
    wanted = sorted(f"k{number:02}" for number in range(37))
    async with daemon(tmp_path, runs) as it:
        async with Gate(it.store) as gate, trio.open_nursery() as nursery:
            for key in wanted:
                nursery.start_soon(lambda key: it.client.call("put", key=key, idempotency_key=key), key)
            with trio.fail_after(LIMIT):
                while len(runs) < len(wanted):
                    await trio.lowlevel.checkpoint()
            before = it.store.commits
            gate.open()
        assert it.store.commits - before <= 3
        assert await it.rows() == wanted
    async with daemon(tmp_path, runs) as it:
        for key in wanted:
            assert (await it.client.call("put", key=key, idempotency_key=key))["key"] == key
    assert len(runs) == len(wanted)


def room(pages: int) -> Any:
    """A change that lets the database grow by so many pages."""

    def change(transaction: Transaction) -> None:
        here = transaction.execute("PRAGMA page_count").fetchone()[0]
        transaction.execute(f"PRAGMA max_page_count = {here + pages}")

    return change


async def test_where_the_disk_is_full_neither_is_there_and_the_key_can_be_used_again(tmp_path: Path) -> None:
    runs: list[str] = []
    async with daemon(tmp_path, runs) as it:
        await it.store.write(room(5))
        for _ in range(2):
            with pytest.raises(CommandError) as caught:
                await it.client.call("put", key="large", idempotency_key="k")
            assert caught.value.code == "UNAVAILABLE"
        assert await it.rows() == []
        await it.store.write(room(1000))
        answer = await it.client.call("put", key="large", idempotency_key="k")
        assert answer == {"key": "large", "count": 3}
        assert await it.rows() == ["k"]


async def test_with_room_again_before_the_error_goes_out_it_is_not_kept_as_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command's error was stored as its answer; here the disk has room for that, and the key would have failed on."""
    runs: list[str] = []
    async with daemon(tmp_path, runs) as it:
        await it.store.write(room(5))
        real = it.answers.commit

        async def commit(*args: Any) -> Any:
            try:
                return await real(*args)
            finally:
                await it.store.write(room(1000))

        monkeypatch.setattr(it.answers, "commit", commit)
        with pytest.raises(Unavailable, match="the disk is full"):
            await it.client.call("put", key="large", idempotency_key="k")
        assert await it.rows() == []
        assert await it.client.call("put", key="large", idempotency_key="k") == {"key": "large", "count": 2}
    async with daemon(tmp_path, runs) as it:
        assert await it.client.call("put", key="large", idempotency_key="k") == {"key": "large", "count": 2}
    assert runs == ["large", "large"]


async def test_a_harmless_command_that_met_a_full_disk_can_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error was the answer of the key for ten minutes."""
    async with daemon(tmp_path, []) as it:
        run = it.answers.begin("anonymous", "k", "harmless", {"key": "a"})
        it.answers.finish(run, Outcome(None, StoreUnavailable("full", {"reason": "full"})))
        assert await it.client.call("harmless", key="a", idempotency_key="k") == {"key": "a", "count": 1}


@pytest.mark.parametrize("fail", ["", "mine"])
async def test_an_answer_that_the_disk_did_not_take_is_given_to_who_asks_again_and_stored_later(
    tmp_path: Path, fail: str
) -> None:
    """What the command did cannot be undone, so it does not run again."""
    runs: list[str] = []

    async def ask(it: Daemon) -> Any:
        try:
            return await it.client.call("author", key="a", fail=fail, idempotency_key="k")
        except CommandError as error:
            return error.code, error.message

    expected: Any = ("MINE", "mine") if fail else {"key": "a", "count": 1}
    async with daemon(tmp_path, runs) as it:
        await it.store.write(put("filler", "x" * 3000))
        await it.store.write(lambda transaction: transaction.execute("PRAGMA query_only = ON") and None)
        code, message = await ask(it)
        assert code == "UNAVAILABLE"
        assert message.startswith("The command has ended, but the daemon cannot store its answer: ")
        assert await ask(it) == expected
        with pytest.raises(StoreError):
            await it.answers.forget_expired()
        it.store._connection.execute("PRAGMA query_only = OFF")
        await it.answers.forget_expired()
        assert await it.rows() == ["k"]
        assert it.answers._owed == {}
    async with daemon(tmp_path, runs) as it:
        assert await ask(it) == expected
    assert runs == ["a"]


async def test_no_more_answers_wait_for_the_disk_than_are_kept(tmp_path: Path) -> None:
    async with daemon(tmp_path, [], count=2) as it:
        await it.store.write(lambda transaction: transaction.execute("PRAGMA query_only = ON") and None)
        for number in range(5):
            with pytest.raises(Unavailable):
                await it.client.call("author", key="a", idempotency_key=str(number))
        assert [run.key for run in it.answers._owed] == ["3", "4"]
        # Let go for room, and not stored in the place of another's answer.
        it.answers._kept.popitem(last=False)
        it.store._connection.execute("PRAGMA query_only = OFF")
        await it.answers.forget_expired()
        assert await it.rows() == ["4"]


async def test_what_was_stored_is_the_answer_though_the_command_ran_out_of_time(tmp_path: Path) -> None:
    """The key gave TIMEOUT until the next start, and success from then on."""
    runs: list[str] = []
    async with daemon(tmp_path, runs) as it:
        async with Gate(it.store) as gate:
            # The gate's change is the one that is being committed; the command's is taken up with the next.
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    with pytest.raises(CallTimeout):
                        await it.client.call("put", key="a", idempotency_key="k", timeout=0.05)

                nursery.start_soon(call)
                with trio.fail_after(LIMIT):
                    while not runs:
                        await trio.lowlevel.checkpoint()
                await wait_all_tasks_blocked()
            gate.open()
        # Withdrawn before it was taken: nothing happened, and that is kept for as long as this daemon lives.
        assert await keys(it.store) == set()

        run = it.answers.begin("anonymous", "late", "put", {"key": "b"})
        it.answers._was_stored(run, outcome := Outcome(b'"stored"', None))
        it.answers.finish(run, Outcome(None, CallTimeout("too late")))
        assert it.answers.find("anonymous", "late", "put", {"key": "b"}).outcome is outcome  # type: ignore[union-attr]


async def test_answers_expire_and_go_from_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    now = 1_000_000_000
    monkeypatch.setattr(_answers, "_now_ms", lambda: now)
    async with daemon(tmp_path, runs, seconds=600) as it:
        await it.client.call("author", key="a", idempotency_key="old")
    now += 599_000
    async with daemon(tmp_path, runs, seconds=600) as it:
        await it.client.call("author", key="a", idempotency_key="old")
        await it.client.call("author", key="b", idempotency_key="new")
        await it.answers.forget_expired()
        assert await it.rows() == ["new", "old"]
        now += 1000
        await it.answers.forget_expired()
        assert await it.rows() == ["new"]
    async with daemon(tmp_path, runs, seconds=600) as it:
        await it.client.call("author", key="a", idempotency_key="old")
        await it.client.call("author", key="b", idempotency_key="new")
    assert runs == ["a", "b", "a"]


async def test_a_clock_that_was_set_back_keeps_no_answer_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000_000
    monkeypatch.setattr(_answers, "_now_ms", lambda: now)
    async with daemon(tmp_path, [], seconds=600) as it:
        await it.client.call("author", key="a", idempotency_key="k")
    now -= 500_000_000
    async with daemon(tmp_path, [], seconds=600) as it:
        run = it.answers.find("anonymous", "k", "author", {"key": "a"})
        assert run is not None
        assert run.expires <= trio.current_time() + 600


async def test_no_more_are_kept_than_there_may_be_on_the_disk_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_answers, "_PIECE", 7)
    runs: list[str] = []
    async with daemon(tmp_path, runs, count=10) as it:
        async with trio.open_nursery() as nursery:
            for number in range(49):
                nursery.start_soon(lambda key: it.client.call("author", key="a", idempotency_key=key), str(number))
        await it.client.call("author", key="a", idempotency_key="last")
        await it.answers.forget_expired()
        left = await it.rows()
        assert len(left) == 10
        assert len(it.answers) == 10
    async with daemon(tmp_path, runs, count=10) as it:
        assert len(it.answers) == 10
        await it.client.call("author", key="a", idempotency_key="last")
    assert len(runs) == 50


async def test_a_commit_for_nobody_is_a_plain_change(tmp_path: Path) -> None:
    async with daemon(tmp_path, []) as it:
        assert await it.answers.commit(None, put("a")) == "a"
        with pytest.raises(KeyError):
            await it.answers.commit(None, lambda transaction: dict[str, str]()["missing"])
        assert await keys(it.store) == {"a"}
        assert it.answers.durable
        assert not Answers.durable


async def test_storing_an_answer_tells_of_a_disk_that_fails(tmp_path: Path) -> None:
    async with daemon(tmp_path, []) as it:
        run = it.answers.begin("p", "k", "c", {})
        it.store.close_soon()
        with pytest.raises(StoreError):
            await it.answers.store(run, Outcome(b"1", None))
        assert not run.stored
