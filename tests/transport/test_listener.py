"""Listening: accept loses nobody, outlives shortages, ends cleanly; sockets that a service manager handed over."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio import BusyResourceError, ClosedResourceError, EndOfStream

from poppo_ipc.errors import AddressInUse
from poppo_ipc.transport import (
    Address,
    Listener,
    Stream,
    connect,
    listen,
    listen_on,
)

from ._claims import plain_server as bound

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


@pytest.fixture(params=["unix", "memory", "activated"])
def address(request: pytest.FixtureRequest, short_dir: Path) -> str:
    return "memory:s" if request.param == "memory" else f"{request.param}:{short_dir}/s"


async def start(address: str) -> Listener:
    kind, _, path = address.partition(":")
    return listen_on(bound(Path(path))) if kind == "activated" else await listen(address)


async def echo(stream: Stream) -> None:
    async with stream:
        async for chunk in stream:
            await stream.send(chunk)


async def check_served(address: Address) -> None:
    async with await connect(address) as stream:
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"


async def test_serve(address: str) -> None:
    listener = await start(address)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(listener.serve, echo)
            for _ in range(3):
                await check_served(listener.address)
            tg.cancel_scope.cancel()
    await listener.aclose()


async def test_serve_in_a_group_of_the_callers(address: str) -> None:
    listener = await start(address)
    async with anyio.create_task_group() as handlers:
        with anyio.CancelScope() as accepting:

            async def handler(stream: Stream) -> None:
                accepting.cancel()
                await echo(stream)

            client = await connect(listener.address)
            await listener.serve(handler, handlers)
        await listener.aclose()
        await client.send(b"still served")
        assert await client.receive() == b"still served"
        await client.aclose()


async def test_closing_wakes_accept_and_frees_the_address(address: str) -> None:
    listener = await start(address)

    async def closed() -> None:
        with pytest.raises(ClosedResourceError):
            await listener.accept()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(closed)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(BusyResourceError):
                await listener.accept()
            await listener.aclose()
    await listener.aclose()
    assert not listener.still_bound()
    with pytest.raises(ClosedResourceError):
        await listener.accept()
    with pytest.RaisesGroup(ClosedResourceError):
        await listener.serve(echo)
    with pytest.raises(ClosedResourceError):
        listener.heal()
    if not address.startswith("activated"):
        await (await listen(address)).aclose()


async def test_a_cancelled_close_closes(address: str) -> None:
    listener = await start(address)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await listener.aclose()
    with pytest.raises(ClosedResourceError):
        await listener.accept()


async def test_a_cancelled_accept_loses_no_client(address: str) -> None:
    listener = await start(address)
    clients = [await connect(listener.address) for _ in range(5)]
    accepted: list[Stream] = []
    turn = 0
    while len(accepted) < len(clients):
        turn += 1
        async with anyio.create_task_group() as tg:
            with anyio.CancelScope() as scope:
                if turn % 3 == 1:
                    scope.cancel()
                elif turn % 3 == 2:
                    tg.start_soon(_cancel, scope)  # before or after accept's own step, as the scheduler likes
                accepted.append(await listener.accept())
            assert scope.cancelled_caught or turn % 3 != 1
    for index, client in enumerate(clients):
        await client.send(b"%d" % index)
        assert await accepted[index].receive() == b"%d" % index
    for stream in (*clients, *accepted):
        await stream.aclose()
    await listener.aclose()


async def _cancel(scope: anyio.CancelScope) -> None:
    scope.cancel()


async def test_two_listeners_on_one_name() -> None:
    async with await listen("memory:x") as first:
        with pytest.raises(AddressInUse) as caught:
            await listen("memory:x")
        assert caught.value.pid == os.getpid()
        assert first.still_bound()
        assert not first.heal()


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
