"""Items and credit (WIRE.md section 4, `stream`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Context, Router
from poppo_ipc.limits import Limits

from .rawclient import Message, Serve, command, fault, in_jumping_time, wire

pytestmark = in_jumping_time
SMALL = Limits(frame_bytes=4096, unauthenticated_frame_bytes=4096)


class Source:
    """Commands that stream, and how far they have come."""

    def __init__(self) -> None:
        self.produced = 0
        self.router = Router()

        @self.router.command("count")
        async def count(n: int, size: int = 0) -> AsyncIterator[Any]:
            for number in range(n):
                self.produced = number + 1
                yield "x" * size if size else number

        @self.router.command("send", streaming=True)
        async def send(ctx: Context, n: int) -> str:
            for number in range(n):
                await ctx.send_item(number)
            return "sent"

        @self.router.command("side.by.side", streaming=True)
        async def side_by_side(ctx: Context, n: int) -> None:
            async with trio.open_nursery() as nursery:
                for number in range(n):
                    nursery.start_soon(ctx.send_item, number)

        @self.router.command("progress", streaming=True)
        async def progress(ctx: Context) -> str:
            await ctx.progress(1, 2, "half")
            return "done"

        @self.router.command("plain")
        def plain() -> str:
            return "plain"


def items(messages: list[Message]) -> list[Any]:
    assert all(message["type"] == "item" for message in messages), messages
    return [message["data"] for message in messages]


async def test_items_and_the_closing_response(serve: Serve) -> None:
    async with serve(Source().router) as served:
        client = await served.client("stream")
        await client.command("c", "count", args={"n": 3})
        assert items(await client.recv_many(3)) == [0, 1, 2]
        answer = await client.answer("c")
        assert (answer["type"], answer["success"], answer["result"]) == ("response", True, None)
        await client.command("s", "send", args={"n": 2})
        assert items(await client.recv_many(2)) == [0, 1]
        assert (await client.answer("s"))["result"] == "sent"
        await client.command("p", "progress")
        assert items(await client.recv_many(1)) == [{"progress": {"done": 1, "total": 2, "message": "half"}}]
        assert (await client.answer("p"))["result"] == "done"


async def test_an_empty_stream_is_a_plain_response(serve: Serve) -> None:
    async with serve(Source().router) as served:
        client, original = await served.client("stream"), await served.original()
        await client.command("c", "count", args={"n": 0}, credit=1)
        assert (await client.answer("c"))["result"] is None
        assert await original.call("count", args={"n": 0}) == []


async def test_a_client_that_takes_no_items_gets_them_as_the_result(serve: Serve) -> None:
    async with serve(Source().router) as served:
        original, other = await served.original(), await served.client("cancel")
        assert await original.call("count", args={"n": 3}) == [0, 1, 2]
        # Credit is ignored without the capability, whatever it is.
        assert await other.call("count", args={"n": 3}, credit="x") == [0, 1, 2]
        assert await original.call("send", args={"n": 3}) == "sent"
        assert await original.call("progress") == "done"


async def test_a_collected_stream_that_does_not_fit(serve: Serve) -> None:
    source = Source()
    async with serve(source.router, limits=SMALL) as served:
        original = await served.original()
        error = await original.error("count", args={"n": 10_000_000})
        assert error["code"] == "RESULT_TOO_LARGE"
        assert source.produced < 4096
        assert (await original.error("count", args={"n": 10, "size": 1000}))["code"] == "RESULT_TOO_LARGE"
        # A handler with a result of its own sends items to nobody, any number of them.
        assert await original.call("send", args={"n": 4096}) == "sent"


async def test_an_item_that_does_not_fit(serve: Serve) -> None:
    async with serve(Source().router, limits=SMALL) as served:
        client = await served.client("stream")
        await client.command("c", "count", args={"n": 2, "size": 4096})
        assert fault(await client.answer("c"))["code"] == "RESULT_TOO_LARGE"
        assert await client.call("plain") == "plain"


async def test_an_item_that_is_not_json(serve: Serve) -> None:
    router = Router()

    @router.command("odd")
    async def odd() -> AsyncIterator[Any]:
        yield 1
        yield object()

    async with serve(router) as served:
        client = await served.client("stream")
        await client.command("o", "odd")
        assert items(await client.recv_many(1)) == [1]
        assert fault(await client.answer("o"))["code"] == "INTERNAL"


async def test_no_more_items_than_credit(serve: Serve) -> None:
    source = Source()
    async with serve(source.router) as served:
        client = await served.client("stream", "cancel")
        await client.command("c", "count", args={"n": 100}, credit=2)
        assert items(await client.recv_many(2)) == [0, 1]
        await client.nothing_comes(100)
        assert source.produced == 3
        await client.send(type="credit", id="c", credit=3)
        assert items(await client.recv_many(3)) == [2, 3, 4]
        await client.nothing_comes(100)
        await client.send_bytes(wire(type="credit", id="c", credit=1), wire(type="credit", id="c", credit=1))
        assert items(await client.recv_many(2)) == [5, 6]
        await client.send(type="cancel", id="c")
        assert fault(await client.answer("c"))["code"] == "CANCELLED"


async def test_credit_for_exactly_all_items_needs_no_more_for_the_end(serve: Serve) -> None:
    async with serve(Source().router) as served:
        client = await served.client("stream")
        await client.command("c", "count", args={"n": 2}, credit=2)
        assert items(await client.recv_many(2)) == [0, 1]
        assert (await client.answer("c"))["type"] == "response"


async def test_credit_that_comes_before_its_command_has_begun(serve: Serve) -> None:
    async with serve(Source().router) as served:
        client = await served.client("stream", "cancel")
        await client.send_bytes(
            *(command(str(n), "plain") for n in range(3)),
            command("c", "count", args={"n": 9}, credit=2),
            wire(type="credit", id="c", credit=2),
        )
        await client.recv_many(3)
        assert items(await client.recv_many(4)) == [0, 1, 2, 3]
        await client.nothing_comes()


async def test_credit_counts_for_children_that_send_at_the_same_time(serve: Serve) -> None:
    """Two who waited for credit overwrote each other's wake-up, and one slept on for ever."""
    async with serve(Source().router) as served:
        client = await served.client("stream")
        await client.command("s", "side.by.side", args={"n": 10}, credit=1)
        seen = items(await client.recv_many(1))
        for credit in (1, 2, 6):
            await client.nothing_comes()
            await client.send(type="credit", id="s", credit=credit)
            seen += items(await client.recv_many(credit))
        assert sorted(seen) == list(range(10))
        assert (await client.answer("s"))["type"] == "response"


async def test_credit_for_nothing_is_nothing(serve: Serve) -> None:
    async with serve(Source().router) as served:
        client = await served.client("stream")
        await client.call("plain", request_id="gone")
        await client.send_bytes(wire(type="credit", id="never", credit=5), wire(type="credit", id="gone", credit=5))
        await client.nothing_comes()
        # Without a credit in the command there is no bound to lift.
        await client.command("c", "count", args={"n": 2})
        await client.send(type="credit", id="c", credit=1)
        assert items(await client.recv_many(2)) == [0, 1]
        assert (await client.answer("c"))["type"] == "response"


@pytest.mark.parametrize("bad", [0, -1, 1.5, "1", True, None])
async def test_credit_that_is_none(serve: Serve, bad: Any) -> None:
    async with serve(Source().router) as served:
        client = await served.client("stream")
        await client.send(type="credit", id="x", credit=bad)
        assert fault(await client.answer("x"))["code"] == "BAD_MESSAGE"
        if bad is not None:
            await client.command("c", "count", args={"n": 1}, credit=bad)
            assert fault(await client.answer("c"))["code"] == "BAD_MESSAGE"
        await client.send(type="credit", id="x")
        assert fault(await client.answer("x"))["code"] == "BAD_MESSAGE"


async def test_a_stream_without_credit_holds_back_only_itself(serve: Serve) -> None:
    source = Source()
    async with serve(source.router) as served:
        client = await served.client("stream")
        await client.command("slow", "count", args={"n": 10}, credit=1)
        assert items(await client.recv_many(1)) == [0]
        for number in range(50):
            assert await client.call("plain", request_id=str(number)) == "plain"
        await client.command("other", "count", args={"n": 2}, credit=2)
        assert items(await client.recv_many(2)) == [0, 1]
        assert (await client.answer("other"))["type"] == "response"


async def test_a_stream_waits_for_a_client_that_does_not_read(serve: Serve) -> None:
    """Without credit it is the outbox that bounds it."""
    source = Source()
    limits = Limits(outbox_bytes=200_000)
    async with serve(source.router, limits=limits) as served:
        client, other = await served.client("stream"), await served.original()
        await client.command("c", "count", args={"n": 1000, "size": 10_000})
        await wait_all_tasks_blocked()
        assert source.produced < 60
        (info,) = (each for each in served.server.sessions if each.capabilities)
        assert limits.outbox_bytes <= info.outbox_bytes < limits.outbox_bytes + 11_000
        assert await other.call("plain") == "plain"
        assert len(await client.recv_many(1000)) == 1000
        assert (await client.answer("c"))["type"] == "response"


async def test_a_stream_ends_with_its_client(serve: Serve) -> None:
    source = Source()
    async with serve(source.router) as served:
        client = await served.client("stream")
        await client.command("c", "count", args={"n": 10}, credit=1)
        await client.recv()
        await client.aclose()
        await wait_all_tasks_blocked()
        assert served.server.statistics().running == 0
