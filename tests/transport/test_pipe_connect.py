"""Connecting to named pipes: what can be wrong is said, a busy pipe is waited for, and a stranger gets no byte."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from poppo_ipc._win32.calls import ERROR_ACCESS_DENIED, SecurityAttributes
from poppo_ipc._win32.pipes import create_instance
from poppo_ipc._win32.security import own_sid
from poppo_ipc.errors import AddressError, AddressInUse, ConnectFailed, TransportUnsupported
from poppo_ipc.transport import Address, connect, connect_blocking, listen
from poppo_ipc.transport import _pipe_open as opening
from poppo_ipc.transport._pipe_end import PipeEnd
from poppo_ipc.transport._pipe_open import make_instance, open_end

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["async", "blocking"])
def failing_connect(request: pytest.FixtureRequest, anyio_backend: str) -> Callable[..., ConnectFailed]:
    """Connects in one of the two ways and gives the error."""

    async def connecting(address: str, options: dict[str, Any]) -> None:
        await connect(address, **options)

    def call(address: str, **options: Any) -> ConnectFailed:
        with pytest.raises(ConnectFailed) as caught:  # noqa: PT012 - either way is one statement
            if request.param == "blocking":
                connect_blocking(address, 1, **options)
            else:
                anyio.run(connecting, address, options, backend=anyio_backend)
        return caught.value

    return call


def test_no_pipe(failing_connect: Callable[..., ConnectFailed], address: str) -> None:
    error = failing_connect(address)
    assert str(error) == (
        f"No daemon listens at {address}, there is no such pipe: "
        "start the daemon, or set POPPO_SOCKET to the address of one that runs"
    )
    assert error.remedy == "start the daemon, or set POPPO_SOCKET to the address of one that runs"
    assert error.reason is ConnectFailed.Reason.ABSENT
    assert error.retryable


def test_a_stranger_gets_no_byte(failing_connect: Callable[..., ConnectFailed], address: str) -> None:
    """Not even one that he could read once we are gone."""
    place = Address.parse(address)
    server = PipeEnd(make_instance(place, first=True))
    error = failing_connect(address, trusted_uids={"S-1-5-21-1-2-3-1001"})
    assert f"The server at {address} is run by " in str(error)
    assert f"({own_sid()}), who is not trusted, so nothing was sent to it" in error.what
    assert error.reason is ConnectFailed.Reason.UNTRUSTED
    assert not error.retryable
    assert server.pull(10) == b""
    server.close()


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows does and wine does not: no first instance of a pipe that somebody holds an end of."""

    def create(path: str, *, first: bool, security: SecurityAttributes) -> int:
        if first:
            raise OSError(0, "Access is denied", path, ERROR_ACCESS_DENIED)
        return create_instance(path, first=first, security=security)

    monkeypatch.setattr(opening, "create_instance", create)


@pytest.mark.usefixtures("strict")
def test_a_client_of_a_dead_server_keeps_nobody_from_its_pipe(address: str) -> None:
    place = Address.parse(address)
    dead = PipeEnd(make_instance(place, first=False))
    left = open_end(place)
    assert left is not None
    dead.close()
    server = PipeEnd(make_instance(place, first=True))
    client = open_end(place)
    assert client is not None
    client.push(b"x")
    assert server.pull(10) == b"x"
    for end in (left, client, server):
        end.close()


@pytest.mark.usefixtures("strict")
def test_a_pipe_that_somebody_listens_at_is_in_use(address: str) -> None:
    place = Address.parse(address)
    server = PipeEnd(make_instance(place, first=False))
    with pytest.raises(AddressInUse):
        make_instance(place, first=True)
    server.close()


def test_a_server_that_ended_just_now_is_tried_again(
    failing_connect: Callable[..., ConnectFailed], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    monkeypatch.setattr(opening, "server_process", lambda _: 2**32 - 4)  # no process has this number
    error = failing_connect(address)
    assert error.reason is ConnectFailed.Reason.ABSENT
    assert error.retryable
    server.close()


@pytest.mark.parametrize("trusted", [None, "own"])
async def test_who_is_trusted(address: str, trusted: str | None) -> None:
    place = Address.parse(address)
    users = None if trusted is None else {own_sid()}
    for _ in range(2):
        server = PipeEnd(make_instance(place, first=False))
        async with await connect(address, trusted_uids=users) as stream:
            await stream.send(b"x")
            assert server.pull(10) == b"x"
        server.close()


async def test_a_busy_pipe_is_waited_for(address: str) -> None:
    place = Address.parse(address)
    server = PipeEnd(make_instance(place, first=True))
    taken = open_end(place)
    assert taken is not None
    connected = anyio.Event()

    async def connecting() -> None:
        async with await connect(place):
            connected.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(connecting)
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.1)
            assert not connected.is_set()
            second = PipeEnd(make_instance(place, first=False))
            await connected.wait()
    for end in (taken, server, second):
        end.close()


async def test_waiting_for_a_busy_pipe_ends_with_the_callers_deadline(address: str) -> None:
    place = Address.parse(address)
    server = PipeEnd(make_instance(place, first=True))
    taken = open_end(place)
    with anyio.move_on_after(0.05) as scope:
        await connect(place)
    assert scope.cancelled_caught
    for timeout in (0, 0.05):
        with pytest.raises(ConnectFailed, match="is there but took no connection in time: try again") as caught:
            connect_blocking(place, timeout)
        assert caught.value.reason is ConnectFailed.Reason.BUSY
        assert caught.value.retryable
    assert taken is not None
    for end in (taken, server):
        end.close()


def test_blocking_waits_for_a_busy_pipe(address: str) -> None:
    place = Address.parse(address)
    ends = [PipeEnd(make_instance(place, first=True)), open_end(place)]
    busy = threading.Event()

    def serve() -> None:
        busy.wait()
        ends.append(PipeEnd(make_instance(place, first=False)))

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(ConnectFailed):
        connect_blocking(place, 0)
    busy.set()
    connect_blocking(place, None).close()
    thread.join()
    for end in ends:
        assert end is not None
        end.close()


def test_the_case_of_a_name_does_not_count(address: str) -> None:
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    connect_blocking("\\\\.\\PIPE\\" + address.partition(":")[2].upper(), 1).close()
    server.close()


async def test_asyncio_has_no_listener(address: str, anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        await (await listen(address)).aclose()
    else:
        with pytest.raises(TransportUnsupported, match="run the server on Trio"):
            await listen(address)


def test_memory_needs_an_event_loop() -> None:
    with pytest.raises(TransportUnsupported, match="event loop"):
        connect_blocking("memory:x", 1)


def test_a_name_that_windows_refuses_is_told_before_it_is_used() -> None:
    with pytest.raises(AddressError, match="slash"):
        connect_blocking("npipe:a\\b", 1)
