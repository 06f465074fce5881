"""Who may use a pipe: what is asked for of Windows, and what can be read back of it."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import os
from typing import Any

import pytest
import trio

from poppo_ipc._win32 import pipes
from poppo_ipc._win32.calls import ERROR_ACCESS_DENIED, GENERIC_READ, GENERIC_WRITE, OPEN_EXISTING
from poppo_ipc._win32.security import account_name, descriptor_of, own_sid, owner_of, sid_of_process
from poppo_ipc.errors import AddressInUse, ConnectFailed
from poppo_ipc.transport import OWN_AND_ROOT, Address, PeerCredentials, connect, connect_blocking, listen
from poppo_ipc.transport import _pipe_open as opening
from poppo_ipc.transport._pipe_end import PipeEnd
from poppo_ipc.transport._pipe_open import client_credentials, make_instance

from ._processes import line, running

Recorded = list[tuple[Any, ...]]


def recording(monkeypatch: pytest.MonkeyPatch, name: str) -> Recorded:
    """The arguments of each call of a function that asks Windows, which is made all the same."""
    real = getattr(pipes, name)
    calls: Recorded = []

    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(pipes, name, call)
    return calls


def listening_and_connecting(address: str) -> None:
    async def main() -> None:
        async with await listen(address) as listener:
            client = await connect(address)
            stream = await listener.accept()
            await client.aclose()
            await stream.aclose()

    trio.run(main)


def test_the_server_asks_that_it_be_the_first_and_that_no_other_machine_gets_in(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That Windows acts on it is not to be seen where it is wine's."""
    calls = recording(monkeypatch, "_CreateNamedPipeW")
    listening_and_connecting(address)
    first, second = calls
    for path, mode, kind, instances, *_, security in (first, second):
        assert path == rf"\\.\pipe\{address.removeprefix('npipe:')}"
        assert mode & pipes.PIPE_ACCESS_DUPLEX == pipes.PIPE_ACCESS_DUPLEX
        assert mode & pipes.FILE_FLAG_OVERLAPPED
        assert kind == pipes.PIPE_REJECT_REMOTE_CLIENTS, "and in bytes, waiting"
        assert instances == pipes.PIPE_UNLIMITED_INSTANCES
        assert not security._obj.bInheritHandle
        assert security._obj.lpSecurityDescriptor
    assert first[1] & pipes.FILE_FLAG_FIRST_PIPE_INSTANCE
    assert not second[1] & pipes.FILE_FLAG_FIRST_PIPE_INSTANCE


@pytest.mark.parametrize("kind", ["trio", "asyncio", "blocking"])
def test_a_client_asks_that_the_server_may_learn_who_it_is_and_no_more(
    kind: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That Windows acts on it is not to be seen where it is wine's."""
    import anyio

    server = PipeEnd(make_instance(Address.parse(address), first=True))
    calls = recording(monkeypatch, "create_file")

    async def connecting() -> None:
        await (await connect(address)).aclose()

    if kind == "blocking":
        connect_blocking(address, 1).close()
    else:
        anyio.run(connecting, backend=kind)
    server.close()
    (call,) = calls
    _, access, sharing, _, disposition, flags = call
    assert access == GENERIC_READ | GENERIC_WRITE
    assert (sharing, disposition) == (0, OPEN_EXISTING)
    assert flags == pipes.FILE_FLAG_OVERLAPPED | pipes.SECURITY_SQOS_PRESENT | pipes.SECURITY_IDENTIFICATION


def test_the_descriptor_can_be_read_back(address: str) -> None:
    """Wine keeps it and does not act on it; that it keeps others out is Windows' part."""
    end = PipeEnd(make_instance(Address.parse(address), first=True))
    sid = own_sid()
    owner, _, access = descriptor_of(end.handle).partition("D:")
    assert owner == f"O:{sid}" or owner_of(end.handle) == sid
    assert access.startswith("P("), "it is protected"
    entries = [entry.split(";") for entry in access[2:-1].split(")(")]
    assert [(kind, who) for kind, _, _, _, _, who in entries] == [("D", "NU"), ("A", sid), ("A", "SY")]
    end.close()


def test_the_owner_is_seen_from_the_clients_end(address: str) -> None:
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    client = opening.open_end(Address.parse(address))
    assert client is not None
    assert owner_of(client.handle) == own_sid()
    client.close()
    server.close()


@pytest.mark.parametrize("feigned", ["owner_of", "sid_of_process"])
def test_both_the_owner_of_the_pipe_and_the_user_of_its_server_have_to_be_trusted(
    feigned: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    monkeypatch.setattr(opening, feigned, lambda _: "S-1-5-21-1-2-3-1001")
    with pytest.raises(ConnectFailed, match=r"run by S-1-5-21-1-2-3-1001, who is not trusted") as caught:
        connect_blocking(address, 1)
    assert not caught.value.retryable
    assert server.pull(10) == b""
    server.close()


def test_a_server_whose_user_cannot_be_told_is_not_trusted(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = PipeEnd(make_instance(Address.parse(address), first=True))

    def refuse(_: int) -> str:
        raise PermissionError(13, "no", None, 5)

    monkeypatch.setattr(opening, "sid_of_process", refuse)
    with pytest.raises(ConnectFailed, match="a user that the system does not tell"):
        connect_blocking(address, 1)
    server.close()


def test_another_users_pipe_is_in_use_without_a_pid(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Windows says to a second first instance; wine lets it be."""

    def create(*_: object, **__: object) -> int:
        raise PermissionError(13, "Access denied", None, ERROR_ACCESS_DENIED)

    monkeypatch.setattr(opening, "create_instance", create)
    with pytest.raises(AddressInUse, match="Another program has the pipe") as caught:
        trio.run(listen, address)
    assert caught.value.pid is None


def test_connecting_to_another_users_pipe(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Windows says to whom the descriptor keeps out; wine lets everybody in."""

    def refuse(_: str) -> int:
        raise PermissionError(13, "Access denied", None, ERROR_ACCESS_DENIED)

    monkeypatch.setattr(opening, "open_client", refuse)
    with pytest.raises(ConnectFailed, match="it belongs to another user") as caught:
        connect_blocking(address, 1)
    assert not caught.value.retryable


CLIENT = """
import sys
from poppo_ipc.transport import connect_blocking
pipe = connect_blocking(sys.argv[1], 5)
print(pipe.peer.pid, pipe.peer.sid, flush=True)
sys.stdin.readline()
"""


def test_a_client_of_another_process_is_known_by_that_processs_token(address: str) -> None:
    server = PipeEnd(make_instance(Address.parse(address), first=True))
    with running(CLIENT, address) as client:
        assert line(client) == f"{os.getpid()} {own_sid()}"
        assert client_credentials(server.handle) == PeerCredentials(pid=client.pid, sid=own_sid())
        assert sid_of_process(client.pid) == own_sid()
    server.close()


def test_own_and_root_are_our_sid_and_the_systems() -> None:
    assert set(OWN_AND_ROOT) == {own_sid(), "S-1-5-18"}
    assert len(OWN_AND_ROOT) == 2
    assert "S-1-5-21-1-2-3-1001" not in OWN_AND_ROOT
    assert 0 not in OWN_AND_ROOT


def test_names_of_users() -> None:
    name = account_name(own_sid())
    assert name is not None
    assert os.environ["USERNAME"] in name
    assert account_name("S-1-5-21-1-2-3-1001") is None
    assert account_name("nonsense") is None


def test_a_process_that_there_is_not_has_no_user() -> None:
    with pytest.raises(OSError, match="WinError 87"):
        sid_of_process(2**31 - 4)
