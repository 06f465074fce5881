"""The name of a pipe belongs to one process at a time, whatever Windows or what stands in for it enforces."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from poppo_ipc.errors import AddressError, AddressInUse
from poppo_ipc.transport import Address, connect_blocking, listen
from poppo_ipc.transport._lock_holder import lock_holder
from poppo_ipc.transport._pipe_claim import PipeClaim, lock_path

from ._processes import line, running, tell

DAEMON = """
import sys, trio
from poppo_ipc.errors import AddressInUse
from poppo_ipc.transport import listen

async def main():
    print("ready", flush=True)
    await trio.to_thread.run_sync(sys.stdin.readline)
    try:
        listener = await listen(sys.argv[1])
    except AddressInUse as error:
        print("in use by", error.pid, flush=True)
    else:
        print("listening", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        await listener.aclose()
        print("closed", flush=True)
    sys.stdin.readline()

trio.run(main)
"""


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's local directory of the test's own."""
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    return tmp_path


def listening(address: str) -> None:
    async def main() -> None:
        await (await listen(address)).aclose()

    trio.run(main)


def test_a_second_daemon_is_told_whose_the_name_is(address: str) -> None:
    with running(DAEMON, address) as first:
        assert line(first) == "ready"
        tell(first)
        assert line(first) == "listening"
        for spelling in (address, address.upper().replace("NPIPE", "npipe")):
            with pytest.raises(AddressInUse, match=f"process {first.pid} has the pipe {address}") as caught:
                listening(spelling)
            assert caught.value.pid == first.pid
        assert lock_holder(lock_path(Address.parse(address))) == (True, first.pid)
        connect_blocking(address, 5).close()
        tell(first)
        assert line(first) == "closed"
        listening(address)
        assert lock_holder(lock_path(Address.parse(address))) == (False, None)


def test_a_killed_daemon_leaves_the_name_free(address: str) -> None:
    with running(DAEMON, address) as first:
        assert line(first) == "ready"
        tell(first)
        assert line(first) == "listening"
        first.kill()
        first.wait(10)
        listening(address)


def test_of_many_that_start_at_once_one_gets_it(address: str) -> None:
    with ExitStack() as stack:
        daemons = [stack.enter_context(running(DAEMON, address)) for _ in range(4)]
        for daemon in daemons:
            assert line(daemon) == "ready"
        for daemon in daemons:
            tell(daemon)
        said = {daemon.pid: line(daemon) for daemon in daemons}
        (winner,) = [pid for pid, text in said.items() if text == "listening"]
        assert {text for pid, text in said.items() if pid != winner} == {f"in use by {winner}"}


def test_within_one_process_too(address: str) -> None:
    claim = PipeClaim.take(Address.parse(address))
    with pytest.raises(AddressInUse) as caught:
        PipeClaim.take(Address.parse(address))
    assert caught.value.pid == os.getpid()
    claim.release()
    claim.release()
    PipeClaim.take(Address.parse(address)).release()


def test_the_file_of_a_live_claim_cannot_be_deleted(address: str) -> None:
    claim = PipeClaim.take(Address.parse(address))
    with pytest.raises(PermissionError):
        os.unlink(lock_path(Address.parse(address)))
    claim.release()


def test_where_there_can_be_no_file(address: str, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state / "file").touch()
    monkeypatch.setenv("LOCALAPPDATA", str(state / "file"))
    with pytest.raises(AddressError, match="set LOCALAPPDATA to a directory"):
        listening(address)


def test_without_the_variable_it_is_below_the_home_directory(
    address: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCALAPPDATA")
    monkeypatch.setenv("USERPROFILE", str(state))
    assert Path(lock_path(Address.parse(address))).is_relative_to(state / "AppData" / "Local")
    listening(address)
