"""Ctrl-C ends a program that has a client open, whichever task it hits."""

from __future__ import annotations

import pytest
import trio

from poppo_ipc.client import Client, connect
from poppo_ipc.commands import Router
from poppo_ipc.server import Server, running


@pytest.mark.trio
async def test_an_interrupt_in_a_background_task_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cancellation that it causes in the block was raised in its place."""
    interrupted = trio.Event()

    async def interrupt(client: Client) -> None:
        await interrupted.wait()
        raise KeyboardInterrupt

    async def use() -> None:
        async with connect("memory:interrupt", token=None):
            interrupted.set()
            await trio.sleep_forever()

    monkeypatch.setattr(Client, "_watch_deadlines", interrupt)
    async with running(Server(Router(), address="memory:interrupt")):
        with pytest.raises(KeyboardInterrupt):
            await use()
