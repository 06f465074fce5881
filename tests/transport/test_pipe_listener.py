"""Listening on a named pipe: it is never absent, crowds get in, and nobody is lost."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import errno
import random
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from poppo_ipc._win32.calls import close_handle
from poppo_ipc._win32.events import Event
from poppo_ipc._win32.pipes import create_instance
from poppo_ipc.transport import Listener, accept_retrying, connect, connect_blocking, listen
from poppo_ipc.transport import _pipe_end as ending
from poppo_ipc.transport import _pipe_open as opening
from poppo_ipc.transport._peer import own_credentials
from poppo_ipc.transport._pipe_trio import PipeListener

from ._listeners import check_served, echo
from ._streams import exactly, raises

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
async def listener(address: str, anyio_backend: str) -> AsyncIterator[Listener]:
    async with await listen(address) as listening:
        yield listening


async def test_the_next_instance_is_there_before_a_client_is_handed_out(listener: Listener) -> None:
    """So a client that comes while the last one is being seen to does not find the pipe gone, or busy."""
    first = await connect(listener.address)
    clients = []
    for _ in range(10):
        accepted = await listener.accept()
        # Without letting the listener run: this finds an instance at once, or not at all.
        clients.append(connect_blocking(listener.address, 0))
        await accepted.aclose()
    clients.pop().close()
    await first.aclose()
    for client in clients:
        client.close()


async def test_no_next_instance_keeps_the_client_until_there_is_one(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [8, 1450, 4]

    def create(path: str, **options: Any) -> int:
        if failing:
            raise OSError(None, "short of it", None, failing.pop())
        return create_instance(path, **options)

    monkeypatch.setattr(opening, "create_instance", create)
    client = await connect(listener.address)
    with pytest.raises(OSError, match="short of it") as caught:
        await listener.accept()
    assert caught.value.errno == errno.EMFILE
    with trio.fail_after(5):
        stream = await accept_retrying(listener)
    assert failing == []
    await client.send(b"x")
    assert await stream.receive() == b"x"
    await client.aclose()
    await stream.aclose()


async def test_no_event_for_the_next_instance_is_a_shortage_and_leaves_no_handle(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    closed: list[int] = []
    failing = [2, 1]

    def create(path: str, **options: Any) -> int:
        made.append(create_instance(path, **options))
        return made[-1]

    def close(handle: int) -> None:
        closed.append(handle)
        close_handle(handle)

    def event() -> Event:
        if failing:
            failing[-1] -= 1
            if not failing[-1]:
                failing.pop()
                raise OSError(None, "short of it", None, 8)
        return Event()

    client = await connect(listener.address)
    with monkeypatch.context() as patch:
        patch.setattr(opening, "create_instance", create)
        patch.setattr(ending, "close_handle", close)
        patch.setattr(ending, "Event", event)
        for tries in (1, 2):
            with pytest.raises(OSError, match="short of it") as caught:
                await listener.accept()
            assert caught.value.errno == errno.ENOMEM
            assert len(made) == tries
            assert closed == made
    with trio.fail_after(5):
        stream = await accept_retrying(listener)
    await client.aclose()
    await stream.aclose()


async def test_an_accept_that_begins_in_a_pause_takes_who_comes_after_it(listener: Listener) -> None:
    assert isinstance(listener, PipeListener)
    listener.pause()
    with trio.fail_after(10):
        async with anyio.create_task_group() as tg:
            tg.start_soon(listener.serve, echo)
            await trio.testing.wait_all_tasks_blocked()
            listener.resume()
            await check_served(listener.address)
            tg.cancel_scope.cancel()


@pytest.mark.parametrize("first", ["accept", "pause"])
async def test_a_close_in_a_pause_ends_the_accept(first: str, listener: Listener) -> None:
    assert isinstance(listener, PipeListener)
    with trio.fail_after(10):
        async with anyio.create_task_group() as tg:
            if first == "pause":
                listener.pause()
            tg.start_soon(raises, ClosedResourceError, listener.accept)
            await trio.testing.wait_all_tasks_blocked()
            listener.pause()
            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()
    listener.resume()
    await raises(ClosedResourceError, listener.accept)


async def test_a_hundred_clients_at_once(listener: Listener) -> None:
    """Each with as many bytes as it likes, there and back."""

    async def client(seed: int) -> None:
        chance = random.Random(seed)
        async with await connect(listener.address) as stream:
            for size in (1, chance.randint(2, 2**10), chance.randint(2**10, 2**17)):
                data = chance.randbytes(size)
                async with anyio.create_task_group() as both:
                    both.start_soon(stream.send, data)
                    assert await exactly(stream, size) == data
        done.append(seed)

    done: list[int] = []
    with trio.fail_after(50):
        async with anyio.create_task_group() as tg:
            tg.start_soon(listener.serve, echo)
            async with anyio.create_task_group() as clients:
                for seed in range(100):
                    clients.start_soon(client, seed)
            tg.cancel_scope.cancel()
    assert sorted(done) == list(range(100))


async def test_a_client_that_came_and_went_does_not_stop_the_listener(listener: Listener) -> None:
    for _ in range(3):
        connect_blocking(listener.address, 5).close()
        with trio.fail_after(5):
            try:
                stream = await listener.accept()
            except OSError as exc:
                assert exc.errno == errno.ECONNABORTED  # noqa: PT017 - either is right
            else:
                with pytest.raises((EndOfStream, BrokenResourceError)):
                    await stream.receive()
                await stream.aclose()
    async with anyio.create_task_group() as tg:
        tg.start_soon(listener.serve, echo)
        await check_served(listener.address)
        tg.cancel_scope.cancel()


async def test_a_client_that_waits_when_the_listener_closes_is_cut_off(address: str) -> None:
    listener = await listen(address)
    client = await connect(address)
    await listener.aclose()
    with trio.fail_after(5), pytest.raises((EndOfStream, BrokenResourceError)):
        await client.receive()
    await client.aclose()


async def test_accepted_streams_outlive_their_listener_and_the_name_is_free(address: str) -> None:
    listener = await listen(address)
    client = await connect(address)
    stream = await listener.accept()
    await listener.aclose()
    async with await listen(address) as second:
        assert second.still_bound()
        assert not second.heal()
        await stream.send(b"still here")
        assert await client.receive() == b"still here"
    await client.aclose()
    await stream.aclose()


async def test_peers_are_known_by_process_and_user(listener: Listener) -> None:
    client = await connect(listener.address)
    stream = await listener.accept()
    assert stream.peer == client.peer == own_credentials()
    assert stream.peer.sid is not None
    assert stream.peer.sid.startswith("S-1-")
    await client.aclose()
    await stream.aclose()


async def test_cancelled_accepts_lose_nobody(listener: Listener) -> None:
    """Before a client comes, as it comes, and after."""
    chance = random.Random(5)
    cancelled = 0

    async def after(turns: int, scope: anyio.CancelScope) -> None:
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    async def client() -> None:
        async with await connect(listener.address) as stream:
            await stream.send(b"x")
            await raises(EndOfStream, stream.receive)

    with trio.fail_after(30):
        for _ in range(50):
            accepted = None
            async with anyio.create_task_group() as tg:
                with anyio.CancelScope() as scope:
                    tg.start_soon(after, chance.randint(0, 5), scope)
                    await listener.accept()
                cancelled += scope.cancelled_caught
                tg.start_soon(client)
                while accepted is None:
                    with anyio.CancelScope() as scope:
                        if chance.random() < 0.8:
                            tg.start_soon(after, chance.randint(0, 5), scope)
                        accepted = await listener.accept()
                    cancelled += scope.cancelled_caught
                assert await accepted.receive() == b"x"
                await accepted.aclose()
    assert cancelled >= 50
