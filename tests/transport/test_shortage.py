"""Accepting outlives shortages of files and memory, and clients that leave."""

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

from poppo_ipc.transport import (
    Address,
    Listener,
    Stream,
    accept_retrying,
    connect,
    connect_blocking,
    listen,
    memory_pair,
)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


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
