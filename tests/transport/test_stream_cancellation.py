"""What cancellation leaves behind in a stream: nothing, or its doom; and that work does not starve others."""

from __future__ import annotations

import asyncio
import os
import random
import sys

import anyio
import pytest
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from poppo_ipc.transport import OWN_AND_ROOT
from poppo_ipc.transport._polled import PolledStream

from ._streams import ASYNC_CALLS, Call, Pair, drain, exactly, raises, roomy

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("call", ASYNC_CALLS[:5])
async def test_every_method_can_be_cancelled_and_leaves_the_stream_whole(pair: Pair, call: Call) -> None:
    near, far = pair
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(near)
    assert scope.cancelled_caught
    await near.send(b"x")
    assert await far.receive() == b"x"
    await far.send(b"y")
    assert await near.receive() == b"y"


@roomy
async def test_a_cancelled_receive_loses_nothing(pair: Pair) -> None:
    """Cancelled at every step that a receive has, also after the bytes were taken from the kernel."""
    near, far = pair
    size = 2**17
    data = random.Random(2).randbytes(size)
    rng = random.Random(3)
    got = bytearray()
    cancelled = parked = 0
    async with anyio.create_task_group() as tg:
        tg.start_soon(near.send, data)
        while len(got) < size:
            with anyio.CancelScope() as scope:
                if rng.random() < 0.7:
                    tg.start_soon(_cancel, scope)
                got += await far.receive(rng.randint(1, 700))
            if scope.cancelled_caught:
                cancelled += 1
                parked += bool(far._parked)  # type: ignore[attr-defined]
    assert got == data
    assert cancelled > 10
    assert parked > 10, "the cancellation never came between the taking and the returning"


@roomy
async def test_what_a_cancelled_receive_had_taken_comes_first(pair: Pair) -> None:
    near, far = pair

    async def take_and_cancel() -> None:
        cancelled = False
        while not cancelled:  # Trio runs tasks in any order, so now and then the cancellation comes too late
            near.send_nowait(b"abcdef")
            async with anyio.create_task_group() as tg:
                with anyio.CancelScope() as scope:
                    tg.start_soon(_cancel, scope)
                    await far.receive()
            cancelled = scope.cancelled_caught

    await take_and_cancel()
    with anyio.fail_after(5):
        await far.wait_readable()
    assert far.receive_nowait(2) == b"ab"
    assert await far.receive(2) == b"cd"
    near.send_nowait(b"g")
    assert await far.receive(2) == b"ef"
    assert await far.receive(2) == b"g"
    await take_and_cancel()
    await far.aclose()
    with pytest.raises(ClosedResourceError):
        far.receive_nowait()


async def _cancel(scope: anyio.CancelScope) -> None:
    scope.cancel()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncios_own_cancellation_loses_nothing(pair: Pair) -> None:
    """`Task.cancel` goes through anyio's shields."""
    near, far = pair
    data = bytes(range(256))
    task = asyncio.ensure_future(near.send(data))
    got = bytearray()
    cancelled = 0
    for turn in range(100_000):
        if len(got) == len(data):
            break
        receiving = asyncio.ensure_future(far.receive(3))
        for _ in range(turn % 4):
            await asyncio.sleep(0)
        if turn % 3:
            receiving.cancel()
        try:
            got += await receiving
        except asyncio.CancelledError:
            cancelled += 1
    await task
    assert got == data
    assert cancelled > 10


async def test_a_send_that_was_torn_dooms_the_stream(pair: Pair) -> None:
    near, far = pair
    await far.send(b"s")
    async with anyio.create_task_group() as tg:
        tg.start_soon(near.send, b"x" * 2**22)
        await anyio.wait_all_tasks_blocked()
        tg.cancel_scope.cancel()
    await drain(far)
    await raises(BrokenResourceError, near.send, b"y")
    await raises(BrokenResourceError, near.wait_writable)
    await raises(BrokenResourceError, near.send_eof)
    with pytest.raises(BrokenResourceError):
        near.send_nowait(b"y")
    assert await near.receive() == b"s"


async def test_a_send_cancelled_before_its_first_byte_leaves_no_trace(clogged: Pair) -> None:
    near, far = clogged
    async with anyio.create_task_group() as tg:
        tg.start_soon(near.send, b"never")
        await anyio.wait_all_tasks_blocked()
        tg.cancel_scope.cancel()
    await drain(far)
    await near.send(b"z")
    assert await far.receive() == b"z"


@roomy
async def test_a_receiver_with_much_to_do_lets_others_run(pair: Pair) -> None:
    near, far = pair
    assert near.send_nowait(b"x" * 1000) == 1000
    ran: list[int] = []

    async def other() -> None:
        ran.append(1)

    async with anyio.create_task_group() as tg:
        tg.start_soon(other)
        for _ in range(20):
            assert await far.receive(1) == b"x"
        assert ran


@roomy
async def test_a_sender_with_much_room_lets_others_run(pair: Pair) -> None:
    near, far = pair
    ran: list[int] = []

    async def other() -> None:
        ran.append(1)

    async with anyio.create_task_group() as tg:
        tg.start_soon(other)
        for _ in range(20):
            await near.send(b"x")
        assert ran
    assert await exactly(far, 20) == b"x" * 20


async def test_the_peer_is_this_process_and_both_know_the_address(pair: Pair) -> None:
    near, far = pair
    assert near.address == far.address
    for stream in pair:
        assert stream.peer.pid == os.getpid()
        if sys.platform == "win32":
            assert stream.peer.sid in OWN_AND_ROOT
        else:
            assert (stream.peer.uid, stream.peer.gid) == (os.geteuid(), os.getegid())


async def test_closing_without_waiting_closes(pair: Pair) -> None:
    near, far = pair
    assert isinstance(near, PolledStream)
    near.close_nowait()
    await raises(EndOfStream, far.receive)
    await raises(ClosedResourceError, near.receive)
