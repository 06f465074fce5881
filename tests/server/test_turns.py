"""In which order commands run, how clients take turns, and how many tasks that takes."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Router

from .rawclient import Gate, RawClient, Serve, command, in_jumping_time, tasks_below

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
