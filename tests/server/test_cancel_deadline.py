"""`cancel` and `timeoutMs`: one answer, whatever meets in the same moment (WIRE.md section 4)."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Context, Router

from .rawclient import Gate, Serve, command, fault, in_jumping_time, wire

pytestmark = in_jumping_time


def router(gate: Gate | None = None) -> Router:
    made = Router()

    @made.command("sleep")
    async def sleep(seconds: float = 1.0) -> str:
        await trio.sleep(seconds)
        return "slept"

    @made.command("at.once")
    def at_once() -> str:
        return "at once"

    if gate is not None:
        made.command("wait")(gate.wait)
    return made


async def test_cancel_stops_the_command(serve: Serve) -> None:
    gate = Gate()
    async with serve(router(gate)) as served:
        client = await served.client("cancel")
        await client.command("w", "wait")
        await wait_all_tasks_blocked()
        await client.send(type="cancel", id="w")
        assert fault(await client.answer("w"))["code"] == "CANCELLED"
        assert gate.cancelled == 1
        # The id is free again.
        assert await client.call("at.once", request_id="w") == "at once"


async def test_cancel_of_what_has_its_answer_is_nothing(serve: Serve) -> None:
    async with serve(router()) as served:
        client = await served.client("cancel")
        await client.call("at.once", request_id="a")
        await client.send_bytes(wire(type="cancel", id="a"), wire(type="cancel", id="never"))
        await client.send_bytes(command("b", "sleep"), wire(type="cancel", id="b"), wire(type="cancel", id="b"))
        assert fault(await client.answer("b"))["code"] == "CANCELLED"
        await client.nothing_comes()


async def test_cancel_of_another_clients_command_is_nothing(serve: Serve) -> None:
    async with serve(router()) as served:
        client, other = await served.client("cancel"), await served.client("cancel")
        await client.command("x", "sleep")
        await other.send(type="cancel", id="x")
        assert (await client.answer("x"))["result"] == "slept"


async def test_cancel_of_a_command_that_waits_behind_others_in_its_batch(serve: Serve) -> None:
    gate = Gate()
    async with serve(router(gate)) as served:
        client = await served.client("cancel")
        await client.send_bytes(
            *(command(str(n), "at.once") for n in range(100)), command("w", "wait"), wire(type="cancel", id="w")
        )
        answers = await client.recv_many(101)
        (answer,) = (each for each in answers if each["id"] == "w")
        assert fault(answer)["code"] == "CANCELLED"
        assert gate.entered == 0
        (info,) = served.server.sessions
        assert (info.commands, info.errors, info.running) == (101, 1, 0)
        await client.nothing_comes()


@pytest.mark.parametrize("first", ["cancel", "end"])
async def test_cancel_and_end_in_one_tick(serve: Serve, first: str) -> None:
    """The handler has what it waited for, and the cancel comes before it runs on: one answer, and that is CANCELLED."""
    made = Router()
    gate = trio.Event()
    contexts: list[Any] = []

    @made.command("wait")
    async def wait(ctx: Context) -> str:
        contexts.append(ctx)
        await gate.wait()
        return "done"

    async with serve(made) as served:
        client = await served.client("cancel")
        await client.command("w", "wait")
        await wait_all_tasks_blocked()
        running = served.server._sessions[contexts[0].session.id].running
        if first == "end":
            gate.set()
        running.cancel("w", deque())
        gate.set()
        assert fault(await client.answer("w"))["code"] == "CANCELLED"
        running.cancel("w", deque())
        await client.nothing_comes()


async def test_without_the_capability_cancel_is_unknown(serve: Serve) -> None:
    async with serve(router()) as served:
        client = await served.client("ping")
        await client.command("s", "sleep")
        await client.send(type="cancel", id="s")
        assert fault(await client.answer("s"))["message"] == "Unknown message type: cancel"
        assert (await client.answer("s"))["result"] == "slept"


async def test_a_deadline(serve: Serve) -> None:
    gate = Gate()
    async with serve(router(gate)) as served:
        client = await served.client("deadline")
        began = trio.current_time()
        await client.command("s", "wait", timeoutMs=1500)
        assert fault(await client.answer("s"))["code"] == "TIMEOUT"
        assert trio.current_time() - began == pytest.approx(1.5)
        assert gate.cancelled == 1
        assert await client.call("sleep", timeoutMs=1001) == "slept"
        assert await client.call("at.once", timeoutMs=1) == "at once"
        assert await client.call("sleep", timeoutMs=2**70) == "slept"
        # Nothing of what has been answered may fire later.
        await client.nothing_comes(10)
        assert len(served.server.timers) == 0


async def test_deadlines_end_in_their_own_order(serve: Serve) -> None:
    async with serve(router()) as served:
        client = await served.client("deadline")
        times = (500, 100, 300, 200, 400)
        await client.send_bytes(*(command(str(ms), "sleep", timeoutMs=ms) for ms in times))
        began = trio.current_time()
        for ms in sorted(times):
            assert fault(await client.answer(str(ms)))["code"] == "TIMEOUT"
            assert trio.current_time() - began == pytest.approx(ms / 1000)


async def test_a_deadline_equal_to_the_time_that_it_takes(serve: Serve) -> None:
    async with serve(router()) as served:
        client = await served.client("deadline")
        for number in range(20):
            await client.command(str(number), "sleep", timeoutMs=1000)
            answer = await client.answer(str(number))
            assert answer["type"] == "response" or fault(answer)["code"] == "TIMEOUT"
        await client.nothing_comes()


async def test_the_first_reason_is_the_answer(serve: Serve) -> None:
    made = Router()

    @made.command("stubborn")
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    async with serve(made) as served:
        client = await served.client("deadline", "cancel")
        await client.command("1", "stubborn", timeoutMs=1000)
        await client.command("2", "stubborn", timeoutMs=3000)
        await trio.sleep(2)
        await client.send_bytes(wire(type="cancel", id="1"), wire(type="cancel", id="2"))
        codes = {answer["id"]: fault(answer)["code"] for answer in await client.recv_many(2)}
        assert codes == {"1": "TIMEOUT", "2": "CANCELLED"}


async def test_a_deadline_counts_from_the_commands_own_beginning(serve: Serve) -> None:
    """A command that blocks the loop is not to eat the time of the one behind it."""
    made = Router()

    @made.command("left")
    async def left(ctx: Context) -> float:
        await trio.sleep(0.5)
        return ctx.deadline - trio.current_time()

    async with serve(made) as served:
        client = await served.client("deadline")
        assert await client.call("left", timeoutMs=1000) == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "1", True, [], {}])
async def test_timeouts_that_are_none(serve: Serve, bad: Any) -> None:
    async with serve(router()) as served:
        client, original = await served.client("deadline"), await served.original()
        await client.command("b", "at.once", timeoutMs=bad)
        assert fault(await client.answer("b"))["code"] == "BAD_MESSAGE"
        # Where the capability was not taken, the field is one of those that are ignored.
        assert await original.call("at.once", timeoutMs=bad) == "at once"
        assert await client.call("at.once", request_id="b", timeoutMs=None) == "at once"


async def test_without_the_capability_there_is_no_deadline(serve: Serve) -> None:
    async with serve(router()) as served:
        client = await served.client("cancel")
        assert await client.call("sleep", timeoutMs=1) == "slept"
