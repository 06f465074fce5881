"""The contract of `Stream`, on every kind of stream and both event loops. Ideas from trio's check_two_way_stream."""

from __future__ import annotations

import array
import random

import anyio
import pytest
from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream

from poppo_ipc.transport import Stream

from ._streams import (
    ASYNC_CALLS,
    RECEIVING,
    SENDING,
    Call,
    Pair,
    drain,
    exactly,
    half_closing,
    raises,
    roomy,
    say_no_more,
    tiny,
)

pytestmark = pytest.mark.anyio


async def test_bytes_arrive(pair: Pair) -> None:
    near, far = pair
    await near.send(b"")
    await near.send(b"1")
    assert await far.receive(1) == b"1"
    await far.send(bytearray(b"2"))
    assert await near.receive() == b"2"
    await near.send(memoryview(b"3"))
    assert await far.receive(max_bytes=10) == b"3"


@roomy
async def test_items_are_sent_as_bytes_whatever_their_unit(pair: Pair) -> None:
    near, far = pair
    numbers = memoryview(array.array("I", range(2**18)))
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            tg.start_soon(near.send, numbers)
            assert await exactly(far, numbers.nbytes) == numbers.tobytes()
    few = numbers[:3]
    assert near.send_nowait(few) == few.nbytes
    assert await exactly(far, few.nbytes) == few.tobytes()


@pytest.mark.parametrize("size", [0, -1])
async def test_a_size_under_one_is_refused(pair: Pair, size: int) -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        await pair[0].receive(size)
    with pytest.raises(ValueError, match="max_bytes"):
        pair[0].receive_nowait(size)


async def test_at_most_max_bytes_are_returned_and_the_rest_is_kept(pair: Pair) -> None:
    near, far = pair
    async with anyio.create_task_group() as tg:
        tg.start_soon(near.send, b"abcdef")
        assert await far.receive(1) == b"a"
        some = await far.receive(2)
        assert len(some) <= 2
        assert some + await exactly(far, 5 - len(some)) == b"bcdef"


async def test_iteration_ends_at_the_end(pair: Pair) -> None:
    near, far = pair
    async with anyio.create_task_group() as tg:

        async def talk() -> None:
            await near.send(b"abc")
            await near.aclose()

        tg.start_soon(talk)
        assert b"".join([chunk async for chunk in far]) == b"abc"
    for _ in range(2):
        with pytest.raises(EndOfStream):
            await far.receive()
        assert far.receive_nowait() == b""
        await far.wait_readable()


async def test_one_mebibyte_both_ways_at_once(pair: Pair) -> None:
    near, far = pair
    size = 2**11 if tiny(near) else 2**20
    data = random.Random(0).randbytes(size)

    async def sender(stream: Stream, data: bytes, seed: int) -> None:
        rng = random.Random(seed)
        view = memoryview(data)
        while view:
            step = rng.randint(1, 2**14)
            await stream.send(view[:step])
            view = view[step:]

    async def receiver(stream: Stream, data: bytes, seed: int) -> None:
        rng = random.Random(seed)
        got = bytearray()
        while len(got) < len(data):
            chunk = await stream.receive(rng.randint(1, 2**14))
            assert chunk
            got += chunk
        assert got == data

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tg:
            tg.start_soon(sender, near, data, 0)
            tg.start_soon(sender, far, data[::-1], 1)
            tg.start_soon(receiver, near, data[::-1], 2)
            tg.start_soon(receiver, far, data, 3)


# -- without waiting ---------------------------------------------------------------------------------------------


async def test_nothing_there_now(pair: Pair) -> None:
    near, far = pair
    assert far.receive_nowait() is None
    assert near.send_nowait(b"z") == 1
    await far.wait_readable()
    assert far.receive_nowait() == b"z"
    assert far.receive_nowait() is None
    await say_no_more(near)
    await far.wait_readable()
    assert far.receive_nowait() == b""


async def test_send_nowait_takes_a_part_and_then_nothing(pair: Pair) -> None:
    near, far = pair
    big = random.Random(1).randbytes(2**22)
    taken = near.send_nowait(big)
    assert 0 < taken < len(big)
    # Some kernels take a little more once asked again; at last there is no room at all.
    while more := near.send_nowait(memoryview(big)[taken:]):
        taken += more
    assert await exactly(far, taken) == big[:taken]
    assert far.receive_nowait() is None


async def test_wait_writable_wakes_when_there_is_room(clogged: Pair) -> None:
    near, far = clogged
    record: list[str] = []

    async def waiter() -> None:
        await near.wait_writable()
        record.append("woken")
        assert near.send_nowait(b"x") == 1

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(waiter)
            await anyio.wait_all_tasks_blocked()
            record.append("draining")
            await drain(far)
    assert record == ["draining", "woken"]


async def test_send_waits_for_room_and_then_sends_all(clogged: Pair) -> None:
    near, far = clogged
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(near.send, b"tail")
            await anyio.wait_all_tasks_blocked()
            got = b""
            while not got.endswith(b"tail"):
                got += await far.receive()
    assert got.strip(b"c") == b"tail"


# -- two tasks in one direction ----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", RECEIVING)
async def test_two_receivers_are_a_mistake(pair: Pair, first: Call) -> None:
    near, far = pair
    async with anyio.create_task_group() as tg:
        tg.start_soon(first, far)
        await anyio.wait_all_tasks_blocked()
        await raises(BusyResourceError, far.receive)
        await raises(BusyResourceError, far.wait_readable)
        with pytest.raises(BusyResourceError):
            far.receive_nowait()
        await near.send(b"x")  # the first is not disturbed


@pytest.mark.parametrize("first", SENDING)
async def test_two_senders_are_a_mistake(clogged: Pair, first: Call) -> None:
    near, far = clogged
    async with anyio.create_task_group() as tg:
        tg.start_soon(first, near)
        await anyio.wait_all_tasks_blocked()
        await raises(BusyResourceError, near.send, b"y")
        await raises(BusyResourceError, near.wait_writable)
        await raises(BusyResourceError, near.send_eof)
        with pytest.raises(BusyResourceError):
            near.send_nowait(b"y")
        await drain(far)


# -- ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ASYNC_CALLS)
async def test_a_closed_stream_says_so(pair: Pair, call: Call) -> None:
    near, _far = pair
    await near.aclose()
    await near.aclose()
    with pytest.raises(ClosedResourceError):
        await call(near)
    with pytest.raises(ClosedResourceError):
        near.receive_nowait()
    with pytest.raises(ClosedResourceError):
        near.send_nowait(b"x")


@pytest.mark.parametrize("call", RECEIVING)
async def test_close_wakes_a_receiver(pair: Pair, call: Call) -> None:
    near, _far = pair
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(raises, ClosedResourceError, call, near)
            await anyio.wait_all_tasks_blocked()
            await near.aclose()


@pytest.mark.parametrize("call", SENDING)
async def test_close_wakes_a_sender(clogged: Pair, call: Call) -> None:
    near, _far = clogged
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(raises, ClosedResourceError, call, near)
            await anyio.wait_all_tasks_blocked()
            await near.aclose()


async def test_the_peer_hears_of_a_close_that_woke_a_waiter(pair: Pair) -> None:
    near, far = pair
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(raises, ClosedResourceError, near.receive)
            await anyio.wait_all_tasks_blocked()
            await near.aclose()
            await raises(EndOfStream, far.receive)


async def test_a_cancelled_close_closes(pair: Pair) -> None:
    near, far = pair
    with anyio.CancelScope() as scope:
        scope.cancel()
        await near.aclose()
    await raises(ClosedResourceError, near.receive)
    with anyio.fail_after(5):
        await raises(EndOfStream, far.receive)


async def test_sending_to_a_closed_peer_breaks_and_stays_broken(pair: Pair) -> None:
    near, far = pair
    await far.aclose()
    with anyio.fail_after(5), pytest.raises(BrokenResourceError):  # noqa: PT012 - in the end, not at once
        while True:
            await near.send(b"x" * 100)
    await raises(BrokenResourceError, near.send, b"x")
    with pytest.raises(BrokenResourceError):
        near.send_nowait(b"x")


async def test_a_sender_is_woken_when_the_peer_closes(clogged: Pair) -> None:
    near, far = clogged
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(raises, BrokenResourceError, near.send, b"x")
            await anyio.wait_all_tasks_blocked()
            await far.aclose()


async def test_wait_writable_ends_when_the_peer_closes(clogged: Pair) -> None:
    near, far = clogged
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(near.wait_writable)
            await anyio.wait_all_tasks_blocked()
            await far.aclose()


@half_closing
async def test_half_close(pair: Pair) -> None:
    near, far = pair
    await near.send(b"x")
    await near.send_eof()
    await near.send_eof()
    await raises(ClosedResourceError, near.send, b"y")
    assert await far.receive() == b"x"
    await raises(EndOfStream, far.receive)
    await far.send(b"y")
    await far.send_eof()
    assert await near.receive() == b"y"
    await raises(EndOfStream, near.receive)


async def test_an_end_of_what_is_sent_loses_nothing(pair: Pair) -> None:
    near, far = pair
    data = random.Random(4).randbytes(500 if tiny(near) else 2**20)
    got = bytearray()

    async def talk() -> None:
        await near.send(data)
        await say_no_more(near)
        await raises(ClosedResourceError, near.send, b"y")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            tg.start_soon(talk)
            async for chunk in far:
                got += chunk
    assert got == data


async def test_all_that_was_sent_before_a_close_arrives(pair: Pair) -> None:
    near, far = pair
    await near.send(b"y")
    await near.aclose()
    assert await far.receive() == b"y"
    await raises(EndOfStream, far.receive)
