"""Listening: accept loses nobody, outlives shortages, ends cleanly; sockets that a service manager handed over."""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.abc
import pytest
import trio.testing
from anyio import BusyResourceError, ClosedResourceError, EndOfStream

from poppo_ipc.errors import AddressError, AddressInUse
from poppo_ipc.transport import (
    Address,
    Listener,
    Stream,
    accept_retrying,
    activated_sockets,
    connect,
    connect_blocking,
    listen,
    listen_on,
    memory_pair,
)
from poppo_ipc.transport import _activation as activation

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


@pytest.fixture(params=["unix", "memory", "activated"])
def address(request: pytest.FixtureRequest, short_dir: Path) -> str:
    return "memory:s" if request.param == "memory" else f"{request.param}:{short_dir}/s"


async def start(address: str) -> Listener:
    kind, _, path = address.partition(":")
    return listen_on(bound(Path(path))) if kind == "activated" else await listen(address)


def bound(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.fspath(path))
    sock.listen(8)
    return sock


async def echo(stream: Stream) -> None:
    async with stream:
        async for chunk in stream:
            await stream.send(chunk)


async def check_served(address: Address) -> None:
    async with await connect(address) as stream:
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"


async def test_serve(address: str) -> None:
    listener = await start(address)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(listener.serve, echo)
            for _ in range(3):
                await check_served(listener.address)
            tg.cancel_scope.cancel()
    await listener.aclose()


async def test_serve_in_a_group_of_the_callers(address: str) -> None:
    listener = await start(address)
    async with anyio.create_task_group() as handlers:
        with anyio.CancelScope() as accepting:

            async def handler(stream: Stream) -> None:
                accepting.cancel()
                await echo(stream)

            client = await connect(listener.address)
            await listener.serve(handler, handlers)
        await listener.aclose()
        await client.send(b"still served")
        assert await client.receive() == b"still served"
        await client.aclose()


async def test_closing_wakes_accept_and_frees_the_address(address: str) -> None:
    listener = await start(address)

    async def closed() -> None:
        with pytest.raises(ClosedResourceError):
            await listener.accept()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(closed)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(BusyResourceError):
                await listener.accept()
            await listener.aclose()
    await listener.aclose()
    assert not listener.still_bound()
    with pytest.raises(ClosedResourceError):
        await listener.accept()
    with pytest.RaisesGroup(ClosedResourceError):
        await listener.serve(echo)
    with pytest.raises(ClosedResourceError):
        listener.heal()
    if not address.startswith("activated"):
        await (await listen(address)).aclose()


async def test_a_cancelled_close_closes(address: str) -> None:
    listener = await start(address)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await listener.aclose()
    with pytest.raises(ClosedResourceError):
        await listener.accept()


async def test_a_cancelled_accept_loses_no_client(address: str) -> None:
    listener = await start(address)
    clients = [await connect(listener.address) for _ in range(5)]
    accepted: list[Stream] = []
    turn = 0
    while len(accepted) < len(clients):
        turn += 1
        async with anyio.create_task_group() as tg:
            with anyio.CancelScope() as scope:
                if turn % 3 == 1:
                    scope.cancel()
                elif turn % 3 == 2:
                    tg.start_soon(_cancel, scope)  # before or after accept's own step, as the scheduler likes
                accepted.append(await listener.accept())
            assert scope.cancelled_caught or turn % 3 != 1
    for index, client in enumerate(clients):
        await client.send(b"%d" % index)
        assert await accepted[index].receive() == b"%d" % index
    for stream in (*clients, *accepted):
        await stream.aclose()
    await listener.aclose()


async def _cancel(scope: anyio.CancelScope) -> None:
    scope.cancel()


async def test_two_listeners_on_one_name() -> None:
    async with await listen("memory:x") as first:
        with pytest.raises(AddressInUse) as caught:
            await listen("memory:x")
        assert caught.value.pid == os.getpid()
        assert first.still_bound()
        assert not first.heal()


async def test_two_listeners_on_one_path(short_dir: Path) -> None:
    async with await listen(short_dir / "s") as first:
        with pytest.raises(AddressInUse) as caught:
            await listen(short_dir / "s")
        assert caught.value.pid == os.getpid()
        assert first.still_bound()


async def test_a_healed_listener_serves_old_and_new_clients(short_dir: Path) -> None:
    """Also while a task waits in accept, whose socket is swapped under it."""
    listener = await listen(short_dir / "s")
    waiting = await connect(listener.address)
    assert not listener.heal()
    os.unlink(short_dir / "s")
    assert not listener.still_bound()
    assert listener.heal()
    assert listener.still_bound()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(listener.serve, echo)
            await waiting.send(b"x")
            assert await waiting.receive() == b"x"
            await check_served(listener.address)
            await anyio.wait_all_tasks_blocked()
            os.unlink(short_dir / "s")
            assert listener.heal()
            await check_served(listener.address)
            tg.cancel_scope.cancel()
    await waiting.aclose()
    await listener.aclose()
    assert os.listdir(short_dir) == ["s.lock"]


async def test_clients_that_wait_at_the_end_are_cut_off(short_dir: Path) -> None:
    listener = await listen(short_dir / "s")
    first = await connect(listener.address)
    os.unlink(short_dir / "s")
    listener.heal()
    second = await connect(listener.address)
    await listener.aclose()
    with anyio.fail_after(5):
        for client in (first, second):
            with pytest.raises((EndOfStream, anyio.BrokenResourceError)):
                await client.receive()
            await client.aclose()


# -- shortages ---------------------------------------------------------------------------------------------------


class FakeListener(Listener):
    """Raises what it is told to, then gives streams."""

    address = Address.parse("memory:fake")

    def __init__(self, errors: Sequence[int]) -> None:
        self.errors = list(errors)

    async def accept(self) -> Stream:
        await anyio.lowlevel.checkpoint()
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, os.strerror(code))
        return memory_pair()[0]

    def still_bound(self) -> bool:
        return True

    def heal(self) -> bool:
        return False

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})])
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_a_shortage_is_waited_out_and_logged_once(code: int, caplog: pytest.LogCaptureFixture) -> None:
    started = anyio.current_time()
    with caplog.at_level(logging.DEBUG):
        await accept_retrying(FakeListener([code] * 10))
    assert anyio.current_time() - started == pytest.approx(1.0)
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert "memory:fake" in caplog.text


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": trio.testing.MockClock()})])
async def test_a_client_that_left_costs_no_time() -> None:
    """The clock stands still, so any wait would hang."""
    with trio.fail_after(0.001):
        await accept_retrying(FakeListener([errno.ECONNABORTED] * 10))


async def test_another_error_is_raised() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        await accept_retrying(FakeListener([errno.EINVAL]))


SHORT_OF_FILES = """
import logging, os, resource, sys
import anyio
from poppo_ipc.transport import connect, listen

shortage = None

class Handler(logging.Handler):
    def emit(self, record):
        if record.levelno == logging.ERROR:
            shortage.set()

async def handle(stream):
    async with stream:
        # Nobody gives a file back until there is none left.
        await shortage.wait()
        await stream.send(await stream.receive(1))

async def main():
    global shortage
    shortage = anyio.Event()
    logging.getLogger("poppo_ipc.transport").addHandler(Handler())
    listener = await listen(sys.argv[1])
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 5, used + 5))
    print("ready", flush=True)
    async with anyio.create_task_group() as tg:
        tg.start_soon(listener.serve, handle)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        tg.cancel_scope.cancel()
    await listener.aclose()
    print("fine", flush=True)

anyio.run(main, backend=sys.argv[2])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_server_outlives_a_lack_of_file_descriptors(short_dir: Path, anyio_backend: str) -> None:
    command = [sys.executable, "-c", SHORT_OF_FILES, f"{short_dir}/s", anyio_backend]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as server:  # type: ignore[call-overload]
        assert server.stdout.readline() == "ready\n"
        clients = [connect_blocking(short_dir / "s", 5) for _ in range(20)]
        for client in clients:
            client.settimeout(20)
            client.sendall(b"x")
        for client in clients:
            assert client.recv(1) == b"x"
            client.close()
        output, _ = server.communicate("end\n", timeout=20)
        assert output == "fine\n"
        assert server.returncode == 0


async def test_accept_itself_raises_the_shortage(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await listen(short_dir / "s")
    client = await connect(listener.address)
    real = socket.socket.accept

    def accept(sock: socket.socket) -> tuple[socket.socket, object]:
        monkeypatch.setattr(socket.socket, "accept", real)
        raise OSError(errno.EMFILE, "no")

    monkeypatch.setattr(socket.socket, "accept", accept)
    with pytest.raises(OSError, match="no"):
        await listener.accept()
    await (await listener.accept()).aclose()
    await client.aclose()
    await listener.aclose()


# -- socket activation -------------------------------------------------------------------------------------------


async def test_an_activated_sockets_path_is_not_deleted(short_dir: Path) -> None:
    path = short_dir / "s"
    listener = listen_on(bound(path))
    assert listener.address == Address.parse(path)
    assert listener.still_bound()
    os.utime(path, (1, 1))
    assert not listener.heal()
    assert path.stat().st_mtime > 1
    await listener.aclose()
    assert path.exists()


async def test_an_activated_socket_whose_path_is_gone_cannot_be_healed(short_dir: Path) -> None:
    path = short_dir / "s"
    async with listen_on(bound(path)) as listener:
        path.unlink()
        assert not listener.still_bound()
        with pytest.raises(AddressError, match="service manager"):
            listener.heal()
        with bound(path):
            assert not listener.still_bound()


def test_what_cannot_be_listened_on(short_dir: Path) -> None:
    def refused(sock: socket.socket, why: str) -> None:
        with sock, pytest.raises(AddressError, match=why):
            listen_on(sock)

    refused(socket.socket(), "Not a Unix stream")
    refused(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), "Not a Unix stream")
    refused(socket.socket(socket.AF_UNIX), "does not listen")
    if sys.platform == "linux":
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(f"\0{short_dir}")
        abstract.listen()
        refused(abstract, "no path")


ACTIVATED = """
import os, sys
from poppo_ipc.errors import AddressError
from poppo_ipc.transport import activated_sockets
environ = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="one:two")
if sys.argv[2:] == ["broken"]:
    os.dup2(os.open("/dev/null", os.O_RDONLY), 4)
    try:
        activated_sockets(environ)
    except AddressError:
        os.fstat(3)
        os.fstat(4)
        print("refused")
    sys.exit()
assert os.get_inheritable(3)
for sock in activated_sockets(dict(environ, LISTEN_PID="1")):
    raise AssertionError("meant for another")
(two,) = activated_sockets(environ, name="two")
assert two.fileno() == 4
two.detach()
one, two = activated_sockets(environ, unset=True)
assert (one.fileno(), two.fileno()) == (3, 4)
assert not one.get_inheritable() and not two.get_inheritable()
assert one.getsockname() == sys.argv[1]
assert not [name for name in environ if name.startswith("LISTEN_")]
print("fine")
"""


@pytest.mark.parametrize("broken", [False, True])
def test_sockets_of_a_service_manager(short_dir: Path, broken: bool) -> None:
    """In a process of its own, as the descriptors have to be 3 and 4."""
    path = f"{short_dir}/s"
    program = f"""
import os, socket, sys
one, two = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
one.bind({path!r})
one.listen()
# High numbers first, so that neither copy overwrites the other's source.
high = [os.dup(fd) for fd in (one.fileno(), two.fileno())]
high = [__import__("fcntl").fcntl(fd, 0, 20) for fd in high]
for fd, target in zip(high, (3, 4)):
    os.dup2(fd, target)
os.execv(sys.executable, [sys.executable, "-c", {ACTIVATED!r}, {path!r}, *{["broken"] if broken else []!r}])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, timeout=30)
    assert (done.stdout, done.stderr) == ("refused\n" if broken else "fine\n", "")


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "7"}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "8", "LISTEN_FDS": "1"}]
)
def test_no_service_manager(environ: dict[str, str]) -> None:
    assert activated_sockets(environ, 7) == []


def test_variables_that_make_no_sense() -> None:
    with pytest.raises(AddressError, match="no number"):
        activated_sockets({"LISTEN_PID": "7", "LISTEN_FDS": "x"}, 7)


def test_the_variables_are_this_processs_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "_FIRST_FD", 1000)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    with pytest.raises(AddressError, match="1000"):
        activated_sockets()
