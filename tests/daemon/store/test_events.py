"""Events: stored with what they tell of, numbered without gaps over restarts, and replayed to who was away."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from poppo_ipc.client import Event, connect
from poppo_ipc.commands import Router
from poppo_ipc.daemon.store import Store, StoredEvents, StoreError, _events, open_store
from poppo_ipc.server import EventFrame, Server, encode_event

from .kit import LIMIT, opened, put

pytestmark = pytest.mark.trio


def encode(name: str, data: Any, seq: int) -> bytes:
    return encode_event(name, data, 1 << 24, seq).frame


async def stored(store: Store) -> list[int]:
    return [row[0] for row in await store.read(lambda c: c.execute("SELECT seq FROM events ORDER BY seq").fetchall())]


async def test_the_numbering_and_its_name_outlive_the_store(tmp_path: Path) -> None:
    epochs = set()
    for run in range(4):
        async with opened(tmp_path / "db") as it:
            epochs.add(it.store.epoch)
            assert it.store.seq == run * 3
            for number in range(3):
                await it.store.write(put(f"{run}-{number}", event=True))
            assert [event.seq for event in it.events] == [run * 3 + 1, run * 3 + 2, run * 3 + 3]
    assert len(epochs) == 1
    async with opened(tmp_path / "other") as it:
        assert it.store.epoch not in epochs


async def test_what_is_kept_is_loaded_within_its_bounds(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        for number in range(10):
            await it.store.write(put(str(number), event=True))
        size = len(it.events[-1].frame)
        for events, most_bytes, kept in ((4, 10_000, 4), (100, 10_000, 10), (0, 10_000, 0), (100, size * 3, 3)):
            log = (await StoredEvents.load(it.store, events, most_bytes)).log
            assert (len(log), log.seq, log.epoch) == (kept, 10, it.store.epoch)
            assert [event.seq for event in log.since(it.store.epoch, 0).kept] == list(range(11 - kept, 11))


async def test_what_is_stored_before_there_is_a_server_is_kept_for_replay(tmp_path: Path) -> None:
    """It was sent to nobody and not kept, and the next event was refused for its number."""
    async with opened(tmp_path / "db") as it:
        events = await StoredEvents.load(it.store, 100, 10_000)
        await it.store.write(put("early", event=True))
        assert [event.seq for event in events.log.since(it.store.epoch, 0).kept] == [1]
        sent: list[int] = []

        def emit(name: str, seq: int, frame: bytes) -> None:
            events.log.append(EventFrame(frame, seq, name))
            sent.append(seq)

        events.connect(emit)
        await it.store.write(put("late", event=True))
        assert sent == [2]


async def test_publishing_stores_then_sends_and_gives_the_number(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as it:
        events = await StoredEvents.load(it.store, 100, 10_000)
        assert [await events.publish("a", number) for number in range(3)] == [1, 2, 3]
        with pytest.raises(ValueError, match="does not fit"):
            await events.publish("a", "no frame")
        assert await events.publish("a", 3) == 4
        assert await stored(it.store) == [1, 2, 3, 4]


@asynccontextmanager
async def trimming(store: Store, keep: int, emitted: list[int]) -> AsyncIterator[StoredEvents]:
    events = await StoredEvents.load(store, keep, 1 << 20)

    def emit(name: str, seq: int, frame: bytes) -> None:
        events.log.append(EventFrame(frame, seq, name))
        emitted.append(seq)

    events.connect(emit)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.trim)
        yield events
        nursery.cancel_scope.cancel()


async def until_stored_at_most(store: Store, count: int) -> list[int]:
    with trio.fail_after(LIMIT):
        while len(found := await stored(store)) > count:
            await trio.lowlevel.checkpoint()
    return found


async def test_trimming_bounds_the_disk_and_keeps_the_numbering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_events, "_TRIM_EVERY", 20)
    emitted: list[int] = []
    async with opened(tmp_path / "db") as it, trimming(it.store, 5, emitted) as events:
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(events.publish, "a", number)
        left = await until_stored_at_most(it.store, 26)
        assert left[-5:] == [96, 97, 98, 99, 100]
        assert left == list(range(left[0], 101))
        assert emitted == list(range(1, 101))
    async with opened(tmp_path / "db") as it:
        assert it.store.seq == 100


async def test_with_none_kept_the_last_one_stays_for_the_numbering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_events, "_TRIM_EVERY", 0)
    emitted: list[int] = []
    async with opened(tmp_path / "db") as it, trimming(it.store, 0, emitted) as events:
        for number in range(5):
            await events.publish("a", number)
        await until_stored_at_most(it.store, 1)
    async with opened(tmp_path / "db") as it:
        assert it.store.seq == 5


async def test_what_many_short_runs_leave_is_trimmed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run counted from where it began, and none of them had enough to trim."""
    monkeypatch.setattr(_events, "_TRIM_EVERY", 20)
    for _ in range(6):
        emitted: list[int] = []
        async with opened(tmp_path / "db") as it, trimming(it.store, 2, emitted) as events:
            for number in range(10):
                await events.publish("a", number)
            await until_stored_at_most(it.store, 2 + 20 + 1)


async def test_a_disk_that_fails_does_not_end_trimming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_events, "_TRIM_EVERY", 2)
    failures = [StoreError("full"), StoreError("full")]
    emitted: list[int] = []
    async with opened(tmp_path / "db") as it:
        real = it.store.write

        async def write(change: Any, after: Any = None) -> Any:
            if change.__name__ == "delete" and failures:
                raise failures.pop()
            return await real(change, after)

        monkeypatch.setattr(it.store, "write", write)
        async with trimming(it.store, 1, emitted) as events:
            with trio.fail_after(LIMIT):
                while failures or len(await stored(it.store)) > 4:
                    await events.publish("a", 1)
    assert caplog.messages.count("Old events could not be deleted: full") == 2


# -- a client that was away -----------------------------------------------------------------------------------------


def counting_router() -> Router:
    router = Router()

    @router.command("tell")
    async def tell(ctx: Any, number: int) -> int:
        return int(await ctx.publish("told", {"number": number}))

    return router


@asynccontextmanager
async def serving(directory: Path, address: str) -> AsyncIterator[Server]:
    async with open_store(directory / "db", encode) as store:
        events = await StoredEvents.load(store, 1000, 1 << 20)
        server = Server(counting_router(), address=address, log=events.log, publisher=events.publish)
        events.connect(server.emit)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            yield server
            nursery.cancel_scope.cancel()


async def test_a_client_that_comes_back_to_a_new_daemon_gets_each_event_once_and_in_order(
    tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    heard: list[int] = []
    position: Any = None
    told = 0
    for _ in range(4):
        with trio.fail_after(LIMIT):
            async with serving(tmp_path, address), connect(address, reconnect=False) as client:
                if position is not None:
                    # What it is not there to hear.
                    for _ in range(3):
                        await client.call("tell", number=told)
                        told += 1
                async with client.subscribe("told", since=position) as events:
                    await client.call("tell", number=told)
                    told += 1
                    while len(heard) < told:
                        event = await anext(events)
                        assert isinstance(event, Event)
                        heard.append(event.data["number"])
                    position = events.position
    assert heard == list(range(13))
