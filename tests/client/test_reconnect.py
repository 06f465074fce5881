"""Connections that break, and what becomes of what was asked over them."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import pytest

from poppo_ipc.client import Backoff, Client, ClientState, StateChange, connect
from poppo_ipc.errors import (
    AuthenticationError,
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    LocalProtocolError,
    OutcomeUnknown,
    PoppoError,
)
from poppo_ipc.protocol import ALL_CAPABILITIES, Command, Ping

from .peer import Original, Peer, serving

pytestmark = pytest.mark.anyio
QUICK = Backoff(start=0.001, cap=0.001)


async def failing_call(client: Client, error: type[PoppoError], name: str = "x", **options: Any) -> Any:
    with pytest.raises(error) as caught:
        await client.call(name, **options)
    return caught.value


def answering(**session: Any) -> Any:
    """Settle and answer each command by its key."""

    async def script(peer: Peer) -> None:
        await peer.settle(**session)
        try:
            while True:
                command = await peer.recv(Command)
                await peer.respond(command, command.idempotency_key or None)
        except anyio.EndOfStream:
            pass

    return script


def swallowing(keys: list[Any], **session: Any) -> Any:
    """Settle, take one command and break."""

    async def script(peer: Peer) -> None:
        await peer.settle(**session)
        keys.append((await peer.recv(Command)).idempotency_key)

    return script


async def test_a_call_in_flight_is_sent_again_with_its_key() -> None:
    keys: list[Any] = []
    async with (
        serving(swallowing(keys), swallowing(keys), answering()) as address,
        connect(address, backoff=QUICK) as client,
    ):
        answer = await client.call("x")
        assert isinstance(answer, str)
        assert keys == [answer, answer]
        assert client.state is ClientState.CONNECTED


async def test_after_a_restart_the_outcome_is_unknown() -> None:
    keys: list[Any] = []
    async with (
        serving(swallowing(keys, epoch="e1"), answering(epoch="e2")) as address,
        connect(address, backoff=QUICK) as client,
    ):
        error = await failing_call(client, OutcomeUnknown)
        assert "'x'" in str(error)
        assert isinstance(await client.call("y"), str)  # the client goes on


async def test_durable_keys_hold_over_a_restart() -> None:
    keys: list[Any] = []
    async with (
        serving(swallowing(keys, epoch="e1", keys_durable=True), answering(epoch="e2", keys_durable=True)) as address,
        connect(address, backoff=QUICK) as client,
    ):
        assert [await client.call("x")] == keys


async def test_an_idempotent_call_is_sent_again_over_a_restart() -> None:
    keys: list[Any] = []
    async with (
        serving(swallowing(keys, epoch="e1"), answering(epoch="e2")) as address,
        connect(address, backoff=QUICK) as client,
    ):
        assert await client.call("x", idempotent=True) is None
        assert len(keys) == 1


async def test_what_was_handed_over_before_is_not_forgotten_over_two_breaks() -> None:
    """Handed over in the first session, lost in a second of the same daemon, and a third of another daemon follows."""
    keys: list[Any] = []

    async def settle_and_break(peer: Peer) -> None:
        await peer.settle(epoch="e1")

    async with (
        serving(swallowing(keys, epoch="e1"), settle_and_break, answering(epoch="e2")) as address,
        connect(address, backoff=QUICK) as client,
    ):
        await failing_call(client, OutcomeUnknown)
        assert len(keys) == 1


async def test_without_keys_it_is_unknown_at_once() -> None:
    async def script(peer: Original) -> None:
        await peer.welcome()
        await peer.recv()

    async def again(peer: Original) -> None:
        await peer.welcome()
        command = await peer.recv()
        assert command["command"] == "y"
        await peer.send(type="response", id=command["id"], success=True, result="y")
        await peer.until_closed()

    async with (
        serving(script, again, kind=Original) as address,
        connect(address, backoff=Backoff(start=0.05, cap=0.05), random=lambda: 1.0) as client,
    ):
        await failing_call(client, OutcomeUnknown)
        assert client.state is ClientState.AWAY  # nothing that could come would have helped
        assert await client.call("y") == "y"  # made while away


async def test_a_call_that_never_went_out_is_sent_when_the_daemon_is_back() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle(epoch="e1")
        await gone.wait()

    gone = anyio.Event()
    async with (
        serving(script, answering(epoch="e2")) as address,
        connect(address, backoff=Backoff(start=0.02, cap=0.02), random=lambda: 1.0) as client,
        client.state_changes() as changes,
    ):
        gone.set()
        async for change in changes:
            if change.state is ClientState.AWAY:
                break
        assert isinstance(await client.call("x"), str)


async def test_a_call_made_while_away_waits_up_to_its_deadline() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await gone.wait()

    gone = anyio.Event()
    async with (
        serving(script) as address,
        connect(address, backoff=Backoff(start=60, cap=60), random=lambda: 1.0, timeout_grace=50) as client,
    ):
        gone.set()
        began = anyio.current_time()
        error = await failing_call(client, CallTimeout, timeout=0.05)
        assert error.details is None or error.details == {"sent": False}
        error = await failing_call(client, CallTimeout, timeout=0.05)
        assert error.details == {"sent": False}
        assert anyio.current_time() - began < 50


async def test_without_reconnect_the_first_end_is_the_end() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.recv(Command)

    async with serving(script) as address, connect(address, reconnect=False) as client:
        await failing_call(client, OutcomeUnknown)
        await failing_call(client, ConnectionLost)
        assert client.state is ClientState.FAILED


async def test_a_lost_call_that_did_not_run_says_so() -> None:
    """Idempotent, but nothing will follow: a retry is safe, and that is what ConnectionLost means."""

    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.recv(Command)

    async with serving(script) as address, connect(address, reconnect=False) as client:
        await failing_call(client, ConnectionLost, idempotent=True)


async def test_a_wrong_token_on_the_way_back_is_final() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle(token="sekrit")

    async def changed(peer: Peer) -> None:
        await peer.settle(token="other")
        await peer.until_closed()

    async with (
        serving(script, changed, auth_required=True) as address,
        connect(address, token="sekrit", backoff=QUICK) as client,
    ):
        await failing_call(client, AuthenticationError)
        await failing_call(client, AuthenticationError)
        assert client.state is ClientState.FAILED
        with pytest.raises(AuthenticationError):
            async with client.subscribe("a"):
                pytest.fail("subscribed")
        with pytest.raises(AuthenticationError):
            async with client.stream("a"):
                pytest.fail("streamed")
        with pytest.raises(AuthenticationError):
            await client.ping()


async def test_each_waiter_gets_an_error_of_its_own() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        for _ in range(3):
            await peer.recv(Command)

    errors: list[OutcomeUnknown] = []
    async with serving(script) as address, connect(address, reconnect=False) as client:

        async def ask() -> None:
            errors.append(await failing_call(client, OutcomeUnknown))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
    assert len({id(error) for error in errors}) == 3


async def test_the_waits_grow_and_begin_anew_after_a_good_session() -> None:
    async def bad(peer: Peer) -> None:
        await peer.settle()

    async def good(peer: Peer) -> None:
        await peer.settle()
        await peer.respond(await peer.command("x"))

    async def last(peer: Peer) -> None:
        await peer.settle()
        await peer.until_closed()

    numbers = itertools.cycle([0.5, 1.0])
    waits: list[float] = []
    policy = Backoff(start=0.004, cap=0.02)
    async with (
        serving(bad, bad, bad, bad, good, bad, last) as address,
        connect(address, backoff=policy, random=lambda: next(numbers)) as client,
        client.state_changes() as changes,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.call, "x", None)  # it is sent in each session until one answers
        async for change in changes:
            if change.retry_in is not None:
                waits.append(change.retry_in)
            if len(waits) == 6:
                break
        async for change in changes:
            if change.state is ClientState.CONNECTED:
                break
    # Random 0.5 and 1 in turn, of 4, 8, 16 and 20 ms; after the good session of 4 and 8 again.
    assert waits == pytest.approx([0.002, 0.008, 0.008, 0.02, 0.002, 0.008])


async def test_nobody_listens_any_more_and_the_backoff_gives_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()

    changes: list[StateChange] = []
    async with (
        serving(script) as address,
        connect(address, backoff=Backoff(start=0.001, attempts=3)) as client,
        client.state_changes() as states,
    ):
        changes.extend([change async for change in states])
        await failing_call(client, ConnectFailed)
    assert [change.state for change in changes][-4:] == [*[ClientState.AWAY] * 3, ClientState.FAILED]
    assert isinstance(changes[-1].error, ConnectFailed)


async def test_a_link_that_is_torn_in_a_frame() -> None:
    async def torn(peer: Peer) -> None:
        await peer.settle()
        command = await peer.recv(Command)
        await peer.stream.send(peer.connection.respond(command.id, "the answer")[:-3])

    async with (
        serving(torn, answering()) as address,
        connect(address, backoff=QUICK) as client,
        client.state_changes() as changes,
    ):
        assert isinstance(await client.call("x"), str)
        seen = [await anext(changes) for _ in range(3)]
        assert "middle of a frame" in str(seen[1].error)


async def test_what_spoilt_a_session_is_not_asked_again() -> None:
    """An answer over the client's bound would come again, and again."""

    async def script(peer: Peer) -> None:
        await peer.settle()
        first = await peer.recv(Command)
        await peer.stream.send(peer.connection.respond(first.id, "x" * 5000))
        await peer.until_closed()

    async with (
        serving(script, answering()) as address,
        connect(address, backoff=QUICK, frame_bytes=2000) as client,
    ):
        error = await failing_call(client, OutcomeUnknown)
        assert "2000 bytes" in str(error)
        assert isinstance(await client.call("y"), str)


async def test_the_server_says_why_it_ends_the_connection() -> None:
    async def script(peer: Original) -> None:
        await peer.welcome()
        await peer.recv()
        await peer.send(type="error", id=None, error={"message": "you are too slow", "code": "BUSY"})

    async with serving(script, kind=Original) as address, connect(address, reconnect=False) as client:
        error = await failing_call(client, OutcomeUnknown)
        assert "you are too slow" in str(error)


# -- signs of life ------------------------------------------------------------------------------------------------


async def test_a_half_open_peer_is_found_by_two_misses() -> None:
    async def half_open(peer: Peer) -> None:
        await peer.settle()
        await peer.recv(Command)
        pings.append(await peer.recv(Ping))
        pings.append(await peer.recv(Ping))
        assert await peer.until_closed() == []

    pings: list[Ping] = []
    async with (
        serving(half_open, answering()) as address,
        connect(address, ping_seconds=0.03, backoff=QUICK) as client,
        client.state_changes() as changes,
    ):
        began = anyio.current_time()
        assert isinstance(await client.call("x", timeout=None), str)
        assert anyio.current_time() - began >= 0.09 - 1e-6
        seen = [await anext(changes) for _ in range(2)]
        assert "silent" in str(seen[1].error)
    assert len(pings) == 2


async def test_a_server_that_answers_pings_is_kept() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.recv(Command)
        for _ in range(4):
            await peer.send(peer.connection.pong(await peer.recv(Ping)))
        await peer.respond(command, "at last")
        await peer.pong_on()

    async with serving(script) as address, connect(address, ping_seconds=0.02) as client:
        assert await client.call("x") == "at last"


async def test_without_ping_nothing_is_pinged() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.recv(Command)
        await anyio.sleep(0.08)
        await peer.respond(command, 1)
        assert await peer.until_closed() == []

    capabilities = tuple(each for each in ALL_CAPABILITIES if each != "ping")
    async with (
        serving(script, capabilities=capabilities) as address,
        connect(address, ping_seconds=0.01) as client,
    ):
        assert await client.call("x") == 1
        with pytest.raises(LocalProtocolError):
            await client.ping()


async def test_a_ping_does_not_sleep_on_when_the_link_dies() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.recv(Ping)

    async def last(peer: Peer) -> None:
        await peer.settle()
        await peer.recv(Ping)
        await peer.until_closed()

    async with serving(script, last) as address, connect(address, backoff=QUICK) as client:
        with pytest.raises(ConnectionLost):
            await client.ping(timeout=None)
        async with client.state_changes() as changes:
            async for change in changes:
                if change.state is ClientState.CONNECTED:
                    break
        with pytest.raises(CallTimeout):
            await client.ping(timeout=0.02)
