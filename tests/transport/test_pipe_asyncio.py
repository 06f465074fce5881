"""What pipes on asyncio have of their own: other loops, reading ahead, errors that asyncio forgets to tell."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import asyncio

import anyio
import pytest
from anyio import BrokenResourceError

from poppo_ipc._win32.pipes import peek
from poppo_ipc.errors import ConnectFailed, TransportUnsupported
from poppo_ipc.transport import Address, connect
from poppo_ipc.transport._pipe_end import PipeEnd
from poppo_ipc.transport._pipe_open import make_instance

from ._pipes import end_of, may_read_ahead
from ._streams import Pair, clog, exactly, raises

pytestmark = pytest.mark.anyio
only_pipes = pytest.mark.parametrize("pair", ["pipe"], indirect=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_loop_without_pipes_is_told_apart(address: str) -> None:
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    with (
        asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner,
        pytest.raises(TransportUnsupported, match="ProactorEventLoop, or Trio"),
    ):
        runner.run(connect(address))
    assert server.pull(1) == b"", "the client's end was closed"
    server.close()


async def test_plain_asyncio_without_anyio_above_it(address: str) -> None:
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    stream = await asyncio.wait_for(connect(address), 5)
    await stream.send(b"x")
    assert server.pull(1) == b"x"
    server.push(b"y" * 10)
    assert await asyncio.wait_for(exactly(stream, 10), 5) == b"y" * 10
    await stream.aclose()
    server.close()


@only_pipes
async def test_reading_ahead_has_its_bound(pair: Pair) -> None:
    """So a program that does not read slows its peer down, and grows no further."""
    near, far = pair
    sent = 0
    while may_read_ahead(far):
        sent += near.send_nowait(b"c" * 65536)
        await anyio.lowlevel.checkpoint()
    clog(near)
    assert not near.send_nowait(b"x")
    assert len(far._reader.data) < 2 * 65536  # type: ignore[attr-defined]
    assert sent < 10 * 65536


@only_pipes
async def test_a_read_that_fails_is_heard_of(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own transport stumbles over its own error handling there."""
    near, _ = pair
    transport = near._reader._transport  # type: ignore[attr-defined]
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(raises, BrokenResourceError, near.receive)
            await anyio.wait_all_tasks_blocked()
            transport._fatal_error(OSError(22, "a fault", None, 31))
        await raises(BrokenResourceError, near.receive)


@only_pipes
async def test_after_the_peers_close_the_end_stays_ours_until_we_close(pair: Pair) -> None:
    """Asyncio closes what it reads as soon as that is at its end; a handle given back may be anybody's."""
    near, far = pair
    await far.aclose()
    with anyio.fail_after(5):
        assert [chunk async for chunk in near] == []
        await anyio.wait_all_tasks_blocked()
    end = end_of(near)
    assert end.pull(1) == b""
    await raises(BrokenResourceError, near.send, b"x")
    await near.aclose()
    await anyio.wait_all_tasks_blocked()
    with pytest.raises(OSError, match="WinError 6"):
        peek(end.handle)


async def test_a_cancelled_connect_leaves_nothing_open(address: str) -> None:
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    task = asyncio.ensure_future(connect(address))
    for _ in range(2):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with anyio.fail_after(5):
        while True:
            try:
                if server.pull(1) == b"":
                    break
            except OSError:
                break  # it never got that far
            await asyncio.sleep(0)
    server.close()


async def test_nobody_listens(address: str) -> None:
    with pytest.raises(ConnectFailed, match="no such pipe"):
        await connect(address)
