"""Listening, on every kind of listener: accept loses nobody, and it ends cleanly."""

from __future__ import annotations

import os

import anyio
import anyio.abc
import pytest
from anyio import BusyResourceError, ClosedResourceError

from poppo_ipc.errors import AddressInUse
from poppo_ipc.transport import (
    Stream,
    connect,
    listen,
)

from ._listeners import PLACES, check_served, echo, start

pytestmark = pytest.mark.anyio


@pytest.fixture(params=PLACES, ids="-".join)
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    asked: tuple[str, str] = request.param
    return asked


@pytest.fixture
def anyio_backend(place: tuple[str, str]) -> str:
    return place[0]


@pytest.fixture
def address(place: tuple[str, str], address: str) -> str:
    match place[1]:
        case "memory":
            return "memory:s"
        case "activated":
            return address.replace("unix", "activated")
    return address


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
    """The clients come at once, and wait wherever the system has them wait."""
    listener = await start(address)
    clients: list[Stream] = []
    accepted: list[Stream] = []

    async def client() -> None:
        clients.append(await connect(listener.address))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as connecting:
            for _ in range(5):
                connecting.start_soon(client)
            turn = 0
            while len(accepted) < 5:
                turn += 1
                async with anyio.create_task_group() as tg:
                    with anyio.CancelScope() as scope:
                        if turn % 3 == 1:
                            scope.cancel()
                        elif turn % 3 == 2:
                            tg.start_soon(_cancel, scope)  # before or after accept's own step, as the scheduler likes
                        accepted.append(await listener.accept())
                    assert scope.cancelled_caught or turn % 3 != 1
        for index, each in enumerate(clients):
            await each.send(b"%d" % index)
        assert {await stream.receive() for stream in accepted} == {b"%d" % index for index in range(5)}
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
