"""From connecting to the first session, and why there may be none."""

from __future__ import annotations

import itertools
import os
from typing import Any

import anyio
import pytest

from poppo_ipc.client import Backoff, ClientState, _client, connect
from poppo_ipc.errors import (
    AuthenticationError,
    Busy,
    CommandError,
    ConnectFailed,
    ConnectionLost,
    ProtocolError,
    ShuttingDown,
    VersionMismatch,
)
from poppo_ipc.protocol import ALL_CAPABILITIES, Auth, Pong
from poppo_ipc.transport import connect as connect_stream
from poppo_ipc.transport._memory import MemoryStream

from .peer import Original, Peer, serving

pytestmark = pytest.mark.anyio
QUICK = Backoff(start=0.001, cap=0.001)


async def test_with_challenge_the_token_does_not_cross_the_wire() -> None:
    async def script(peer: Peer) -> None:
        auth = await peer.settle(token="sekrit")
        assert not auth.token
        assert auth.client["pid"] == os.getpid()
        assert await peer.until_closed() == []

    async with (
        serving(script, auth_required=True) as address,
        connect(address, token="sekrit") as client,
    ):
        assert "challenge" in client.capabilities


async def test_without_challenge_the_token_is_sent() -> None:
    async def script(peer: Peer) -> None:
        auth = await peer.settle()
        assert auth.token == "sekrit"
        assert await peer.until_closed() == []

    capabilities = tuple(each for each in ALL_CAPABILITIES if each != "challenge")
    async with (
        serving(script, auth_required=True, capabilities=capabilities) as address,
        connect(address, token="sekrit") as client,
    ):
        assert client.state is ClientState.CONNECTED


async def test_the_token_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle(token="from-env")
        await peer.until_closed()

    monkeypatch.setenv("POPPO_TOKEN", "from-env")
    async with serving(script, auth_required=True) as address, connect(address) as client:
        assert client.session_id == "s1"


@pytest.mark.parametrize("token", [None, "sekrit"])
async def test_an_original_is_spoken_to_in_its_own_words(token: str | None) -> None:
    async def script(peer: Original) -> None:
        await peer.welcome(token)
        command = await peer.recv()
        assert command["command"] == "daemon.status"
        assert command["args"] == {}
        await peer.send(type="response", id=command["id"], success=True, result={"status": "running"})
        command = await peer.recv()
        await peer.send(type="response", id=command["id"], success=False, error="no such thing")
        command = await peer.recv()
        error = {"message": "Project ID required", "code": "UNKNOWN_ERROR"}
        await peer.send(type="error", id=command["id"], error=error)
        await peer.until_closed()

    async with serving(script, kind=Original) as address, connect(address, token=token) as client:
        assert client.capabilities == frozenset()
        assert await client.call("daemon.status", timeout=7, idempotency_key="k") == {"status": "running"}
        with pytest.raises(CommandError, match="no such thing") as caught:
            await client.call("x")
        assert caught.value.code == "UNKNOWN_ERROR"
        with pytest.raises(CommandError, match="Project ID required"):
            await client.call("project.status")


async def refused(address: str, error: type[Exception], **options: Any) -> Any:
    """Connecting fails with `error`, bare."""
    options.setdefault("token", "wrong")
    with pytest.raises(error) as caught:
        async with connect(address, initial=QUICK, **options):
            pytest.fail("connected")
    return caught.value


async def test_a_wrong_token_is_final() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle(token="sekrit")
        assert await peer.until_closed() == []

    async with serving(script, auth_required=True) as address:
        error = await refused(address, AuthenticationError)
        assert "wrong" not in str(error)


async def test_a_wrong_token_at_an_original_is_final() -> None:
    async def script(peer: Original) -> None:
        await peer.welcome("sekrit")
        await peer.until_closed()

    async with serving(script, kind=Original) as address:
        await refused(address, AuthenticationError)


async def test_no_token_where_one_is_needed() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(peer.connection.welcome())
        assert await peer.until_closed() == []

    async with serving(script, auth_required=True) as address:
        error = await refused(address, AuthenticationError, token=None)
        assert "POPPO_TOKEN" in str(error)


@pytest.mark.parametrize("proof", [None, "AAAA", "reflected"])
async def test_an_impostor_is_found_out(proof: str | None) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(peer.connection.welcome())
        auth = await peer.recv(Auth)
        shown = auth.proof if proof == "reflected" else proof
        await peer.send(peer.connection.accept(auth, session_id="s", proof=shown))
        assert await peer.until_closed() == []

    async with serving(script, auth_required=True) as address:
        error = await refused(address, AuthenticationError, token="sekrit")
        assert "impostor" in str(error)


async def test_the_error_of_another_version_says_what_to_do() -> None:
    async def script(peer: Original) -> None:
        await peer.send(type="welcome", authRequired=False, version="2.3.0")
        await peer.until_closed()

    async with serving(script, kind=Original) as address:
        error = await refused(address, VersionMismatch)
        # In a memory stream the peer is this very process.
        for part in ("2.3.0", "1.0.0", f"program (pid {os.getpid()})", f"daemon (pid {os.getpid()})", "poppo-ipc stop"):
            assert part in str(error)
        assert (error.ours, error.theirs) == ("1.0.0", "2.3.0")

    async with serving(script, kind=Original) as address:
        assert "do it thus" in str(await refused(address, VersionMismatch, restart_hint="do it thus"))


async def test_a_server_that_says_so_first_is_another_version_too() -> None:
    async def script(peer: Original) -> None:
        text = "Protocol version mismatch: the client speaks 1.0.0, the server speaks 2.0.0"
        await peer.send(type="error", id=None, error={"message": text, "code": "VERSION_MISMATCH"})
        await peer.until_closed()

    async with serving(script, kind=Original) as address:
        error = await refused(address, VersionMismatch)
        assert "the server speaks 2.0.0" in str(error)
        assert "poppo-ipc stop" in str(error)


async def test_what_is_no_server_of_this_protocol() -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.until_closed()

    async with serving(script) as address:
        await refused(address, ProtocolError)


def saying(code: str) -> Any:
    async def script(peer: Original) -> None:
        await peer.send(type="error", id=None, error={"message": "not now", "code": code})

    return script


async def welcoming(peer: Original) -> None:
    await peer.welcome()
    await peer.until_closed()


async def vanishing(peer: Original) -> None:
    """Close without a word."""


@pytest.mark.parametrize("first", [saying("BUSY"), saying("SHUTTING_DOWN"), vanishing])
async def test_a_busy_server_is_tried_again(first: Any) -> None:
    async with (
        serving(first, first, welcoming, kind=Original) as address,
        connect(address, initial=QUICK) as client,
    ):
        assert client.state is ClientState.CONNECTED


@pytest.mark.parametrize(
    ("first", "error"),
    [(saying("BUSY"), Busy), (saying("SHUTTING_DOWN"), ShuttingDown), (vanishing, ConnectionLost)],
)
async def test_but_not_for_ever(first: Any, error: type[Exception]) -> None:
    async with serving(first, first, first, kind=Original) as address:
        with pytest.raises(error):
            async with connect(address, initial=Backoff(start=0.001, attempts=2)):
                pytest.fail("connected")


async def test_no_daemon_is_an_error_at_once() -> None:
    with pytest.raises(ConnectFailed):
        async with connect("memory:nobody", initial=Backoff(start=100)):
            pytest.fail("connected")


async def test_with_retry_initial_the_daemon_may_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, refused_twice = anyio.Event(), anyio.Event()
    tries = itertools.count(1)

    async def dialled(*args: Any, **options: Any) -> Any:
        if next(tries) == 3:
            refused_twice.set()
        return await connect_stream(*args, **options)

    async def late() -> None:
        async with (
            connect("memory:later", retry_initial=True, backoff=Backoff(start=0.005, cap=0.01)) as client,
        ):
            assert client.state is ClientState.CONNECTED
            entered.set()

    async with anyio.create_task_group() as tasks:
        monkeypatch.setattr(_client, "connect_stream", dialled)
        tasks.start_soon(late)
        await refused_twice.wait()
        assert not entered.is_set()
        async with serving(welcoming, address="memory:later", kind=Original):
            await entered.wait()


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def mute(peer: Peer) -> None:
        await peer.until_closed()

    async with serving(mute, mute) as address:
        with pytest.raises(ConnectionLost, match=r"handshake within 0\.05 s; try again$") as caught:
            async with connect(address, handshake_seconds=0.05, initial=Backoff(start=0.001, attempts=1)):
                pytest.fail("connected")
        assert caught.value.timed_out
        assert caught.value.what.endswith("0.05 s")


async def test_a_server_that_takes_no_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await anyio.sleep_forever()

    monkeypatch.setattr(_client, "connect_stream", never)
    with pytest.raises(ConnectionLost, match=r"took no connection within 0\.05 s; try again$") as caught:
        async with connect("memory:full", handshake_seconds=0.05, initial=Backoff(start=0.001, attempts=1)):
            pytest.fail("connected")
    assert caught.value.timed_out


async def test_a_stream_that_does_not_close_does_not_hold_up_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing is shielded. One that broke its promise to close at once could not be left by any means."""
    given_up: list[str] = []

    async def dialled(*args: Any, **options: Any) -> Any:
        stream = await connect_stream(*args, **options)
        assert isinstance(stream, MemoryStream)

        async def stuck() -> None:
            stream.close_nowait()
            try:
                await anyio.sleep(20)
            except anyio.get_cancelled_exc_class():
                given_up.append("aclose")
                raise

        monkeypatch.setattr(stream, "aclose", stuck)
        return stream

    monkeypatch.setattr(_client, "connect_stream", dialled)
    async with serving(welcoming, kind=Original) as address:
        async with connect(address, close_seconds=0.01) as client:
            assert client.state is ClientState.CONNECTED
        assert given_up == ["aclose"]


async def test_what_comes_in_one_piece_with_the_end_of_the_handshake_is_not_lost() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(peer.connection.welcome())
        accepted = peer.connection.accept(await peer.recv(Auth), session_id="s")
        await peer.send(accepted, peer.connection.ping("at once"))
        assert (await peer.recv(Pong)).id == "at once"
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:
        await anyio.wait_all_tasks_blocked()
        assert client.state is ClientState.CONNECTED


async def test_events_right_behind_the_handshake_are_not_lost() -> None:
    async def script(peer: Original) -> None:
        await peer.send(type="welcome", authRequired=False)
        await peer.send(type="event", event="a.b", data={})
        command = await peer.recv()
        await peer.send(type="event", event="a.c", data={})
        await peer.send(type="response", id=command["id"], success=True, result=1)
        await peer.until_closed()

    async with (
        serving(script, kind=Original) as address,
        connect(address) as client,
        client.subscribe("a.*") as events,
    ):
        assert await client.call("x") == 1
        event = await anext(events)
        assert getattr(event, "name", None) == "a.c"  # what came before the subscription is not for it


async def test_an_option_that_does_not_exist() -> None:
    with pytest.raises(TypeError, match="tiemout"):
        async with connect("memory:x", tiemout=3):
            pytest.fail("connected")
    with pytest.raises(ValueError, match="ping_seconds"):
        async with connect("memory:x", ping_seconds=0):
            pytest.fail("connected")
