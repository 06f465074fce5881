"""Calls of many tasks in one write, and events in runs."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from poppo_ipc.client import Client, Event, SyncClient, connect
from poppo_ipc.client._call import Call
from poppo_ipc.client._engine import CROWD
from poppo_ipc.errors import CallTimeout, ConnectionClosed
from poppo_ipc.protocol import Cancel, Command

from .peer import Peer, serving
from .threads import serving_in_thread

pytestmark = pytest.mark.anyio


def watch_writes(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all writes of the present connection from now on."""
    assert client._link is not None
    stream: Any = client._link._stream
    send, sizes = stream.send_nowait, []

    def counted(data: Any) -> int:
        sizes.append(len(data))
        return int(send(data))

    monkeypatch.setattr(stream, "send_nowait", counted)
    return sizes


async def test_the_calls_of_many_tasks_go_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        commands = [await peer.recv(Command) for _ in range(100)]
        assert sorted(each.args["n"] for each in commands) == list(range(100))
        await peer.send(*[peer.connection.respond(each.id, each.args["n"]) for each in commands])
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:
        writes = watch_writes(client, monkeypatch)

        async def ask(n: int) -> None:
            assert await client.call("x", n=n) == n

        async with anyio.create_task_group() as tasks:
            for n in range(100):
                tasks.start_soon(ask, n)
        assert len(writes) == CROWD  # the first ones at once, and one write for all the others


async def test_a_few_calls_wait_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        commands = [await peer.recv(Command) for _ in range(CROWD - 1)]
        await peer.send(*[peer.connection.respond(each.id, None) for each in commands])
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:
        writes = watch_writes(client, monkeypatch)
        async with anyio.create_task_group() as tasks:
            for _ in range(CROWD - 1):
                tasks.start_soon(client.call, "x")
        assert len(writes) == CROWD - 1


async def test_one_of_many_that_is_cancelled_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        commands = [await peer.command("open") for _ in range(CROWD)]
        await asked.wait()
        await peer.send(*[peer.connection.respond(each.id, None) for each in commands])
        command = await peer.recv(Command)
        if command.command == "one more":  # the writer's turn came before the end of the call
            assert (await peer.recv(Cancel)).id == command.id
            command = await peer.recv(Command)
        assert command.command == "next"
        await peer.respond(command, "next")
        assert await peer.until_closed() == []

    asked = anyio.Event()
    async with serving(script) as address, connect(address) as client, anyio.create_task_group() as tasks:
        for _ in range(CROWD):
            tasks.start_soon(client.call, "open")
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.call("one more")
        taken_back = Call("taken back", {})
        client._engine.submit(taken_back)
        client._engine.abandon(taken_back)
        asked.set()
        assert await client.call("next") == "next"


async def test_closing_cancels_those_whose_write_was_put_off() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        rest = await peer.until_closed()
        commands = [each.id for each in rest if isinstance(each, Command)]
        cancelled = [each.id for each in rest if isinstance(each, Cancel)]
        assert len(commands) == CROWD + 4
        assert cancelled == commands

    async with serving(script) as address, connect(address) as client:
        calls = [Call("x", {}) for _ in range(CROWD + 4)]
        for call in calls:
            client._engine.submit(call)
        await client.aclose()
        assert all(isinstance(call.error, ConnectionClosed) for call in calls)


async def test_others_run_and_cancellation_is_noticed_within_16_events() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe()
        await peer.send(*[peer.event_frame("a.b", n, n + 1) for n in range(100)])
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client, client.subscribe("**") as events:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(count)
            for n in range(64):
                event = await anext(events)
                assert isinstance(event, Event)
                assert event.data == n
            assert turns >= 3
            tasks.cancel_scope.cancel()
        taken = 0
        with anyio.CancelScope() as scope:
            scope.cancel()
            while True:
                await anext(events)
                taken += 1
        assert scope.cancelled_caught
        assert taken <= 16
        event = await anext(events)
        assert isinstance(event, Event)
        assert event.data == 64 + taken


def test_an_event_cannot_be_changed_and_equals_its_like() -> None:
    event = Event("a.b", "x", 4, 7)
    assert event == Event(name="a.b", data="x", seq=4, timestamp=7)
    assert hash(event) == hash(Event("a.b", "x", 4, 7))
    assert event != Event("a.b", "y", 4, 7)
    assert repr(event) == "Event(name='a.b', data='x', seq=4, timestamp=7)"
    assert (Event("a.b", None).seq, Event("a.b", None).timestamp) == (None, 0)
    with pytest.raises(AttributeError):
        event.seq = 5  # type: ignore[misc]


def test_without_an_event_loop_each_call_keeps_its_own_time(address: str) -> None:
    """Long and short limits in turn: the nearest is not looked for anew at each call."""

    async def script(peer: Peer) -> None:
        await peer.settle()
        for _ in range(3):
            await peer.respond(await peer.command("fast"), None)
            slow = await peer.command("slow")
            assert (await peer.recv(Cancel)).id == slow.id
        await peer.until_closed()

    with serving_in_thread(address, script), SyncClient(address, timeout_grace=0) as client:
        for _ in range(3):
            client.call("fast", timeout=20)
            with pytest.raises(CallTimeout):
                client.call("slow", timeout=0.05)
