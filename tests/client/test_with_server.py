"""The client against this project's own server, on Trio, where that lives."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from poppo_ipc.client import Backoff, ClientState, Event, Gap, GapReason, connect
from poppo_ipc.commands import Router
from poppo_ipc.errors import AuthenticationError, CallTimeout, InvalidArgs, UnknownCommand
from poppo_ipc.server import Server, running

QUICK = Backoff(start=0.005, cap=0.02)
pytestmark = pytest.mark.trio


def server_at(address: str, runs: list[str] | None = None) -> Server:
    router = Router()

    @router.command("greet")
    async def greet(name: str) -> str:
        if runs is not None:
            runs.append(name)
        return f"hello {name}"

    @router.command("sleep")
    async def sleep(seconds: float) -> None:
        await trio.sleep(seconds)

    @router.command("count")
    async def count(n: int) -> AsyncIterator[int]:
        for each in range(n):
            yield each

    return Server(router, address=address, auth="sekrit")


async def test_the_whole_surface(address: str) -> None:
    server = server_at(address)
    async with running(server), connect(address, token="sekrit") as client:
        assert await client.call("greet", name="x") == "hello x"
        assert await client.ping() > 0
        with pytest.raises(UnknownCommand) as unknown:
            await client.call("gret")
        assert unknown.value.details == {"suggestions": ["greet"]}
        with pytest.raises(InvalidArgs, match="name"):
            await client.call("greet")
        with pytest.raises(CallTimeout):
            await client.call("sleep", seconds=30, timeout=0.05)
        async with client.stream("count", n=500, credit=7) as items:
            assert [item async for item in items] == list(range(500))
        async with client.pipeline() as pipeline:
            calls = [pipeline.call("greet", name=str(each)) for each in range(200)]
        assert [call.result() for call in calls] == [f"hello {each}" for each in range(200)]
        described = await client.ipc.describe()
        assert "greet" in {command["name"] for command in described["commands"]}


async def test_a_wrong_token(address: str) -> None:
    async with running(server_at(address)):
        with pytest.raises(AuthenticationError):
            async with connect(address, token="wrong"):
                pytest.fail("connected")


async def test_events_and_calls_over_a_restart(address: str) -> None:
    runs: list[str] = []
    async with (
        running(server_at(address, runs)) as server,
        trio.open_nursery() as nursery,
        connect(address, token="sekrit", backoff=QUICK) as client,
        client.subscribe("task.*") as events,
    ):
        await server.publish("task.started", {"taskId": "1"})
        event = await anext(events)
        assert isinstance(event, Event)
        assert event.data == {"taskId": "1"}
        server.stop_soon()
        async with client.state_changes() as changes:
            async for change in changes:
                if change.state is ClientState.AWAY:
                    break
        nursery.start_soon(client.call, "greet", {"name": "made while away"})
        second = server_at(address, runs)
        async with running(second):
            assert await anext(events) == Gap(None, GapReason.RESTARTED)
            await second.publish("task.completed", {"taskId": "1"})
            event = await anext(events)
            assert isinstance(event, Event)
            assert event.name == "task.completed"
            assert await client.call("greet", name="then") == "hello then"
    assert runs == ["made while away", "then"]
