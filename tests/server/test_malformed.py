"""Bytes that are no frames, and frames that hold no message (WIRE.md section 1), against a whole server."""

from __future__ import annotations

import contextlib
import json

import anyio
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Router
from poppo_ipc.limits import Limits
from poppo_ipc.transport import connect_blocking
from poppo_ipc.transport._connection import Connection

from .rawclient import TOKEN, Gate, RawClient, Serve, command, fault, framed, in_jumping_time, no_log_of, wire

pytestmark = in_jumping_time

NO_MESSAGES = {
    "empty": b"",
    "not UTF-8": b'{"type":"\xff"}',
    "not UTF-8 in an unknown field": b'{"type":"ping","id":"x","more":"\xff"}',
    "not JSON": b"{type}",
    "cut off": b'{"type":"ping","id":"x"',
    "two in one": b'{"type":"ping"}{"type":"ping"}',
    "an array": b'[{"type":"ping"}]',
    "a string": b'"ping"',
    "null": b"null",
    "NaN": b'{"type":"command","id":"x","command":"c","args":{"n":NaN}}',
    "Infinity": b'{"type":"command","id":"x","command":"c","args":{"n":-Infinity}}',
    "too deep": b'{"type":"command","id":"x","command":"c","args":{"n":' + b"[" * 200 + b"]" * 200 + b"}}",
    "far too deep": b"[" * 60_000,
    "no type": b'{"command":"c"}',
    "a type that is no string": b'{"type":7}',
}
BROKEN = {
    "no magic": b"GET / HTTP/1.1\r\n\r\n",
    "one wrong byte": b"POPPQ\x00\x00\x00\x02{}",
    "lower case": b"poppo\x00\x00\x00\x02{}",
    "too large": b"POPPO\xff\xff\xff\xff",
}


async def ping(client: RawClient) -> None:
    assert await client.call("ipc.describe", request_id="still-there")


@pytest.mark.parametrize("what", NO_MESSAGES)
async def test_a_frame_that_holds_no_message(serve: Serve, what: str) -> None:
    async with serve(auth=TOKEN) as served:
        client, stranger = await served.client(), await served.connect()
        await client.send_bytes(framed(NO_MESSAGES[what]))
        answer = await client.recv()
        assert (answer["id"], fault(answer)["code"]) == (None, "BAD_MESSAGE")
        await ping(client)
        # Before authentication the first ends the connection.
        await stranger.send_bytes(framed(NO_MESSAGES[what]), wire(type="auth", id="a", token=TOKEN))
        (answer,) = await stranger.rest()
        assert fault(answer)["code"] in ("BAD_MESSAGE", "AUTH_REQUIRED")


async def test_the_id_is_told_where_it_is_known(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        await client.send_bytes(framed(b'{"id":"known"}'), framed(b'{"id":"known","type":[]}'))
        await client.send_bytes(framed(b'{"id":"known","type":"command"}'))
        for _ in range(3):
            assert fault(await client.answer("known"))["code"] == "BAD_MESSAGE"


async def test_sixteen_in_a_row_end_the_connection(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        for _ in range(3):
            await client.send_bytes(*[framed(b"bad")] * 15)
            assert {fault(each)["code"] for each in await client.recv_many(15)} == {"BAD_MESSAGE"}
            await ping(client)
        await client.send_bytes(*[framed(b"bad")] * 20)
        assert len(await client.rest()) == 16


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("welcomed", [True, False])
async def test_a_stream_that_lost_its_step(serve: Serve, what: str, welcomed: bool) -> None:
    async with serve(auth=TOKEN) as served:
        client = await (served.client() if welcomed else served.connect())
        await client.send_bytes(BROKEN[what], wire(type="command", id="x", command="ipc.describe"))
        (answer,) = await client.rest()
        assert answer["id"] is None
        assert fault(answer)["code"] == ("FRAME_TOO_LARGE" if what == "too large" else "BAD_FRAME")
        await client.aclose()
        await wait_all_tasks_blocked()
        assert served.server.sessions == ()


async def test_what_came_before_is_answered(serve: Serve) -> None:
    """A ping in front of rubbish crashed the session; more commands than one turn takes lost their answers."""
    async with serve() as served:
        client = await served.client("ping", "cancel")
        await client.send_bytes(
            wire(type="ping", id="p"),
            *(command(str(n), "ipc.describe") for n in range(200)),
            wire(type="cancel", id="150"),
            b"rubbish" * 10,
        )
        messages = await client.rest()
        assert len(messages) == 202
        assert {message["id"] for message in messages} == {None, "p", *(str(n) for n in range(200))}
        by_id = {message["id"]: message for message in messages}
        assert by_id["p"]["type"] == "pong"
        assert fault(by_id["150"])["code"] == "CANCELLED"
        assert fault(by_id[None])["code"] == "BAD_FRAME"


async def test_no_event_comes_behind_the_last_word(serve: Serve) -> None:
    """An event published while the stream said goodbye was a second writer, and ended the whole server."""
    async with serve() as served:
        client, other = await served.original(), await served.client("subscribe")

        async def publishing() -> None:
            while True:
                served.server.publish_nowait("e")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publishing)
            await client.send_bytes(b"rubbish" * 10)
            messages = await client.rest()
            nursery.cancel_scope.cancel()
        assert fault(messages[-1])["code"] == "BAD_FRAME"
        await ping(other)


async def test_answers_that_are_ready_during_the_goodbye(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The same from a handler: its answer was written into the middle of the goodbye."""
    router = Router()

    @router.command("ticks")
    async def ticks(n: int) -> None:
        for _ in range(n):
            await trio.lowlevel.checkpoint()

    # Each begins a tick after the one before it, and some end in each of the ticks in which the last has begun.
    batch = b"".join(command(str(n), "ticks", args={"n": 60 - n + n % 20}) for n in range(60))
    with no_log_of(caplog):
        async with serve(router) as served:
            for _ in range(8):
                client = await served.original()
                await client.send_bytes(batch, b"rubbish" * 10)
                ids = [message["id"] for message in await client.rest()]
                assert None in ids
                assert len(ids) == len(set(ids))
                await client.aclose()
                await wait_all_tasks_blocked()


async def test_a_client_that_does_not_go_is_closed(serve: Serve) -> None:
    gate = Gate()
    router = Router()
    router.command("wait")(gate.wait)
    async with serve(router, limits=Limits(flush_seconds=3)) as served:
        client = await served.original()
        await client.command("w", "wait")
        await client.send_bytes(b"rubbish" * 10)
        assert len(await client.rest()) == 1
        await trio.sleep(2.9)
        assert len(served.server.sessions) == 1
        await trio.sleep(0.2)
        assert len(served.server.sessions) == 0
        assert gate.cancelled == 1


async def test_byte_by_byte(serve: Serve) -> None:
    async with serve(auth=TOKEN) as served:
        client = await served.connect()
        data = wire(type="auth", id="a", token=TOKEN) + command("c", "ipc.describe")
        for at in range(len(data)):
            await client.send_bytes(data[at : at + 1])
            await wait_all_tasks_blocked()
        assert [message["id"] for message in await client.recv_many(2)] == ["a", "c"]


async def test_half_a_frame_and_then_nothing(serve: Serve) -> None:
    async with serve() as served:
        hanging, closing = await served.original(), await served.original()
        half = command("c", "ipc.describe")[:20]
        await hanging.send_bytes(half)
        await closing.send_bytes(half)
        await closing.aclose()
        await trio.sleep(3600)
        assert len(served.server.sessions) == 1
        await hanging.send_bytes(command("c", "ipc.describe")[20:])
        assert (await hanging.answer("c"))["type"] == "response"


async def test_a_length_that_is_only_announced_costs_nothing(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        await client.send_bytes(b"POPPO" + (16 * 1024 * 1024).to_bytes(4, "big") + b"{")
        await wait_all_tasks_blocked()
        session = next(iter(served.server._sessions.values()))
        assert session.connection._decoder.buffered_bytes < 100


def all_of(connection: Connection) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def frames_of(data: bytes) -> list[dict[str, object]]:
    messages = []
    while data:
        assert data[:5] == b"POPPO"
        size = int.from_bytes(data[5:9], "big")
        messages.append(json.loads(data[9 : 9 + size]))
        data = data[9 + size :]
    return messages


@pytest.mark.parametrize("last", [b"rubbish" * 10, b"POPPO\xff\xff\xff\xff", framed(b"bad") * 20])
async def test_the_error_arrives_though_input_is_unread(serve: Serve, address: str, last: bytes) -> None:
    """A close over unread input is a reset to the client, whose last word from the server may be lost."""
    async with serve(address=address) as served:
        client = await served.connect_silently()
        await client.send_bytes(last)
        # A server on a pipe can only close, one on a socket goes on reading.
        with trio.move_on_after(0.05), contextlib.suppress(anyio.BrokenResourceError):
            for _ in range(100):
                await client.send_bytes(b"z" * 10_000)
        messages = await client.rest()
        assert messages[0]["type"] == "welcome"
        assert messages[-1]["type"] == "error"
        await served.client()


async def test_one_client_too_many_can_read_why_though_it_spoke_first(serve: Serve, address: str) -> None:
    """What it had sent was never read, and the close over it reset the connection."""
    async with serve(address=address, limits=Limits(clients=1)) as served:
        await served.client()
        # With nothing in between, so that the server finds its words already there.
        plain = connect_blocking(served.server.address, 1)
        try:
            plain.sendall(framed(b'{"type":"auth","id":"a"}'))
            (answer,) = frames_of(await trio.to_thread.run_sync(all_of, plain))
        finally:
            plain.close()
        assert answer["error"]["code"] == "BUSY"  # type: ignore[index]
