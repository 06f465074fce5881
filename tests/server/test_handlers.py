"""What a handler may count on, as if it had a task of its own: its task, its context, its scopes, its exceptions."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import CallNext, Context, Router
from poppo_ipc.errors import Conflict, NotFound

from .rawclient import Gate, RawClient, Serve, command, fault, in_jumping_time, no_log_of, wire

pytestmark = in_jumping_time
ROUNDS = 4


def tasks_below(root: trio.lowlevel.Task) -> int:
    return sum(1 + tasks_below(task) for nursery in root.child_nurseries for task in nursery.child_tasks)


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

    async with serve(router) as served:
        client = await served.original()
        for _ in range(5):
            begun.clear()
            await client.send_bytes(
                *(command(str(n), "waits" if n % 3 else "at.once", args={"n": n}) for n in range(60))
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
        # Some tasks are kept for the next handler that waits; and the first may have left the reading to others.
        assert tasks_below(root) <= before + 16 + 1
        await client.aclose()
        await wait_all_tasks_blocked()
        assert tasks_below(root) < before


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


async def test_middleware(serve: Serve) -> None:
    router, inner = Router(), Router()
    log: list[str] = []

    @inner.command("work")
    async def work(what: str = "") -> str:
        log.append("work")
        if what == "fail":
            raise NotFound("no such work")
        return "worked"

    @inner.command("sync")
    def sync() -> str:
        log.append("sync")
        return "synced"

    @inner.command("stream")
    async def stream() -> AsyncIterator[int]:
        yield 1
        yield 2

    @router.use
    async def outer_one(ctx: Context, call_next: CallNext) -> Any:
        log.append(f"outer {ctx.command}")
        try:
            result = await call_next()
        except NotFound as error:
            raise Conflict(f"told anew: {error}") from error
        log.append("outer done")
        return result

    @inner.use
    async def inner_one(ctx: Context, call_next: CallNext) -> Any:
        log.append("inner")
        if ctx.request_id == "short":
            return "cut short"
        if ctx.request_id == "crash":
            raise ValueError("in middleware")
        await trio.sleep(1)
        return await call_next()

    router.include(inner)
    async with serve(router) as served:
        client = await served.original()
        assert await client.call("work") == "worked"
        assert log == ["outer work", "inner", "work", "outer done"]
        log.clear()
        assert await client.call("sync") == "synced"
        assert log == ["outer sync", "inner", "sync", "outer done"]
        log.clear()
        assert await client.call("work", request_id="short") == "cut short"
        assert log == ["outer work", "inner", "outer done"]
        assert await client.error("work", args={"what": "fail"}) == {
            "message": "told anew: no such work",
            "code": "CONFLICT",
        }
        assert (await client.error("work", request_id="crash"))["code"] == "INTERNAL"
        assert await client.call("stream") == [1, 2]
        # The protocol's own commands are not the author's to wrap.
        log.clear()
        await client.call("ipc.describe")
        assert log == []


async def test_a_handler_knows_its_call(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    router = Router()

    @router.command("who")
    async def who(ctx: Context) -> dict[str, Any]:
        ctx.log.warning("here", extra={"more": 1})
        left = ctx.deadline - trio.current_time()
        return {"id": ctx.request_id, "command": ctx.command, "session": ctx.session.id, "left": left}

    async with serve(router) as served:
        client = await served.client("deadline")
        result = await client.call("who", request_id="r", timeoutMs=5000)
        (info,) = served.server.sessions
        assert result == {"id": "r", "command": "who", "session": info.id, "left": 5}
        (record,) = caplog.records
        assert vars(record).items() >= {"session": info.id, "request": "r", "command": "who", "more": 1}.items()


async def test_what_a_stopped_handler_raises_is_no_alarm(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    router = Router()

    @router.command("odd")
    async def odd() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("late")

    async with serve(router) as served:
        client = await served.client("cancel")
        with no_log_of(caplog):
            await client.command("1", "odd")
            await client.send(type="cancel", id="1")
            await client.command("2", "odd")
            assert fault(await client.answer("1"))["code"] == "CANCELLED"
