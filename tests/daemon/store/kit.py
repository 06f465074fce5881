"""A store to test with: its file, its gate, and what it said."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from poppo_ipc.daemon.store import Store, StoredEvent, Transaction, open_store

#: Seconds of real time after which a test that waits for a thread has failed.
LIMIT = 20.0


def encode(name: str, data: Any, seq: int) -> bytes:
    if data == "no frame":
        raise ValueError("does not fit")
    return json.dumps([name, data, seq]).encode()


def put(key: str, value: str = "", *, event: bool = False) -> Any:
    """A change that leaves a trace; gives the key."""

    def change(transaction: Transaction) -> str:
        transaction.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
        if event:
            transaction.publish("put", key)
        return key

    return change


async def keys(store: Store) -> set[str]:
    rows = await store.read(lambda c: c.execute("SELECT key FROM meta WHERE key != 'epoch'").fetchall())
    return {row["key"] for row in rows}


class Gate:
    """Holds the store's thread inside a change, so that what comes meanwhile waits for the next commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._opened = threading.Event()
        self._reached = threading.Event()
        self.passed = trio.Event()

    async def __aenter__(self) -> Gate:
        self._nursery_manager = trio.open_nursery()
        nursery = await self._nursery_manager.__aenter__()
        nursery.start_soon(self._hold)
        await trio.to_thread.run_sync(self._reached.wait, LIMIT)
        return self

    async def _hold(self) -> None:
        def change(transaction: Transaction) -> None:
            self._reached.set()
            assert self._opened.wait(LIMIT)

        await self._store.write(change)
        self.passed.set()

    def open(self) -> None:
        self._opened.set()

    async def __aexit__(self, *exc: Any) -> Any:
        self.open()
        return await self._nursery_manager.__aexit__(*exc)


class Opened:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.events: list[StoredEvent] = []
        store.on_events(self.events.extend)

    @property
    def heard(self) -> list[Any]:
        return [json.loads(event.frame) for event in self.events]


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Opened]:
    async with open_store(path, encode) as store:
        yield Opened(store)
