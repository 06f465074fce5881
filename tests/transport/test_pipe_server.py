"""The whole way: a server on a named pipe, and each kind of client from a process of its own."""

from __future__ import annotations

import os

import anyio
import pytest
import trio

from poppo_ipc import Router, connect
from poppo_ipc.errors import AddressInUse
from poppo_ipc.limits import Limits
from poppo_ipc.server import Server
from poppo_ipc.server import running as serving
from poppo_ipc.transport import connect as connect_stream

from ._processes import line, running

pytestmark = pytest.mark.anyio

ASYNC = """
import sys, anyio
from poppo_ipc import connect

async def main():
    async with connect(sys.argv[2], token=None) as client:
        print(await client.call("add", {"a": 1, "b": 2}), flush=True)
        text = "x" * 900_000
        print(await client.call("echo", {"text": text}) == text, flush=True)
        async with client.subscribe("tick") as ticks:
            print("subscribed", flush=True)
            async for event in ticks:
                print(event.data, flush=True)
                break
    print("closed", flush=True)

anyio.run(main, backend=sys.argv[1])
"""

SYNC = """
import sys
from poppo_ipc import SyncClient

with SyncClient(sys.argv[2], token=None) as client:
    print(client.call("add", {"a": 1, "b": 2}), flush=True)
    text = "x" * 900_000
    print(client.call("echo", {"text": text}) == text, flush=True)
    with client.subscribe("tick") as ticks:
        print("subscribed", flush=True)
        for event in ticks:
            print(event.data, flush=True)
            break
print("closed", flush=True)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


def router() -> Router:
    commands = Router()

    @commands.command("add")
    async def add(a: int, b: int) -> int:
        return a + b

    @commands.command("echo")
    async def echo(text: str) -> str:
        return text

    return commands


@pytest.mark.parametrize("kind", ["trio", "asyncio", "sync"])
async def test_calls_and_events_from_another_process(kind: str, address: str) -> None:
    async def said() -> str:
        return await anyio.to_thread.run_sync(line, client)

    with trio.fail_after(50):
        async with serving(Server(router(), address=address)) as server:
            with running(SYNC if kind == "sync" else ASYNC, kind, address) as client:
                assert await said() == "3"
                assert await said() == "True"
                assert await said() == "subscribed"
                (session,) = server.sessions
                assert session.peer is not None
                assert session.peer.pid == client.pid
                await server.publish("tick", {"n": 1})
                assert await said() == "{'n': 1}"
                assert await said() == "closed"
                while server.sessions:
                    await anyio.lowlevel.checkpoint()


async def test_a_server_that_stops_has_its_last_words_read_and_does_not_wait_for_the_client(address: str) -> None:
    """A pipe cannot be closed by half: what the client would wait for is the close itself."""
    limits = Limits(flush_seconds=30)
    server = Server(router(), address=address, limits=limits)
    with trio.fail_after(20):
        async with serving(server):
            stream = await connect_stream(address)
            got = await stream.receive()
            await server.stop(0)
            async for chunk in stream:
                got += chunk
            await stream.aclose()
    assert b"daemon.stopping" in got


async def test_a_client_for_whom_there_is_no_place_is_told_so(address: str) -> None:
    from poppo_ipc.errors import Busy

    async with serving(Server(router(), address=address, limits=Limits(clients=1))), connect(address, token=None):
        with trio.fail_after(20), pytest.raises(Busy):
            async with connect(address, token=None):
                pass


async def test_users_who_may_not_connect_are_cut_off(address: str) -> None:
    async with serving(Server(router(), address=address, allow_uids={"S-1-5-21-1-2-3-1001"})):
        stream = await connect_stream(address)
        with trio.fail_after(20), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
        await stream.aclose()


async def test_a_second_server_is_refused_and_the_first_serves_on(address: str) -> None:
    async with serving(Server(router(), address=address)) as first:
        with pytest.raises(AddressInUse) as caught:
            await Server(router(), address=address).serve()
        assert caught.value.pid == os.getpid()
        assert first.still_bound
        async with connect(address, token=None) as client:
            assert await client.call("add", {"a": 1, "b": 2}) == 3


async def test_fifty_clients_at_once(address: str) -> None:
    answers = []

    async def client(number: int) -> None:
        async with connect(address, token=None) as one:
            answers.append(await one.call("add", {"a": number, "b": 1}))

    with trio.fail_after(50):
        async with serving(Server(router(), address=address)), anyio.create_task_group() as tg:
            for number in range(50):
                tg.start_soon(client, number)
    assert sorted(answers) == list(range(1, 51))
