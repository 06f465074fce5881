"""The pipe of a program without an event loop: a blocking socket's calls, its time limits, and Ctrl-C."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import gc
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from poppo_ipc._win32 import pipes
from poppo_ipc._win32.calls import Overlapped
from poppo_ipc._win32.events import wait_any
from poppo_ipc.transport import Address, connect_blocking
from poppo_ipc.transport import _pipe_end as ending
from poppo_ipc.transport._connection import Waiter, peer_of
from poppo_ipc.transport._pipe_blocking import BlockingPipe
from poppo_ipc.transport._pipe_end import PipeEnd
from poppo_ipc.transport._pipe_open import make_instance

from ._processes import line, running

Ends = tuple[BlockingPipe, PipeEnd]


@pytest.fixture
def ends(address: str) -> Iterator[Ends]:
    """A client, and its server's end."""
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    client = connect_blocking(address, 5)
    assert isinstance(client, BlockingPipe)
    yield client, server
    client.close()
    server.close()


def all_of(end: PipeEnd, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        got += end.pull(size - len(got)) or b""
    return bytes(got)


def test_there_and_back(ends: Ends) -> None:
    client, server = ends
    assert client.gettimeout() is None
    assert client.send(b"hello") == 5
    client.sendall(memoryview(b" you"))
    assert server.pull(100) == b"hello you"
    server.push(b"there")
    assert client.recv(2) == b"th"
    assert client.recv(100) == b"ere"
    server.close()
    assert client.recv(100) == client.recv(100) == b""
    with pytest.raises(OSError, match="WinError"):
        client.sendall(b"x")
    client.close()
    client.close()
    calls: list[Callable[[], object]] = [
        lambda: client.recv(1), lambda: client.send(b"x"), lambda: client.sendall(b"x"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(OSError, match="closed"):
            call()
    assert not client.unsent()


def test_what_does_not_wait_says_so(ends: Ends) -> None:
    client, _ = ends
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    while True:
        try:
            client.send(b"x" * 65536)
        except BlockingIOError:
            break
    assert client.unsent()
    assert client.send(b"") == 0


def test_time_limits(ends: Ends) -> None:
    client, server = ends
    client.settimeout(0.01)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with pytest.raises(TimeoutError):
        client.sendall(b"x" * 2**20)
    server.push(b"y")
    assert client.recv(1) == b"y"


def test_waiting_for_either_direction(ends: Ends) -> None:
    client, server = ends
    client.setblocking(False)
    waiter = Waiter(client)
    assert not waiter.wait(False, 0)
    assert not waiter.wait(False, 0.01)
    assert waiter.wait(True, 0), "there is room"
    server.push(b"y")
    assert waiter.wait(False, None)
    assert client.recv(10) == b"y"
    assert not waiter.wait(False, 0)
    while not waiter.unsent():
        client.send(b"x" * 65536)
    assert not waiter.wait(True, 0.01)
    thread = threading.Thread(target=all_of, args=(server, 65536))
    thread.start()
    assert waiter.wait(True, 10)
    thread.join()
    server.close()
    assert waiter.wait(False, None)
    assert client.recv(1) == b""


def test_what_it_waits_for_is_known(ends: Ends) -> None:
    client, _ = ends
    assert peer_of(client) == client.peer
    for unknown in (Waiter, peer_of):
        with pytest.raises(TypeError, match="connect_blocking"):
            unknown(object())  # type: ignore[arg-type]


def test_five_mebibytes_both_ways_at_once(ends: Ends) -> None:
    client, server = ends
    data = random.Random(1).randbytes(5 * 2**20)

    def echo() -> None:
        left = len(data)
        rest = b""
        while left or rest:
            if not rest:
                rest = server.pull(65536) or b""
                left -= len(rest)
            taken = server.push(rest)
            rest = rest[taken:]
            if rest and not taken:
                wait_any([server.writable], 1)
        while server.unwritten():  # what a thread has begun is given up where it ends
            wait_any([server.writable], 1)

    thread = threading.Thread(target=echo)
    thread.start()
    client.setblocking(False)
    waiter = Waiter(client)
    got, view = bytearray(), memoryview(data)
    while len(got) < len(data):
        assert waiter.wait(bool(view), 30)
        with suppress(BlockingIOError):
            got += client.recv(100_000)
        with suppress(BlockingIOError):
            view = view[client.send(view[:100_000]) :] if view else view
    thread.join()
    assert got == data


def test_what_waits_behind_a_full_pipe_arrives_after_a_close(ends: Ends) -> None:
    client, server = ends
    client.setblocking(False)
    sent = 0
    while not client.unsent():
        sent += client.send(b"x" * 65536)
    client.close()
    assert all_of(server, sent) == b"x" * sent
    while (data := server.pull(1)) is None:
        pass
    assert data == b""


def test_without_a_thread_to_wait_for_room_a_close_does_not_wait(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = ends
    client.setblocking(False)
    sent = 0
    while not client.unsent():
        sent += client.send(b"x" * 65536)

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        client.close()
    assert not client._end._handle_open
    got = 0
    while data := server.pull(2**20):
        got += len(data)
    assert data == b"", "the server hears of the close"
    assert got < sent


def pressed(real: Callable[..., bool]) -> Callable[..., bool]:
    """Ctrl-C as the system has begun an operation, and before the program knows of it."""

    def begin(*arguments: object) -> bool:
        real(*arguments)
        raise KeyboardInterrupt

    return begin


def test_control_c_as_a_write_begins_does_not_forget_it(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = ends
    client.setblocking(False)
    size = 4 * 65536  # more than any system takes at once
    monkeypatch.setattr(ending, "CHUNK_BYTES", size)
    with monkeypatch.context() as patch:
        patch.setattr(ending, "write", pressed(pipes.write))
        with pytest.raises(KeyboardInterrupt):
            client.send(b"x" * size)
    assert client.unsent()
    client.close()
    assert all_of(server, size) == b"x" * size


def test_control_c_as_a_wait_begins_does_not_forget_it(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = ends
    with monkeypatch.context() as patch:
        patch.setattr(ending, "read", pressed(pipes.read))
        with pytest.raises(KeyboardInterrupt):
            client.recv(1)
    operation = client._end._waiting
    assert operation is not None
    assert operation.pending
    assert client._end.begin_wait(told=False) is operation
    server.push(b"y")
    assert client.recv(1) == b"y"
    client.settimeout(0.01)
    with pytest.raises(TimeoutError):
        client.recv(1)
    operation = client._end._waiting
    assert operation is not None
    assert operation.pending
    client.close()
    assert not operation.pending


def test_a_forgotten_end_gives_up_what_it_waits_for(address: str) -> None:
    """Also where Ctrl-C came in the middle of its close."""
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    client = connect_blocking(address, 5)
    operation = server.begin_wait(told=False)
    assert operation is not None
    assert operation.pending
    server._closed = True
    del server
    gc.collect()
    assert not operation.pending
    assert client.recv(1) == b""
    client.close()


def test_an_operation_that_never_began_is_not_waited_for_for_ever(ends: Ends) -> None:
    client, _ = ends
    operation = Overlapped()
    operation.Internal = 0x103  # pending: what kernel32 sets before the call, and leaves when that fails
    client._end._writing = operation
    client._end._give_up()
    assert operation.pending
    client._closed = True


@pytest.mark.parametrize("call", ["recv", "wait", "sendall"])
def test_control_c_ends_a_wait(call: str, ends: Ends) -> None:
    client, _ = ends
    waiting = threading.Event()

    def press() -> None:
        waiting.wait()
        time.sleep(0.1)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the thread is told as late as can be
        waiting.set()
        match call:
            case "recv":
                client.recv(1)
            case "wait":
                Waiter(client).wait(False, None)
            case "sendall":
                client.sendall(b"x" * 2**20)
    thread.join()


def test_importing_it_loads_no_event_loop() -> None:
    program = """
import sys
import poppo_ipc.transport._pipe_blocking, poppo_ipc.transport._connection
print({"asyncio", "anyio", "trio"} & set(sys.modules))
"""
    with running(program) as process:
        assert line(process) == "set()"
