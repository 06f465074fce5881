"""How clients are waited for: together or each alone, and nothing that they send is slept over either way."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Router
from poppo_ipc.server import Server, running
from poppo_ipc.server._doorway import Door, Doorway
from poppo_ipc.transport import Address, AddressKind, PeerCredentials, connect, memory_pair
from poppo_ipc.transport._unix import UnixStream

from .rawclient import RawClient

_ADDRESS = Address(AddressKind.UNIX, "/nowhere")
_HALF = 32 * 1024


class Client:
    """A socket, and the door at which the server waits for it."""

    def __init__(self, doorway: Doorway) -> None:
        self.far, near = socket.socketpair()
        self.stream = UnixStream(near, _ADDRESS, PeerCredentials())
        self.door = doorway.open(self.stream)
        self.got = bytearray()
        self.ended = False

    async def read_on(self) -> None:
        """Read as the server does, to the end."""
        while not self.ended:
            await self.door.wait()
            data = self.stream.receive_nowait(_HALF)
            self.ended = data == b""
            if data:
                if len(data) == _HALF:
                    self.door.more_to_read()
                self.got += data

    def close(self) -> None:
        self.door.close()
        self.stream.close_nowait()
        self.far.close()


@asynccontextmanager
async def doorway(kind: type[Doorway] = Doorway) -> AsyncIterator[Doorway]:
    with kind() as made:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            yield made
            nursery.cancel_scope.cancel()


@contextmanager
def clients(made: Doorway, count: int) -> Iterator[list[Client]]:
    found = [Client(made) for _ in range(count)]
    try:
        yield found
    finally:
        for each in found:
            each.close()


def together(door: Door) -> bool:
    return door._shared


@pytest.mark.trio
async def test_all_that_is_sent_is_read_whatever_comes_together() -> None:
    chance = random.Random(7)
    async with doorway() as made, trio.open_nursery() as nursery:
        with clients(made, 12) as everybody:
            for each in everybody:
                nursery.start_soon(each.read_on)
            sent = {each: bytearray() for each in everybody}
            for _ in range(400):
                for each in chance.sample(everybody, chance.choice([1, 1, 1, 2, 12])):
                    piece = chance.randbytes(chance.choice([1, 100, _HALF, 3 * _HALF]))
                    sent[each] += piece
                    each.far.sendall(piece[:1])
                    each.far.sendall(piece[1:])
                    if chance.random() < 0.3:
                        await trio.lowlevel.checkpoint()
                await wait_all_tasks_blocked()
                assert all(each.got == sent[each] for each in everybody)
            for each in everybody:
                each.far.close()
            with trio.fail_after(10):
                while not all(each.ended for each in everybody):
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_client_that_is_alone_is_waited_for_alone_until_others_come() -> None:
    async with doorway() as made, trio.open_nursery() as nursery:
        with clients(made, 4) as everybody:
            first = everybody[0]
            for each in everybody:
                nursery.start_soon(each.read_on)
            await wait_all_tasks_blocked()
            ways = []
            for _ in range(20):
                first.far.sendall(b"x")
                await wait_all_tasks_blocked()
                ways.append(together(first.door))
            assert ways == sorted(ways, reverse=sys.platform == "linux")
            assert not ways[-1]
            for _ in range(20):
                for each in everybody:
                    each.far.sendall(b"x")
                    await wait_all_tasks_blocked()
            assert together(first.door) is (sys.platform == "linux")
            assert [len(each.got) for each in everybody] == [40, 20, 20, 20]
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_what_came_with_the_end_is_read_before_it() -> None:
    async with doorway() as made:
        for alone in (False, True):
            with clients(made, 1) as (client,):
                if alone and together(client.door):
                    client.door._change()
                client.far.sendall(b"x" * (3 * _HALF + 1))
                client.far.shutdown(socket.SHUT_WR)
                with trio.fail_after(10):
                    await client.read_on()
                assert len(client.got) == 3 * _HALF + 1


@pytest.mark.trio
@pytest.mark.parametrize("alone", [False, True])
async def test_a_door_that_closes_lets_go_of_who_waits(alone: bool) -> None:
    async with doorway() as made, trio.open_nursery() as nursery:
        with clients(made, 1) as (client,):
            if alone and together(client.door):
                client.door._change()
            woken = trio.Event()

            async def wait() -> None:
                await client.door.wait()
                woken.set()

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert not woken.is_set()
            client.door.close()
            client.door.close()
            await woken.wait()
            await client.door.wait()
            # The number is free for the next one, which is waited for as if there had been none before.
            number = client.stream.fileno()
            client.close()
            with clients(made, 1) as (other,):
                assert other.stream.fileno() == number
                other.far.sendall(b"x")
                await other.door.wait()
                assert other.stream.receive_nowait() == b"x"


@pytest.mark.trio
@pytest.mark.parametrize("alone", [False, True])
async def test_a_cancelled_wait_leaves_nothing_behind(alone: bool) -> None:
    async with doorway() as made:
        with clients(made, 1) as (client,):
            if alone and together(client.door):
                client.door._change()
            for _ in range(3):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await client.door.wait()
                assert scope.cancelled_caught
            client.far.sendall(b"x")
            with trio.fail_after(10):
                await client.door.wait()
            assert client.stream.receive_nowait() == b"x"


@pytest.mark.trio
async def test_a_client_that_the_set_refuses_is_waited_for_alone() -> None:
    class Refusing(Doorway):
        def enter(self, door: Door, fd: int) -> bool:
            if sys.platform == "linux":
                with suppress(FileExistsError):
                    self._epoll.register(fd, 0)  # what is there already is refused
            return super().enter(door, fd)

    async with doorway(Refusing) as made:
        with clients(made, 2) as everybody:
            assert not any(together(each.door) for each in everybody)
            for each in everybody * 10:
                each.far.sendall(b"x")
                with trio.fail_after(10):
                    await each.door.wait()
                assert each.stream.receive_nowait() == b"x"


@pytest.mark.trio
async def test_a_stream_with_no_descriptor_is_waited_for_as_it_is() -> None:
    async with doorway() as made:
        near, far = memory_pair()
        door = made.open(near)
        await far.send(b"x")
        with trio.fail_after(10):
            await door.wait()
        assert near.receive_nowait() == b"x"
        door.close()
        await near.aclose()
        await far.aclose()


@pytest.mark.trio
async def test_answers_of_many_clients_who_ask_at_once(eager: bool, short_dir: Path) -> None:
    router = Router()

    @router.command("plain")
    def plain(number: int) -> int:
        return number

    @router.command("waits")
    async def waits(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number

    async def ask(address: Address, first: int) -> None:
        async with await connect(address) as stream:
            client = RawClient(stream)
            await client.recv()
            for number in range(first, first + 40):
                await client.command(str(number), ("plain", "waits")[number % 2], args={"number": number})
                answer = await client.recv()
                assert (answer["id"], answer["result"]) == (str(number), number)

    server = Server(router, address=str(short_dir / "s"), eager=eager)
    async with running(server), trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(ask, server.address, number * 1000)
