"""What pipes have of their own: a write behind the full pipe, no half close, and Windows' many words for an end."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import random
import signal
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from poppo_ipc._win32 import pipes
from poppo_ipc._win32.calls import Overlapped
from poppo_ipc.transport import Stream, connect, connect_blocking, listen
from poppo_ipc.transport import _pipe_end as ending
from poppo_ipc.transport import _pipe_trio as waiting
from poppo_ipc.transport._pipe_end import PipeEnd

from ._pipes import end_of
from ._processes import line, running
from ._streams import Pair, exactly, raises

pytestmark = pytest.mark.anyio


only_pipes = pytest.mark.parametrize("pair", ["pipe"], indirect=True)


@only_pipes
async def test_five_mebibytes_both_ways_at_once_in_pieces_of_any_size(pair: Pair) -> None:
    near, far = pair
    data = random.Random(0).randbytes(5 * 2**20)

    async def sender(stream: Stream, data: bytes, seed: int) -> None:
        chance = random.Random(seed)
        view = memoryview(data)
        while view:
            piece = view[: chance.choice((1, 1000, 65536, 65537, 300_000))]
            await stream.send(piece)
            view = view[len(piece) :]
        await stream.send_eof()

    async def receiver(stream: Stream, data: bytes) -> None:
        assert await exactly(stream, len(data)) == data

    with anyio.fail_after(50):
        async with anyio.create_task_group() as tg:
            tg.start_soon(sender, near, data, 1)
            tg.start_soon(sender, far, data[::-1], 2)
            tg.start_soon(receiver, near, data[::-1])
            tg.start_soon(receiver, far, data)


@only_pipes
async def test_waits_that_are_cancelled_at_every_step_lose_no_byte_in_either_direction(pair: Pair) -> None:
    """By `send_nowait` and the waits, as the server and the clients do it: a cancelled wait tears nothing.

    Begins with waits that can only be cancelled: there is nothing to read, and no room.
    """
    near, far = pair
    data = random.Random(3).randbytes(2**21)
    chance = random.Random(4)
    cancelled = {"reading": 0, "writing": 0}

    async def after(turns: int, scope: anyio.CancelScope) -> None:
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    async def impatient(kind: str, wait: object, tg: anyio.abc.TaskGroup) -> None:
        with anyio.CancelScope() as scope:
            if chance.random() < 0.8:
                tg.start_soon(after, chance.randint(0, 2), scope)
            await wait()  # type: ignore[operator]
        cancelled[kind] += scope.cancelled_caught

    async def write(tg: anyio.abc.TaskGroup) -> None:
        view = memoryview(data)
        while view:
            view = view[near.send_nowait(view[: chance.randint(1, 2**18)]) :]
            await impatient("writing", near.wait_writable, tg)

    got = bytearray()
    with anyio.fail_after(50):
        async with anyio.create_task_group() as tg:
            for turns in range(5):
                with anyio.CancelScope() as scope:
                    tg.start_soon(after, turns, scope)
                    await far.wait_readable()
                assert scope.cancelled_caught
            tg.start_soon(write, tg)
            while len(got) < len(data):
                got += far.receive_nowait(chance.randint(1, 2**16)) or b""
                if len(got) < len(data):
                    await impatient("reading", far.wait_readable, tg)
    assert got == data
    assert cancelled["writing"] > 0


@only_pipes
async def test_what_waits_behind_a_full_pipe_arrives_after_a_close(clogged: Pair) -> None:
    near, far = clogged
    await near.aclose()
    got = bytearray()
    with anyio.fail_after(10):
        async for chunk in far:
            got += chunk
    assert set(got) == {ord("c")}
    assert len(got) >= 2 * 65536


@only_pipes
async def test_without_a_thread_to_wait_for_room_it_is_looked_for(
    clogged: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = clogged
    refused = 0

    async def run_sync(*_: object, **__: object) -> None:
        nonlocal refused
        refused += 1
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(anyio.to_thread, "run_sync", run_sync)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            tg.start_soon(near.send, b"d")
            while not refused:
                await anyio.lowlevel.checkpoint()
            got = b""
            while not got.endswith(b"d"):
                got = await far.receive()


@only_pipes
async def test_an_end_waits_until_the_pipe_has_room_and_then_the_peer_has_all(clogged: Pair) -> None:
    near, far = clogged
    ended = anyio.Event()

    async def end() -> None:
        await near.send_eof()
        ended.set()
        await near.aclose()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            tg.start_soon(end)
            await anyio.wait_all_tasks_blocked()
            assert not ended.is_set()
            async for chunk in far:
                assert set(chunk) == {ord("c")}
    assert ended.is_set()


@only_pipes
async def test_a_cancelled_end_has_not_happened(clogged: Pair) -> None:
    near, far = clogged
    async with anyio.create_task_group() as tg:
        tg.start_soon(near.send_eof)
        await anyio.wait_all_tasks_blocked()
        tg.cancel_scope.cancel()
    with anyio.fail_after(10):
        while not near.send_nowait(b"x"):
            await far.receive()
        got = b""
        while not got.endswith(b"x"):
            got = await far.receive()


@only_pipes
async def test_after_its_end_a_stream_still_receives_and_the_peer_hears_of_the_close(pair: Pair) -> None:
    near, far = pair
    assert not near.half_closes
    await near.send(b"last")
    await near.send_eof()
    await near.send_eof()
    await raises(ClosedResourceError, near.send, b"more")
    with pytest.raises(ClosedResourceError):
        near.send_nowait(b"more")
    await far.send(b"answer")
    assert await near.receive() == b"answer"
    await near.aclose()
    assert await exactly(far, 4) == b"last"
    await raises(EndOfStream, far.receive)


@only_pipes
async def test_a_pipe_that_its_server_disconnected_is_broken_and_not_at_its_end(pair: Pair) -> None:
    """Nothing here does so, as it throws away what was not read yet; other programs may."""
    near, far = pair
    disconnect(end_of(far))
    with anyio.fail_after(5):
        for _ in range(2):
            await raises(BrokenResourceError, near.receive)
        await raises(BrokenResourceError, near.send, b"x")
    await raises(BrokenResourceError, near.send, b"x")


def disconnect(end: PipeEnd) -> None:
    import ctypes
    from ctypes import wintypes

    call = ctypes.WinDLL("kernel32").DisconnectNamedPipe
    call.argtypes = (wintypes.HANDLE,)
    assert call(end.handle)


@pytest.mark.parametrize("what", ["receive", "accept"])
def test_control_c_as_an_operation_begins_comes_in_its_wait(
    what: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two, the operation's memory would be freed while the system may write to it."""
    begun: list[Overlapped] = []

    def pressed(real: Callable[..., bool]) -> Callable[..., bool]:
        def begin(*arguments: Any) -> bool:
            waits = real(*arguments)
            begun.append(arguments[-1])
            signal.raise_signal(signal.SIGINT)
            return waits

        return begin

    async def main() -> None:
        async with await listen(address) as listener, await connect(address) as client:
            if what == "accept":
                await (await listener.accept()).aclose()
                monkeypatch.setattr(waiting, "connect_instance", pressed(pipes.connect_instance))
                await listener.accept()
            else:
                monkeypatch.setattr(ending, "read", pressed(pipes.read))
                await client.receive()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    (operation,) = begun
    assert not operation.pending
    assert operation.Internal, "it was given up, and had not ended"


WRITER = """
import sys
from poppo_ipc.transport import connect_blocking
pipe = connect_blocking(sys.argv[1], 5)
pipe.sendall(b"w" * 60_000)
print("sent", flush=True)
"""


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_what_a_process_sent_before_its_end_is_read_after_it(address: str) -> None:
    async with await listen(address) as listener:
        with running(WRITER, address) as writer:
            stream = await listener.accept()
            assert await anyio.to_thread.run_sync(line, writer) == "sent"
            await anyio.to_thread.run_sync(writer.wait)
        assert await exactly(stream, 60_000) == b"w" * 60_000
        await raises(EndOfStream, stream.receive)
        await stream.aclose()


ECHO = """
import sys, anyio
from poppo_ipc.transport import connect

async def main():
    async with await connect(sys.argv[2]) as stream:
        print("connected", flush=True)
        async for chunk in stream:
            await stream.send(chunk)
    print("ended", flush=True)
    sys.stdin.readline()

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("loop", ["trio", "asyncio"])
async def test_another_process_on_either_loop(loop: str, address: str) -> None:
    data = random.Random(6).randbytes(2**20)
    with anyio.fail_after(50):
        async with await listen(address) as listener:
            with running(ECHO, loop, address) as client:
                stream = await listener.accept()
                assert stream.peer.pid == client.pid
                assert await anyio.to_thread.run_sync(line, client) == "connected"
                async with anyio.create_task_group() as tg:
                    tg.start_soon(stream.send, data)
                    assert await exactly(stream, len(data)) == data
                await stream.aclose()
                assert await anyio.to_thread.run_sync(line, client) == "ended"


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("loop", ["trio", "asyncio"])
async def test_the_kill_of_a_client_ends_the_servers_stream(loop: str, address: str) -> None:
    with anyio.fail_after(50):
        async with await listen(address) as listener:
            with running(ECHO, loop, address) as client:
                stream = await listener.accept()
                await stream.send(b"x")
                assert await stream.receive() == b"x"
                async with anyio.create_task_group() as tg:
                    tg.start_soon(raises, EndOfStream, stream.receive)
                    await anyio.wait_all_tasks_blocked()
                    client.kill()
                await raises(BrokenResourceError, stream.send, b"x" * 2**20)
                await stream.aclose()
            async with anyio.create_task_group() as tg:
                tg.start_soon(listener.accept)
                connect_blocking(address, 5).close()


SERVER = """
import sys, trio
from poppo_ipc.transport import listen

async def main():
    async with await listen(sys.argv[1]) as listener:
        print("ready", flush=True)
        stream = await listener.accept()
        await stream.send(b"hello")
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize("what", ["receive", "send"])
async def test_the_kill_of_a_server_ends_the_clients_stream(what: str, address: str) -> None:
    with anyio.fail_after(50), running(SERVER, address) as server:
        assert await anyio.to_thread.run_sync(line, server) == "ready"
        stream = await connect(address)
        assert await exactly(stream, 5) == b"hello"
        async with anyio.create_task_group() as tg:
            if what == "receive":
                tg.start_soon(raises, EndOfStream, stream.receive)
            else:
                tg.start_soon(raises, BrokenResourceError, stream.send, b"x" * 2**20)
            await anyio.wait_all_tasks_blocked()
            server.kill()
        await raises(EndOfStream, stream.receive)
        await stream.aclose()
