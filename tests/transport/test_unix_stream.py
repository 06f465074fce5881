"""What only sockets can get wrong: resets, and the numbers of file descriptors that were closed."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import errno
import os
import socket

import anyio
import pytest
from anyio import BrokenResourceError, ClosedResourceError

from poppo_ipc.transport import Address, Stream
from poppo_ipc.transport._peer import peer_credentials
from poppo_ipc.transport._unix import UnixStream

pytestmark = pytest.mark.anyio


def socket_pair() -> tuple[UnixStream, UnixStream]:
    address = Address.parse("/pair")
    near, far = socket.socketpair()
    return UnixStream(near, address, peer_credentials(near)), UnixStream(far, address, peer_credentials(far))


async def test_a_reset_is_no_end_of_the_stream() -> None:
    """A peer that closes without reading what we sent resets the connection; the kernel says so only once."""
    near, far = socket_pair()
    await near.send(b"unread")
    await far.send(b"last words")
    await far.aclose()
    assert await near.receive() == b"last words"
    for _ in range(2):
        with pytest.raises(BrokenResourceError):
            await near.receive()
        with pytest.raises(BrokenResourceError):
            near.receive_nowait()
    await near.aclose()


async def test_a_closed_streams_number_is_not_reused_while_a_task_waits_on_it() -> None:
    """A waiter that had been woken but had not run took the next owner's entry out of anyio's books: it hung."""
    near, far = socket_pair()
    number = near._handle.sock.fileno()

    async def wait() -> None:
        with pytest.raises(ClosedResourceError):
            await near.receive()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            near.close_nowait()
            # In the same step: the next owner waits before the first waiter runs again.
            other, peer = socket_pair()
            tg.start_soon(peer.send, b"x")
            assert await other.receive() == b"x"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    for stream in (far, other, peer):
        await stream.aclose()


async def test_the_peer_need_not_wait_for_the_last_waiter() -> None:
    near, far = socket_pair()

    async def wait() -> None:
        with pytest.raises(ClosedResourceError):
            await near.receive()

    async with anyio.create_task_group() as tg:
        tg.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        near.close_nowait()
        assert far.receive_nowait() == b""
        with pytest.raises(BrokenResourceError):
            far.send_nowait(b"x")
    await far.aclose()


async def test_an_error_in_sending_is_final() -> None:
    """Whatever the kernel says next: the caller has been told that the stream is broken."""
    near, far = socket_pair()

    class Failing:
        def send(self, data: memoryview) -> int:
            raise OSError(errno.ENOBUFS, "no room")

    sock, near._handle.sock = near._handle.sock, Failing()  # type: ignore[assignment]
    with pytest.raises(BrokenResourceError):
        near.send_nowait(b"x")
    near._handle.sock = sock
    with pytest.raises(BrokenResourceError):
        near.send_nowait(b"x")
    near.close_nowait()
    far.close_nowait()


async def test_the_last_waiter_gives_the_descriptor_back() -> None:
    near, far = socket_pair()
    while near.send_nowait(b"x" * 65536):
        pass

    async def closed(stream: Stream, sending: bool) -> None:
        with pytest.raises(ClosedResourceError):
            await (stream.send(b"x") if sending else stream.receive())

    async with anyio.create_task_group() as tg:
        tg.start_soon(closed, near, True)
        tg.start_soon(closed, near, False)
        await anyio.wait_all_tasks_blocked()
        near.close_nowait()
        assert near._handle.sock.fileno() != -1
    assert near._handle.sock.fileno() == -1
    await far.aclose()


async def test_a_close_without_waiters_is_immediate() -> None:
    near, far = socket_pair()
    near.close_nowait()
    far.close_nowait()
    assert near._handle.sock.fileno() == -1
