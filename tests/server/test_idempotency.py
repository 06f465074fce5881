"""A command with an idempotency key runs once (WIRE.md section 4, `idempotency`, and section 8)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Context, Router
from poppo_ipc.errors import CommandError
from poppo_ipc.limits import Limits
from poppo_ipc.server import Token, TokenAuth

from .rawclient import Gate, Serve, command, fault, in_jumping_time, no_log_of, wire

pytestmark = in_jumping_time


class Work:
    """Commands that count how often they run."""

    def __init__(self) -> None:
        self.runs = 0
        self.gate = Gate()
        self.router = Router()

        @self.router.command("wait")
        async def wait(n: int = 0) -> dict[str, int]:
            self.runs += 1
            run = self.runs
            await self.gate.wait()
            return {"run": run, "n": n}

        @self.router.command("plain")
        def plain(size: int = 0) -> str:
            self.runs += 1
            return "x" * size or str(self.runs)

        @self.router.command("fail")
        def fail(size: int = 0) -> None:
            self.runs += 1
            raise CommandError("ODD", f"run {self.runs}", {"text": "x" * size})

        @self.router.command("crash")
        async def crash(ctx: Context) -> None:
            self.runs += 1
            await self.gate.wait()
            raise ValueError("crash")


@pytest.fixture
def work() -> Work:
    return Work()


async def test_a_second_command_joins_the_one_that_runs(serve: Serve, work: Work) -> None:
    async with serve(work.router) as served:
        client, other = await served.client("idempotency"), await served.client("idempotency")
        await client.send_bytes(*(command(str(n), "wait", idempotencyKey="k") for n in range(2)))
        await other.command("o", "wait", idempotencyKey="k")
        await wait_all_tasks_blocked()
        assert (work.runs, served.server.statistics().running) == (1, 3)
        work.gate.open()
        results = [answer["result"] for answer in await client.recv_many(2)] + [(await other.answer("o"))["result"]]
        assert results == [{"run": 1, "n": 0}] * 3


async def test_a_key_without_a_character_is_a_key(serve: Serve, work: Work) -> None:
    async with serve(work.router) as served:
        client = await served.client("idempotency")
        assert await client.call("plain", idempotencyKey="") == "1"
        assert await client.call("plain", idempotencyKey="") == "1"
        assert (await client.error("fail", idempotencyKey=""))["code"] == "CONFLICT"
        assert work.runs == 1


async def test_a_later_command_gets_the_kept_answer(serve: Serve, work: Work) -> None:
    async with serve(work.router) as served:
        client = await served.client("idempotency")
        assert await client.call("plain", idempotencyKey="k") == "1"
        assert await client.call("plain", idempotencyKey="k") == "1"
        assert await client.call("plain", idempotencyKey="other") == "2"
        assert await client.call("plain") == "3"
        assert (await client.error("fail", idempotencyKey="f"))["message"] == "run 4"
        assert (await client.error("fail", idempotencyKey="f"))["message"] == "run 4"
        assert work.runs == 4


async def test_args_are_the_same_in_any_order(serve: Serve) -> None:
    router = Router()
    runs = []

    @router.command("echo")
    def echo(args: dict[str, Any]) -> int:
        runs.append(args)
        return len(runs)

    async with serve(router) as served:
        client = await served.client("idempotency")
        first = {"a": 1, "b": {"c": [1, 2], "d": "x" * 1000}}
        again = {"b": {"d": "x" * 1000, "c": [1, 2]}, "a": 1}
        args: dict[str, Any] | None
        for args in (first, again):
            assert await client.call("echo", args=args, idempotencyKey="k") == 1
        for args in ({}, None):
            assert await client.call("echo", args=args, idempotencyKey="none") == 2
        other = {"a": 1, "b": {"c": [2, 1], "d": "x" * 1000}}
        assert (await client.error("echo", args=other, idempotencyKey="k"))["code"] == "CONFLICT"


async def test_another_command_or_other_args_conflict(serve: Serve, work: Work) -> None:
    async with serve(work.router) as served:
        client = await served.client("idempotency")
        await client.command("w", "wait", args={"n": 1}, idempotencyKey="k")
        assert (await client.error("wait", args={"n": 2}, idempotencyKey="k"))["code"] == "CONFLICT"
        assert (await client.error("plain", idempotencyKey="k"))["code"] == "CONFLICT"
        work.gate.open()
        await client.answer("w")
        assert (await client.error("wait", args={"n": 2}, idempotencyKey="k"))["code"] == "CONFLICT"
        assert await client.call("wait", args={"n": 1}, idempotencyKey="k") == {"run": 1, "n": 1}


async def test_keys_belong_to_their_principal(serve: Serve, work: Work) -> None:
    async with serve(work.router, auth=TokenAuth(Token("a", "a"), Token("b", "b"))) as served:
        results = []
        for token in "aba":
            client = await served.connect()
            await client.auth("idempotency", token=token)
            results.append(await client.call("plain", idempotencyKey="k"))
        assert results == ["1", "2", "1"]


async def test_it_runs_on_after_its_client_and_its_answer_is_kept(serve: Serve, work: Work) -> None:
    async with serve(work.router) as served:
        client = await served.client("idempotency")
        await client.send_bytes(command("k", "wait", idempotencyKey="k"), command("u", "wait"))
        await wait_all_tasks_blocked()
        await client.aclose()
        await wait_all_tasks_blocked()
        assert work.gate.cancelled == 1
        assert served.server.sessions == ()
        assert served.server.statistics().running == 1
        client = await served.client("idempotency")
        await client.command("j", "wait", idempotencyKey="k")
        await wait_all_tasks_blocked()
        await client.aclose()
        work.gate.open()
        await wait_all_tasks_blocked()
        assert served.server.statistics().running == 0
        client = await served.client("idempotency")
        assert await client.call("wait", idempotencyKey="k") == {"run": 1, "n": 0}


async def test_a_joiners_cancel_leaves_the_run(serve: Serve, work: Work) -> None:
    """The joiner was taken for the owner, and ended the run for all."""
    async with serve(work.router) as served:
        capabilities = ("idempotency", "cancel", "deadline")
        owner, second, third = [await served.client(*capabilities) for _ in range(3)]
        await owner.command("1", "wait", idempotencyKey="k")
        await wait_all_tasks_blocked()
        await second.command("2", "wait", idempotencyKey="k")
        await third.command("3", "wait", idempotencyKey="k", timeoutMs=1000)
        await second.send(type="cancel", id="2")
        assert fault(await second.answer("2"))["code"] == "CANCELLED"
        assert fault(await third.answer("3"))["code"] == "TIMEOUT"
        await second.command("4", "wait", idempotencyKey="k")
        await third.command("5", "wait", idempotencyKey="k")
        await wait_all_tasks_blocked()
        await third.aclose()
        await wait_all_tasks_blocked()
        assert (work.runs, work.gate.cancelled, served.server.statistics().running) == (1, 0, 2)
        work.gate.open()
        assert (await owner.answer("1"))["result"]["run"] == 1
        assert (await second.answer("4"))["result"]["run"] == 1


@pytest.mark.parametrize("way", ["cancel", "deadline", "crash"])
async def test_the_owners_end_reaches_the_joiners(serve: Serve, work: Work, way: str) -> None:
    async with serve(work.router) as served:
        owner, other = [await served.client("idempotency", "cancel", "deadline") for _ in range(2)]
        name = "crash" if way == "crash" else "wait"
        await owner.command("1", name, idempotencyKey="k", **({"timeoutMs": 1000} if way == "deadline" else {}))
        await wait_all_tasks_blocked()
        await other.command("2", name, idempotencyKey="k")
        if way == "cancel":
            await owner.send(type="cancel", id="1")
        if way == "crash":
            await wait_all_tasks_blocked()
            work.gate.open()
        error = fault(await owner.answer("1"))
        assert error["code"] == {"cancel": "CANCELLED", "deadline": "TIMEOUT", "crash": "INTERNAL"}[way]
        assert fault(await other.answer("2")) == error
        assert served.server.statistics().running == 0


async def test_a_joiner_behind_in_the_owners_batch_is_cancelled_unheard(serve: Serve, work: Work) -> None:
    async with serve(work.router) as served:
        client = await served.client("idempotency", "cancel")
        await client.send_bytes(
            command("1", "wait", idempotencyKey="k"),
            command("2", "wait", idempotencyKey="k"),
            wire(type="cancel", id="2"),
        )
        assert fault(await client.answer("2"))["code"] == "CANCELLED"
        work.gate.open()
        assert (await client.answer("1"))["result"]["run"] == 1


async def test_answers_are_kept_for_ten_minutes(serve: Serve, work: Work) -> None:
    async with serve(work.router) as served:
        client = await served.client("idempotency")
        assert await client.call("plain", idempotencyKey="k") == "1"
        await trio.sleep(599)
        assert await client.call("plain", idempotencyKey="k") == "1"
        await trio.sleep(2)
        assert await client.call("plain", idempotencyKey="k") == "2"


async def test_kept_answers_are_bounded_in_number(serve: Serve, work: Work) -> None:
    assert Limits().kept_answers == 10_000
    assert Limits().kept_answer_seconds == 600
    async with serve(work.router, limits=Limits(kept_answers=3)) as served:
        client = await served.client("idempotency")
        for key in "abcd":
            await client.call("plain", idempotencyKey=key)
        assert served.server.statistics().kept_answers == 3
        assert await client.call("plain", idempotencyKey="b") == "2"
        assert await client.call("plain", idempotencyKey="a") == "5"


@pytest.mark.parametrize("name", ["plain", "fail"])
async def test_kept_answers_are_bounded_in_bytes(serve: Serve, work: Work, name: str) -> None:
    async with serve(work.router, limits=Limits(kept_answer_bytes=10_000)) as served:
        client = await served.client("idempotency")
        for number in range(20):
            await client.send_bytes(command("c", name, args={"size": 1_000}, idempotencyKey=str(number)))
            await client.answer("c")
        assert 6 <= served.server.statistics().kept_answers <= 9
        await client.send_bytes(command("c", name, args={"size": 20_000}, idempotencyKey="big"))
        await client.answer("c")
        assert served.server.statistics().kept_answers == 0


async def test_a_run_that_goes_on_is_never_let_go(serve: Serve, work: Work) -> None:
    async with serve(work.router, limits=Limits(kept_answers=1)) as served:
        client = await served.client("idempotency")
        await client.command("w", "wait", idempotencyKey="w")
        await wait_all_tasks_blocked()
        for key in "abc":
            await client.call("plain", idempotencyKey=key)
        await trio.sleep(2000)
        await client.command("j", "wait", idempotencyKey="w")
        await wait_all_tasks_blocked()
        work.gate.open()
        results = [answer["result"]["run"] for answer in await client.recv_many(2)]
        assert results == [1, 1]


async def test_what_never_began_is_not_kept(serve: Serve, work: Work) -> None:
    async with serve(work.router) as served:
        client = await served.client("idempotency")
        assert (await client.error("wait", args={"n": "x"}, idempotencyKey="k"))["code"] == "INVALID_ARGS"
        assert (await client.error("nope", idempotencyKey="k"))["code"] == "UNKNOWN_COMMAND"
        assert await client.call("plain", idempotencyKey="k") == "1"


async def test_a_result_that_is_not_json_is_one_internal_error(serve: Serve) -> None:
    router = Router()
    router.command("odd")(lambda: object())
    async with serve(router) as served:
        client = await served.client("idempotency")
        first = await client.error("odd", idempotencyKey="k")
        assert first["code"] == "INTERNAL"
        assert await client.error("odd", idempotencyKey="k") == first


async def test_subscriptions_are_not_joined(serve: Serve) -> None:
    async with serve() as served:
        clients = [await served.client("idempotency", "subscribe") for _ in range(2)]
        ids = set()
        for client in clients:
            result = await client.call("events.subscribe", args={"events": ["e"]}, idempotencyKey="k")
            ids.add(result["subscriptionId"])
        assert len(ids) == 2
        await served.server.publish("e")
        for client in clients:
            assert (await client.recv())["event"] == "e"


@pytest.mark.parametrize("bad", [7, True, [], "x" * 129])
async def test_keys_that_are_none(serve: Serve, work: Work, bad: Any) -> None:
    async with serve(work.router) as served:
        client, original = await served.client("idempotency"), await served.original()
        await client.command("b", "plain", idempotencyKey=bad)
        assert fault(await client.answer("b"))["code"] == "BAD_MESSAGE"
        assert await original.call("plain", idempotencyKey=bad) == "1"
        assert await original.call("plain", idempotencyKey=bad) == "2"


async def test_a_stop_ends_the_run_and_keeps_nothing(
    serve: Serve, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    with no_log_of(caplog):
        async with serve(work.router) as served:
            owner, gone = [await served.client("idempotency") for _ in range(2)]
            await owner.command("1", "wait", idempotencyKey="k")
            await gone.command("2", "wait", args={"n": 2}, idempotencyKey="gone")
            await wait_all_tasks_blocked()
            await owner.command("3", "wait", idempotencyKey="k")
            await gone.aclose()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(served.server.stop, 1)
                codes = [fault(each)["code"] for each in await owner.rest() if each["type"] != "event"]
            assert codes == ["SHUTTING_DOWN"] * 2
            assert work.gate.cancelled == 2
            assert served.server.statistics().kept_answers == 0
