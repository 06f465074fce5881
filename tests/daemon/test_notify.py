"""What a service manager hears, on a real datagram socket."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.daemon._notify import Notifier

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@pytest.fixture
def anyio_backend(clock: MockClock) -> Any:
    return "trio", {"clock": clock}


class Manager:
    def __init__(self, address: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address.replace("@", "\0", 1))
        self.sock.setblocking(False)
        self.address = address

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("only Linux has abstract sockets")
    with tempfile.TemporaryDirectory(prefix="n") as directory:
        name = f"@poppo-{os.getpid()}-{time.monotonic_ns()}" if request.param == "abstract" else f"{directory}/notify"
        manager = Manager(name)
        yield manager
        manager.sock.close()


def test_states(manager: Manager) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.address})
    assert notifier.enabled
    assert notifier.ready()
    assert notifier.ready("Serving 3 clients")
    assert notifier.status("two\nlines\n  of status=1 ü")
    assert notifier.stopping("Bye")
    assert manager.heard() == [
        "READY=1",
        "READY=1\nSTATUS=Serving 3 clients",
        "STATUS=two lines of status=1 ü",
        "STOPPING=1\nSTATUS=Bye",
    ]


def test_reloading_has_the_time_of_the_monotonic_clock(manager: Manager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert Notifier(manager.address).reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    (text,) = manager.heard()
    state, _, microseconds = text.partition("\nMONOTONIC_USEC=")
    assert state == "RELOADING=1"
    assert before <= int(microseconds) <= after


async def test_the_watchdog_is_fed_twice_in_its_time(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.from_environment(environ)
    assert notifier.watchdog_seconds == 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run_watchdog)
        await wait_all_tasks_blocked()
        assert manager.heard() == ["WATCHDOG=1"]
        await trio.sleep(1.4)
        assert manager.heard() == []
        await trio.sleep(0.2)
        assert manager.heard() == ["WATCHDOG=1"]
        await trio.sleep(6)
        assert manager.heard() == ["WATCHDOG=1"] * 4
        nursery.cancel_scope.cancel()


async def test_a_daemon_that_is_not_alive_feeds_no_watchdog(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    alive = False

    def is_alive() -> bool:
        if alive is None:
            raise RuntimeError
        return alive

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Notifier(manager.address, 2.0).run_watchdog, is_alive)
        await trio.sleep(5.5)
        assert manager.heard() == []
        alive = True
        await trio.sleep(1)
        assert manager.heard() == ["WATCHDOG=1"]
        alive = None  # type: ignore[assignment]
        await trio.sleep(1)
        assert manager.heard() == []
        nursery.cancel_scope.cancel()
    assert "not alive" in caplog.text


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": ""},
    ],
)
async def test_no_watchdog_for_us(manager: Manager, environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment({**environ, "NOTIFY_SOCKET": manager.address})
    assert notifier.watchdog_seconds is None
    await notifier.run_watchdog()
    assert manager.heard() == []


async def test_without_a_service_manager_nothing_happens() -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "3000000"})
    assert not notifier.enabled
    assert not any([notifier.ready(), notifier.reloading(), notifier.stopping(), notifier.status("x")])
    await notifier.run_watchdog()


def test_variables_are_deleted_where_asked() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "7", "HOME": "/h"}
    assert Notifier.from_environment(environ, pid=7).watchdog_seconds == 5e-6
    assert len(environ) == 4
    Notifier.from_environment(environ, unset=True)
    assert environ == {"HOME": "/h"}


@pytest.mark.parametrize(
    "address", ["/nowhere/notify", "@poppo-nobody-listens", "/" + "x" * 300, "@\0x", "/a\0b", "/\ud800"]
)
def test_a_manager_that_is_not_there_harms_nobody(address: str, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(address)
    assert not notifier.ready()
    assert not notifier.ready()
    assert len(caplog.records) == 1


def test_a_kind_of_address_that_is_not_known(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1234"})
    assert not notifier.enabled
    assert not notifier.ready()
    assert "vsock" in caplog.text


def test_a_manager_that_does_not_read_holds_up_nobody_for_long(tmp_path: Path, manager: Manager) -> None:
    notifier = Notifier(manager.address)
    began = time.monotonic()
    while notifier.ready():
        pass
    assert time.monotonic() - began < 5
    assert manager.heard()
    assert notifier.ready()
