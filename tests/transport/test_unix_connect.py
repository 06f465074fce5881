"""Connecting to Unix sockets: each way it can fail says what is wrong and what to do; a busy listener is waited for."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import pickle
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from poppo_ipc.errors import AddressError, ConnectFailed, PoppoError
from poppo_ipc.transport import Address, connect, connect_blocking, listen
from poppo_ipc.transport._borders import connect_failed

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["async", "blocking"])
def failing_connect(request: pytest.FixtureRequest, anyio_backend: str) -> Callable[..., ConnectFailed]:
    """Connects in one of the two ways and returns the error."""

    async def connecting(address: Path) -> None:
        await connect(address)

    def call(address: Path) -> ConnectFailed:
        with pytest.raises(ConnectFailed) as caught:  # noqa: PT012 - either way is one statement
            if request.param == "blocking":
                connect_blocking(address, 1)
            else:
                anyio.run(connecting, address, backend=anyio_backend)
        return caught.value

    return call


def unaccepting(path: Path, backlog: int = 8) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.fspath(path))
    sock.listen(backlog)
    return sock


def fill(path: Path) -> list[socket.socket]:
    """Connections that leave no room in the queue of the listener at `path`."""
    full: list[socket.socket] = []
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(os.fspath(path))
        except BlockingIOError:
            sock.close()
            return full
        full.append(sock)


def test_no_socket(failing_connect: Callable[..., ConnectFailed], short_dir: Path) -> None:
    error = failing_connect(short_dir / "s")
    assert str(error) == (
        f"No daemon listens at unix:{short_dir}/s, there is no such socket: "
        "start the daemon, or set POPPO_SOCKET to the address of one that runs"
    )
    assert error.what == f"No daemon listens at unix:{short_dir}/s, there is no such socket"
    assert error.remedy == "start the daemon, or set POPPO_SOCKET to the address of one that runs"
    assert error.reason is ConnectFailed.Reason.ABSENT
    assert error.retryable


def test_a_socket_left_behind(failing_connect: Callable[..., ConnectFailed], short_dir: Path) -> None:
    unaccepting(short_dir / "s").close()
    error = failing_connect(short_dir / "s")
    assert "left behind: start the daemon, or set POPPO_SOCKET" in str(error)
    assert error.reason is ConnectFailed.Reason.ABSENT
    assert error.retryable


def test_not_a_socket(failing_connect: Callable[..., ConnectFailed], short_dir: Path) -> None:
    (short_dir / "s").touch()
    for path in (short_dir / "s", short_dir / "s" / "below", short_dir):
        error = failing_connect(path)
        assert "not" in str(error)
        assert "socket" in str(error)
        assert error.remedy == "set POPPO_SOCKET to one"
        assert error.reason is ConnectFailed.Reason.NOT_A_DAEMON
        assert not error.retryable


def test_a_socket_of_another_type(failing_connect: Callable[..., ConnectFailed], short_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{short_dir}/s")
        assert not failing_connect(short_dir / "s").retryable


def test_too_long_a_path(short_dir: Path) -> None:
    with pytest.raises(AddressError, match="POPPO_SOCKET"):
        connect_blocking(short_dir / ("x" * 100), 1)


def test_no_permission_names_the_owner(short_dir: Path) -> None:
    """As another user if we are root, whom nothing stops; else in a directory that we shut to ourselves."""
    private = short_dir / "private"
    private.mkdir(mode=0o700)
    with unaccepting(private / "s"):
        os.chmod(short_dir, 0o755)
        if os.geteuid() == 0:
            error = as_nobody(lambda: connect_blocking(private / "s", 1))
        else:
            os.chmod(private, 0)
            with pytest.raises(ConnectFailed) as caught:
                connect_blocking(private / "s", 1)
            error = caught.value
            os.chmod(private, 0o700)
    assert isinstance(error, ConnectFailed)
    assert not error.retryable
    assert error.what == f"No permission to connect to unix:{private}/s"
    assert error.reason is ConnectFailed.Reason.DENIED
    assert f"{private} belongs to" in error.remedy
    assert str(error) == f"{error.what}: {error.remedy}"
    assert f"uid {os.geteuid()}" in str(error)


def as_nobody(call: Callable[[], object]) -> object:
    """Run `call` in a forked child without root's rights and return the error it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            call()
        except PoppoError as exc:
            os.write(writing, pickle.dumps(exc))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        sent = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(sent)


async def test_an_untrusted_server_gets_no_byte(short_dir: Path) -> None:
    listener = await listen(f"unix:{short_dir}/s")
    strangers = {os.geteuid() + 1}

    async def blocking() -> None:
        connect_blocking(listener.address, 1, trusted_uids=strangers)

    for call in (lambda: connect(listener.address, trusted_uids=strangers), blocking):
        with pytest.raises(ConnectFailed, match="not trusted") as caught:
            await call()
        assert caught.value.reason is ConnectFailed.Reason.UNTRUSTED
        assert not caught.value.retryable
        stream = await listener.accept()
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        await stream.aclose()
    await listener.aclose()


async def test_anyone_is_trusted_if_asked_for(short_dir: Path) -> None:
    async with await listen(f"unix:{short_dir}/s") as listener:
        await (await connect(listener.address, trusted_uids=None)).aclose()
        connect_blocking(listener.address, 1, trusted_uids=None).close()


async def test_a_full_queue_is_waited_for(short_dir: Path) -> None:
    with unaccepting(short_dir / "s", 0) as server:
        waiting = fill(short_dir / "s")
        connected = anyio.Event()

        async def connecting() -> None:
            stream = await connect(short_dir / "s")
            connected.set()
            await stream.aclose()

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tg:
                tg.start_soon(connecting)
                await anyio.wait_all_tasks_blocked()
                assert not connected.is_set()
                server.accept()[0].close()
                await connected.wait()
        for sock in waiting:
            sock.close()


async def test_waiting_for_a_full_queue_can_be_cancelled(short_dir: Path) -> None:
    with unaccepting(short_dir / "s", 0):
        waiting = fill(short_dir / "s")
        files = len(os.listdir("/proc/self/fd"))
        async with anyio.create_task_group() as tg:
            tg.start_soon(connect, short_dir / "s")
            await anyio.wait_all_tasks_blocked()
            tg.cancel_scope.cancel()
        assert len(os.listdir("/proc/self/fd")) == files
        for sock in waiting:
            sock.close()


def test_blocking_waits_for_a_full_queue_for_its_time(short_dir: Path) -> None:
    with unaccepting(short_dir / "s", 0) as server:
        waiting = fill(short_dir / "s")
        for timeout in (0, 0.01):
            with pytest.raises(ConnectFailed, match=r"in time: try again$") as caught:
                connect_blocking(short_dir / "s", timeout)
            assert caught.value.reason is ConnectFailed.Reason.BUSY
            assert caught.value.retryable
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        connect_blocking(short_dir / "s", None).close()
        thread.join()
        for sock in waiting:
            sock.close()


async def test_a_blocking_socket_is_plain(short_dir: Path) -> None:
    async with await listen(f"unix:{short_dir}/s") as listener:
        sock = connect_blocking(f"unix:{short_dir}/s", 1)
        assert isinstance(sock, socket.socket)
        with sock:
            assert sock.gettimeout() is None
            assert not sock.get_inheritable()
            stream = await listener.accept()
            sock.sendall(b"hello")
            assert await stream.receive() == b"hello"
            await stream.send(b"there")
            assert sock.recv(10) == b"there"
            await stream.aclose()


def test_a_shortage_passes_and_a_missing_protocol_does_not() -> None:
    address = Address.parse("/x")
    assert connect_failed(address, OSError(24, "too many")).retryable
    assert not connect_failed(address, OSError(97, "no such family")).retryable
