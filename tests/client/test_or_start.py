"""Clients that bring their daemon along: it is started once, only where nobody listens, and told of where it fails."""

# ruff: noqa: ASYNC240 - small files of the test's own

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest
from sockets import listening

from poppo_ipc import (
    Address,
    AuthenticationError,
    ConnectFailed,
    DaemonStartFailed,
    PoppoError,
    SyncClient,
    TransportUnsupported,
    connect_or_start,
    sync_connect_or_start,
)
from poppo_ipc.client._beside import beside, root_directory
from poppo_ipc.client._launch import Child, command_of, spawn
from poppo_ipc.client._output import LogFile
from poppo_ipc.client._starter import Starter, run_blocking

from . import own_daemon

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
DAEMON = [sys.executable, str(Path(own_daemon.__file__))]
Left = Callable[[], list[int]]
Gate = Callable[[], socket.socket]
Starts = Callable[[], list[int]]
NOT_FOUND = r"^/nowhere/x cannot be started: " + ("" if sys.platform == "win32" else "No such file or directory$")
CLI = """
import sys
from poppo_ipc import sync_connect_or_start
with sync_connect_or_start(sys.argv[1], command=[sys.executable, sys.argv[2]]) as client:
    print("pid", client.call("pid"), flush=True)
"""


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """With real clocks, since the daemons are real."""
    return str(request.param)


@pytest.fixture
def path(short_dir: Path) -> str:
    """The path of a socket that nobody has made."""
    return str(short_dir / "s")


@pytest.fixture
def starts(tmp_path: Path, no_leftovers: Left, monkeypatch: pytest.MonkeyPatch) -> Starts:
    """The processes that were started, in order."""
    file = tmp_path / "starts"
    monkeypatch.setenv("TEST_STARTS", str(file))
    monkeypatch.delenv("TEST_DAEMON", raising=False)
    return lambda: [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture
def gate(starts: Starts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Waits until a daemon is about to listen, and holds it there for as long as what it gives is open."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(PATIENCE)
        monkeypatch.setenv("TEST_DAEMON", "hangs")
        monkeypatch.setenv("TEST_GATE", str(door.getsockname()[1]))
        yield lambda: door.accept()[0]


@asynccontextmanager
async def opened(how: str, *args: Any, **options: Any) -> Any:
    """A client by either way, as a function that calls."""
    if how == "async":
        async with connect_or_start(*args, **options) as client:
            yield client.call
    else:
        with await anyio.to_thread.run_sync(lambda: sync_connect_or_start(*args, **options)) as blocking:

            async def call(command: str) -> Any:
                return blocking.call(command)

            yield call


@pytest.fixture(params=["async", "sync"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_it_is_started_once_and_outlives_the_client(address: str, how: str, starts: Starts) -> None:
    for _ in range(2):
        async with opened(how, address, command=DAEMON) as call:
            assert [await call("pid")] == starts()
    process = psutil.Process(starts()[0])
    assert process.cwd() == root_directory()
    if sys.platform != "win32":
        assert os.getsid(process.pid) == process.pid


async def test_its_own_last_words_are_told(
    address: str, how: str, starts: Starts, no_leftovers: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DAEMON", "fails")
    with pytest.raises(DaemonStartFailed) as failed:
        async with opened(how, address, command=DAEMON):
            pass
    assert str(failed.value) == "The daemon ended before it was ready (exited with code 1): the disk is made of cheese"
    assert (failed.value.exit_code, failed.value.retryable) == (1, False)
    assert failed.value.output == "a line before\nthe disk is made of cheese\n"
    assert Path(beside(Address.parse(address), ".log")).read_text() == failed.value.output
    assert len(starts()) == 1
    assert no_leftovers() == []


async def test_one_that_cannot_be_run_is_told(address: str, how: str) -> None:
    with pytest.raises(DaemonStartFailed, match=NOT_FOUND):
        async with opened(how, address, command=["/nowhere/x"]):
            pass


async def test_one_that_is_not_ready_in_time_is_ended(
    address: str, how: str, gate: Gate, starts: Starts, no_leftovers: Left
) -> None:
    with pytest.raises(DaemonStartFailed, match=r"^The daemon was not ready within 0\.3 s, and was ended$"):
        async with opened(how, address, command=DAEMON, start_timeout=0.3):
            pass
    assert no_leftovers() == []


async def test_cancellation_ends_what_was_started(address: str, gate: Gate, starts: Starts, no_leftovers: Left) -> None:
    async with anyio.create_task_group() as tasks:

        async def cancel() -> None:
            with await anyio.to_thread.run_sync(gate):
                tasks.cancel_scope.cancel()

        tasks.start_soon(cancel)
        async with connect_or_start(address, command=DAEMON):
            pass
    assert len(starts()) == 1
    assert no_leftovers() == []


def test_ctrl_c_at_the_moment_of_the_start_ends_what_was_started(address: str, gate: Gate, no_leftovers: Left) -> None:
    def begin() -> Child:
        child = spawn(DAEMON, LogFile(beside(Address.parse(address), ".log")), cwd=root_directory())
        signal.raise_signal(signal.SIGINT)
        return child

    with pytest.raises(KeyboardInterrupt):
        run_blocking(Starter(Address.parse(address), begin, PATIENCE))
    assert no_leftovers() == []


def test_a_log_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("of the day before\n")
    child = spawn([sys.executable, "-c", "print('no space left')"], LogFile(path))
    assert child.ending == "exited with code 0"
    assert child.output.text() == "no space left\n"
    child.kill()
    assert path.read_text() == "of the day before\nno space left\n"


def test_what_a_program_left_behind_is_ended_with_it(tmp_path: Path) -> None:
    leaves = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    )
    child = spawn([sys.executable, "-c", leaves], LogFile(tmp_path / "log"))
    assert child.ending == "exited with code 0"
    left = psutil.Process(int(child.output.text()))
    child.kill()
    left.wait(PATIENCE)


async def test_a_socket_that_was_left_behind_is_no_daemon(path: str, how: str, starts: Starts) -> None:
    if sys.platform != "win32":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
            dead.bind(path)
    async with opened(how, path, command=DAEMON) as call:
        assert [await call("pid")] == starts()


async def test_one_that_was_killed_is_started_again(address: str, how: str, starts: Starts) -> None:
    async with opened(how, address, command=DAEMON) as call:
        first = await call("pid")
    psutil.Process(first).kill()
    async with opened(how, address, command=DAEMON) as call:
        assert [first, await call("pid")] == starts()


async def test_a_daemon_that_refuses_is_left_alone(
    address: str, how: str, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POPPO_TOKEN", "a" * 40)
    async with opened(how, address, command=DAEMON) as call:
        await call("pid")
    monkeypatch.setenv("POPPO_TOKEN", "b" * 40)
    with pytest.raises(AuthenticationError):
        async with opened(how, address, command=DAEMON):
            pass
    monkeypatch.delenv("POPPO_TOKEN")
    monkeypatch.setenv("POPPO_TOKEN_FILE", "/nowhere/token")
    with pytest.raises(AuthenticationError, match="/nowhere/token"):
        async with opened(how, address, command=DAEMON):
            pass
    assert len(starts()) == 1


async def test_what_speaks_another_protocol_is_left_alone(address: str, how: str, starts: Starts) -> None:
    other = await anyio.to_thread.run_sync(listening, address)

    def answer() -> None:
        with contextlib.closing(other), contextlib.closing(other.accept()[0]) as client:
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.recv(65536)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, answer)
        with pytest.raises(PoppoError) as refused:
            async with opened(how, address, command=DAEMON, handshake_seconds=PATIENCE):
                pass
    assert not isinstance(refused.value, DaemonStartFailed)
    assert starts() == []


async def test_a_file_in_its_place_is_left_alone(path: str, how: str, starts: Starts) -> None:
    Path(path).write_text("mine")
    with pytest.raises(ConnectFailed, match="is not a socket"):
        async with opened(how, path, command=DAEMON):
            pass
    assert (starts(), Path(path).read_text()) == ([], "mine")


def test_of_many_programs_at_once_one_starts_it(address: str, starts: Starts) -> None:
    command = [sys.executable, "-c", CLI, address, DAEMON[1]]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(10)]
    said = [program.communicate(timeout=PATIENCE) for program in programs]
    assert len(starts()) == 1
    assert said == [(f"pid {starts()[0]}\n", "")] * 10


def test_the_end_of_a_starter_leaves_the_lock_free(address: str, gate: Gate, starts: Starts) -> None:
    command = [sys.executable, "-c", CLI, address, DAEMON[1]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as program, gate():
        program.kill()
        program.wait()
    # Both daemons go on now; the socket's own lock lets one of them have it.
    second = subprocess.run(command, capture_output=True, timeout=PATIENCE, env={**os.environ, "TEST_DAEMON": ""})
    assert second.returncode == 0, second.stderr
    assert int(second.stdout.split()[1]) in starts()


def test_the_end_of_the_terminal_leaves_the_daemon_alive(path: str, starts: Starts) -> None:
    import pexpect

    terminal = pexpect.spawn("/bin/sh", timeout=PATIENCE, encoding="utf-8")
    Path(path).with_name("cli.py").write_text(CLI)
    terminal.sendline(f"{sys.executable} {Path(path).with_name('cli.py')} {path} {DAEMON[1]}")
    terminal.expect(r"pid (\d+)\r\n")
    terminal.sendintr()
    terminal.close(force=True)
    with SyncClient(path) as client:
        assert [client.call("pid")] == starts()


def test_a_function_or_a_module_is_run_with_what_this_program_can_import(
    address: str, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sync_connect_or_start(address, command=own_daemon.main) as client:
        assert [client.call("pid")] == starts()
    assert command_of(own_daemon) == [sys.executable, "-m", own_daemon.__name__]


@pytest.mark.parametrize("command", [lambda: None, type("Local", (), {"__module__": "__main__"})])
def test_what_no_other_process_can_import_is_refused(command: Any) -> None:
    with pytest.raises(ValueError, match="No other process can import"):
        command_of(command)


def test_misuse_is_told(address: str) -> None:
    with pytest.raises(TypeError, match="sequence of arguments"):
        sync_connect_or_start(address, command="myapp")
    with pytest.raises(TransportUnsupported):
        sync_connect_or_start("memory:x", command=DAEMON)
