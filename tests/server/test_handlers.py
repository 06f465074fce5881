"""What a handler may count on, as if it had a task of its own: its task, its context, its scopes, its exceptions."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Router
from poppo_ipc.errors import Conflict, NotFound

from .rawclient import Gate, Serve, command, fault, in_jumping_time, wire

pytestmark = in_jumping_time
ROUNDS = 4


async def test_context_is_kept_within_a_request_and_leaks_to_no_other(serve: Serve) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    router = Router()

    @router.command("set")
    async def put(value: str, waits: int) -> list[str]:
        seen = [variable.get()]
        variable.set(value)
        for _ in range(waits):
            await trio.sleep(1)
            seen.append(variable.get())
            variable.set(seen[-1] + "'")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, seen)
        seen.append(await trio.to_thread.run_sync(variable.get))
        return seen

    async def child(seen: list[str]) -> None:
        seen.append(variable.get())
        variable.set("child's")

    @router.command("get")
    async def get() -> str:
        return variable.get()

    @router.command("get.plain")
    def get_plain() -> str:
        return variable.get()

    async with serve(router) as served:
        client = await served.original()
        await client.send_bytes(
            command("1", "set", args={"value": "a", "waits": 0}),
            command("2", "get"),
            command("3", "get.plain"),
            command("4", "set", args={"value": "b", "waits": 2}),
            command("5", "set", args={"value": "c", "waits": 2}),
            command("6", "get"),
        )
        answers = {answer["id"]: answer["result"] for answer in await client.recv_many(6)}
        assert answers == {
            "1": ["unset", "a", "a"],
            "2": "unset",
            "3": "unset",
            "4": ["unset", "b", "b'", "b''", "b''"],
            "5": ["unset", "c", "c'", "c''", "c''"],
            "6": "unset",
        }


async def test_a_handler_stays_in_its_task(serve: Serve) -> None:
    router = Router()

    @router.command("where")
    async def where() -> int:
        tasks = [trio.lowlevel.current_task()]
        for _ in range(5):
            await trio.sleep(1)
            tasks.append(trio.lowlevel.current_task())
        return len(set(tasks))

    async with serve(router) as served:
        client = await served.original()
        await client.send_bytes(*(command(str(n), "where") for n in range(10)))
        assert [answer["result"] for answer in await client.recv_many(10)] == [1] * 10


@pytest.mark.parametrize("early", [True, False], ids=["before-waiting", "after-waiting"])
async def test_nurseries_and_scopes_of_a_handler(serve: Serve, early: bool) -> None:
    router = Router()

    @router.command("nursery")
    async def nursery() -> list[int]:
        done: list[int] = []

        async def work(number: int) -> None:
            await trio.sleep(number)
            done.append(number)

        if not early:
            await trio.sleep(1)
        async with trio.open_nursery() as inner:
            for number in (3, 1, 2):
                inner.start_soon(work, number)
        return done

    @router.command("move.on")
    async def move_on() -> list[bool]:
        if not early:
            await trio.sleep(1)
        with trio.move_on_after(1) as outer:
            with trio.move_on_after(5) as inner:
                await trio.sleep(3)
            raise AssertionError
        await trio.sleep(1)
        return [outer.cancelled_caught, inner.cancelled_caught]

    @router.command("fail")
    async def fail() -> str:
        if not early:
            await trio.sleep(1)
        try:
            with trio.fail_after(1):
                await trio.sleep(2)
        except trio.TooSlowError:
            return "too slow"
        return "in time"

    @router.command("no.fail")
    async def no_fail() -> str:
        with trio.fail_after(2):
            await trio.sleep(1)
        return "in time"

    @router.command("child.fails")
    async def child_fails() -> None:
        async def fails() -> None:
            await trio.lowlevel.checkpoint()
            raise Conflict("in a child")

        if not early:
            await trio.sleep(1)
        async with trio.open_nursery() as inner:
            inner.start_soon(fails)
            await trio.sleep_forever()

    async with serve(router) as served:
        client = await served.original()
        for _ in range(2):
            names = ("nursery", "move.on", "fail", "no.fail", "child.fails")
            await client.send_bytes(*(command(name, name) for name in names))
            answers = {answer["id"]: answer for answer in await client.recv_many(5)}
            assert answers["nursery"]["result"] == [1, 2, 3]
            assert answers["move.on"]["result"] == [True, False]
            assert answers["fail"]["result"] == "too slow"
            assert answers["no.fail"]["result"] == "in time"
            assert fault(answers["child.fails"]) == {"message": "in a child", "code": "CONFLICT"}


async def test_exceptions_come_down_unchanged(serve: Serve) -> None:
    router = Router()

    @router.command("catch")
    async def catch() -> list[bool]:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        handling = sys.exc_info()[1] is not None
        try:
            raise ValueError
        except ValueError as error:
            return [handling, error.__context__ is not None]

    async with serve(router) as served:
        client = await served.original()
        assert await client.call("catch") == [False, False]


@pytest.mark.parametrize("at", range(ROUNDS))
@pytest.mark.parametrize("manner", ["leaves", "cleans-up", "swallows", "raises", "group", "shields"])
async def test_cancelled_at_each_wait(serve: Serve, at: int, manner: str) -> None:
    """Whatever the handler makes of it, the answer is CANCELLED, once, and the next command is not touched."""
    router = Router()
    reached: list[Any] = []

    async def fails_late() -> None:
        try:
            await trio.sleep(1)
        except trio.Cancelled:
            raise ValueError("late") from None

    async def one_second() -> None:
        await trio.sleep(1)

    async def mixed() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_late)
            nursery.start_soon(trio.sleep, 1)

    @router.command("rounds")
    async def rounds() -> str:
        for number in range(ROUNDS):
            reached.append(number)
            try:
                with trio.CancelScope(shield=manner == "shields"):
                    await (mixed if manner == "group" else one_second)()
            except trio.Cancelled:
                match manner:
                    case "cleans-up":
                        with trio.CancelScope(shield=True):
                            await trio.sleep(0.25)
                        reached.append("clean")
                        raise
                    case "swallows":
                        reached.append("swallowed")
                        return "done"
                    case "raises":
                        raise NotFound("too late") from None
                raise
        return "done"

    @router.command("fine")
    async def fine() -> str:
        await trio.sleep(0.125)
        return "fine"

    async with serve(router) as served:
        client = await served.client("cancel")
        await client.command("r", "rounds")
        await trio.sleep(at + 0.5)
        await client.send_bytes(wire(type="cancel", id="r"), command("f", "fine"))
        answers = {answer["id"]: answer for answer in await client.recv_many(2)}
        assert fault(answers["r"])["code"] == "CANCELLED"
        assert answers["f"]["result"] == "fine"
        assert reached[: at + 1] == list(range(at + 1))
        assert reached[at + 1 :] == {
            "cleans-up": ["clean"],
            "swallows": ["swallowed"],
            "shields": list(range(at + 1, ROUNDS)),
        }.get(manner, [])
        assert await client.call("fine") == "fine"


async def test_a_stream_is_closed_where_it_is_cancelled(serve: Serve) -> None:
    router = Router()
    ends: list[str] = []

    @router.command("count")
    async def count() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
                await trio.sleep(1)
        finally:
            ends.append("closed")

    async with serve(router) as served:
        client = await served.client("cancel", "stream")
        await client.command("c", "count")
        await trio.sleep(2.5)
        await client.send(type="cancel", id="c")
        messages = await client.recv_many(4)
        assert [message.get("data") for message in messages[:3]] == [0, 1, 2]
        assert fault(messages[3])["code"] == "CANCELLED"
        assert ends == ["closed"]


async def test_a_handler_that_loses_its_client_is_cancelled(serve: Serve) -> None:
    router = Router()
    gate = Gate()
    router.command("wait")(gate.wait)
    async with serve(router) as served:
        client = await served.original()
        await client.send_bytes(*(command(str(n), "wait") for n in range(10)))
        await wait_all_tasks_blocked()
        assert (gate.entered, served.server.statistics().running) == (10, 10)
        await client.aclose()
        await wait_all_tasks_blocked()
        assert (gate.cancelled, served.server.statistics().running) == (10, 0)
