"""What the tests of streams share."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest

from poppo_ipc.transport import Stream

from ._pipes import has_more

Pair = tuple[Stream, Stream]
NATIVE = "pipe" if sys.platform == "win32" else "unix"
"""The transport between processes that this platform has."""


async def exactly(stream: Stream, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        got += await stream.receive(count - len(got))
    return bytes(got)


async def say_no_more(stream: Stream) -> None:
    """Tell the peer that no more comes, by the least that the transport has for it."""
    await stream.send_eof()
    if not stream.half_closes:
        await stream.aclose()


def clog(stream: Stream) -> None:
    """Send until there is no room."""
    while stream.send_nowait(b"c" * 65536):
        pass
    while stream.send_nowait(b"c"):
        pass


async def drain(stream: Stream) -> None:
    """Take what the peer has sent."""
    while stream.receive_nowait():
        pass
    while has_more(stream):
        await anyio.lowlevel.checkpoint()
        while stream.receive_nowait():
            pass


async def raises(error: type[Exception], call: Callable[..., Awaitable[object]], *args: object) -> None:
    with pytest.raises(error):
        await call(*args)


ASYNC_CALLS = [
    pytest.param(lambda s: s.receive(), id="receive"),
    pytest.param(lambda s: s.wait_readable(), id="wait_readable"),
    pytest.param(lambda s: s.send(b"x"), id="send"),
    pytest.param(lambda s: s.send(b""), id="send-nothing"),
    pytest.param(lambda s: s.wait_writable(), id="wait_writable"),
    pytest.param(lambda s: s.send_eof(), id="send_eof"),
]
RECEIVING = ASYNC_CALLS[:2]
SENDING = [ASYNC_CALLS[2], ASYNC_CALLS[4]]
half_closing = pytest.mark.parametrize(
    "pair", [kind for kind in (NATIVE, "memory", "memory-listener", "one-byte") if kind != "pipe"], indirect=True
)
roomy = pytest.mark.parametrize("pair", [NATIVE, "memory", "memory-listener"], indirect=True)
Call = Callable[[Stream], Coroutine[Any, Any, object]]


def tiny(stream: Stream) -> bool:
    pipe = getattr(stream, "_out", None)
    return pipe is not None and pipe.capacity == 1
