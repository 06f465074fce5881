"""In which order commands run, how clients take turns, and how many tasks that takes."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Context, Router

from .rawclient import Gate, RawClient, Serve, command, fault, in_jumping_time, tasks_below

pytestmark = in_jumping_time


async def test_commands_begin_in_the_order_in_which_they_came(serve: Serve) -> None:
    router = Router()
    begun: list[int] = []

    @router.command("waits")
    async def waits(n: int) -> None:
        begun.append(n)
        await trio.sleep(1)

    @router.command("at.once")
    async def at_once(n: int) -> None:
        begun.append(n)

    @router.command("plain")
    def plain(n: int) -> None:
        begun.append(n)

    async with serve(router) as served:
        client = await served.original()
        for _ in range(5):
            begun.clear()
            await client.send_bytes(
                *(command(str(n), ("waits", "plain", "at.once", "waits")[n % 4], args={"n": n}) for n in range(60))
            )
            await client.recv_many(60)
            assert begun == list(range(60))


async def test_plain_handlers_run_one_after_the_other(serve: Serve) -> None:
    router = Router()
    order: list[str] = []

    @router.command("note")
    def note(text: str) -> int:
        order.append(text)
        return len(order)

    async with serve(router) as served:
        client = await served.original()
        await client.send_bytes(*(command(each, "note", args={"text": each}) for each in "abcdef"))
        assert [answer["result"] for answer in await client.recv_many(6)] == [1, 2, 3, 4, 5, 6]
        assert order == list("abcdef")


@pytest.mark.parametrize("name", ["plain", "async"])
async def test_one_clients_pipeline_lets_another_in(serve: Serve, name: str) -> None:
    """Turns are counted, not time: a round trip takes a few, and in each of them 64 commands may run."""
    router = Router()
    served_of: list[str] = []

    @router.command("plain")
    def plain(who: str) -> None:
        served_of.append(who)

    @router.command("async")
    async def coroutine(who: str) -> None:
        served_of.append(who)

    async def drink(client: RawClient, count: int) -> None:
        await client.recv_many(count)

    async with serve(router) as served:
        greedy, modest = await served.original(), await served.original()
        batch = b"".join(command(str(n), name, args={"who": "greedy"}) for n in range(10_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(greedy.send_bytes, batch)
            nursery.start_soon(drink, greedy, 10_000)
            for n in range(20):
                before = len(served_of)
                await modest.call(name, request_id=str(n), args={"who": "modest"})
                assert len(served_of) - before <= 5 * 64
        assert served_of.count("greedy") == 10_000


async def test_no_task_is_left_over(serve: Serve) -> None:
    router = Router()
    gate = Gate()
    router.command("wait")(gate.wait)

    async with serve(router) as served:
        client = await served.original()
        root = trio.lowlevel.current_root_task()
        assert root is not None
        before = tasks_below(root)
        for round_number in range(20):
            await client.send_bytes(*(command(f"{round_number}-{n}", "wait") for n in range(50)))
            if not round_number:
                await wait_all_tasks_blocked()
                assert gate.entered == 50
                assert tasks_below(root) <= before + 50
                gate.open()
            await client.recv_many(50)
        await wait_all_tasks_blocked()
        assert gate.left == 1_000
        # As many tasks are kept for the next handlers that wait as had to at once; and the first may have left the
        # reading to others.
        assert tasks_below(root) <= before + 50 + 1
        await client.aclose()
        await wait_all_tasks_blocked()
        assert tasks_below(root) < before


async def test_a_command_that_is_stopped_in_its_own_turn_takes_no_other_along(serve: Serve) -> None:
    """The task that leads has one cancel scope for all of them: it is used up by the first that is stopped."""
    router = Router()
    sessions: list[Any] = []

    @router.command("stops.itself")
    async def stops_itself(ctx: Context, waits: bool) -> str:
        sessions[0].running.cancel(ctx.request_id, [])
        if waits:
            await trio.sleep(1)
        return "not told"

    @router.command("sleep")
    async def sleep() -> str:
        await trio.sleep(1)
        return "slept"

    async with serve(router) as served:
        client = await served.client("cancel")
        sessions += served.server._sessions.values()
        for waits in (False, True):
            await client.send_bytes(
                command("1", "stops.itself", args={"waits": waits}),
                command("2", "sleep"),
                command("3", "stops.itself", args={"waits": waits}),
                command("4", "sleep"),
            )
            answers = {answer["id"]: answer for answer in await client.recv_many(4)}
            assert [fault(answers[each])["code"] for each in "13"] == ["CANCELLED"] * 2
            assert [answers[each]["result"] for each in "24"] == ["slept"] * 2
        assert served.server.statistics().running == 0


@pytest.mark.parametrize("name", ["async", "plain", "plain.ctx"])
async def test_a_command_that_ends_its_own_connection_is_the_last_to_begin(serve: Serve, name: str) -> None:
    router = Router()
    sessions: list[Any] = []
    begun: list[int] = []

    def end(n: int) -> None:
        begun.append(n)
        if n == 3:
            sessions[0].disconnect("a test ends it")

    @router.command("async")
    async def coroutine(n: int) -> None:
        end(n)

    @router.command("plain")
    def plain(n: int) -> None:
        end(n)

    @router.command("plain.ctx")
    def plain_ctx(ctx: Context, n: int) -> None:
        end(n)

    async with serve(router) as served:
        client = await served.original()
        sessions += served.server._sessions.values()
        await client.send_bytes(*(command(str(n), name, args={"n": n}) for n in range(10)))
        await client.rest()
        assert begun == [0, 1, 2, 3]
        await wait_all_tasks_blocked()
        assert (served.server.statistics().running, served.server.statistics().sessions) == (0, 0)
        other = await served.original()
        await other.call(name, args={"n": 9})


@pytest.mark.parametrize("takes_ctx", [False, True])
async def test_a_plain_handler_counts_as_running_and_has_a_context_of_its_own(serve: Serve, takes_ctx: bool) -> None:
    router = Router()
    variable = contextvars.ContextVar("variable", default=0)
    seen: list[tuple[int, int, int]] = []
    told: list[tuple[str, str | None]] = []
    servers: list[Any] = []

    def look(fails: bool) -> None:
        (info,) = servers[0].sessions
        seen.append((servers[0].statistics().running, info.running, variable.get()))
        variable.set(1)
        if fails:
            raise LookupError("injected")

    @router.command("look")
    def plain(fails: bool) -> None:
        look(fails)

    @router.command("look.ctx")
    def plain_ctx(ctx: Context, fails: bool) -> None:
        look(fails)

    name = "look.ctx" if takes_ctx else "look"
    async with serve(router, observer=lambda command, seconds, code: told.append((command, code))) as served:
        servers.append(served.server)
        client = await served.original()
        await client.send_bytes(*(command(str(n), name, args={"fails": n == 1}) for n in range(3)))
        answers = await client.recv_many(3)
        assert [answer["type"] for answer in answers] == ["response", "error", "response"]
        assert seen == [(1, 1, 0)] * 3
        assert told == [(name, None), (name, "INTERNAL"), (name, None)]
        (info,) = served.server.sessions
        assert (info.running, info.commands, info.errors, served.server.statistics().running) == (0, 3, 1, 0)
