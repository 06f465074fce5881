"""Listening on Unix sockets: one per path, healed when it was deleted."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest
from anyio import EndOfStream

from poppo_ipc.errors import AddressInUse
from poppo_ipc.transport import connect, listen

from ._listeners import check_served, echo

pytestmark = pytest.mark.anyio


async def test_two_listeners_on_one_path(short_dir: Path) -> None:
    async with await listen(short_dir / "s") as first:
        with pytest.raises(AddressInUse) as caught:
            await listen(short_dir / "s")
        assert caught.value.pid == os.getpid()
        assert first.still_bound()


async def test_a_healed_listener_serves_old_and_new_clients(short_dir: Path) -> None:
    """Also while a task waits in accept, whose socket is swapped under it."""
    listener = await listen(short_dir / "s")
    waiting = await connect(listener.address)
    assert not listener.heal()
    os.unlink(short_dir / "s")
    assert not listener.still_bound()
    assert listener.heal()
    assert listener.still_bound()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(listener.serve, echo)
            await waiting.send(b"x")
            assert await waiting.receive() == b"x"
            await check_served(listener.address)
            await anyio.wait_all_tasks_blocked()
            os.unlink(short_dir / "s")
            assert listener.heal()
            await check_served(listener.address)
            tg.cancel_scope.cancel()
    await waiting.aclose()
    await listener.aclose()
    assert os.listdir(short_dir) == ["s.lock"]


async def test_clients_that_wait_at_the_end_are_cut_off(short_dir: Path) -> None:
    listener = await listen(short_dir / "s")
    first = await connect(listener.address)
    os.unlink(short_dir / "s")
    listener.heal()
    second = await connect(listener.address)
    await listener.aclose()
    with anyio.fail_after(5):
        for client in (first, second):
            with pytest.raises((EndOfStream, anyio.BrokenResourceError)):
                await client.receive()
            await client.aclose()
