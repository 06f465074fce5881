"""Commands and their answers (WIRE.md sections 2, 3 and 6)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from poppo_ipc.commands import Router
from poppo_ipc.errors import CommandError, Conflict, NotFound
from poppo_ipc.limits import Limits

from .rawclient import Gate, Serve, command, fault, in_jumping_time, wire

pytestmark = in_jumping_time


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raising(error: BaseException) -> Router:
    router = Router()

    @router.command("at.once")
    async def at_once() -> None:
        raise error

    @router.command("plain")
    def plain() -> None:
        raise error

    @router.command("later")
    async def later() -> None:
        await trio.sleep(1)
        raise error

    @router.command("stream")
    async def stream() -> AsyncIterator[int]:
        yield 1
        raise error

    @router.command("thread", thread=True)
    def thread() -> None:
        raise error

    return router


FORMS = ["at.once", "plain", "later", "stream", "thread"]


async def test_every_kind_of_handler_answers(serve: Serve) -> None:
    router = Router()

    @router.command("add")
    def add(a: int, b: int = 1) -> int:
        return a + b

    @router.command("echo")
    async def echo(args: dict[str, Any]) -> dict[str, Any]:
        await trio.sleep(1)
        return args

    @router.command("thread", thread=True)
    def thread() -> str:
        return "from a thread"

    async with serve(router) as served:
        client = await served.original()
        await client.command("1", "add", args={"a": 2})
        answer = await client.answer("1")
        assert set(answer) == {"type", "id", "version", "timestamp", "success", "result"}
        assert answer["success"] is True
        assert answer["result"] == 3
        args = {"text": "é\u0000\U0001f600", "n": [1, 2.5, None, {"x": True}]}
        assert await client.call("echo", args=args) == args
        assert await client.call("echo") == {}
        assert await client.call("echo", args=None) == {}
        assert await client.call("thread") == "from a thread"


async def test_unknown_fields_and_lesser_versions_are_taken(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        for version in ({}, {"version": "1.9.3"}, {"version": "1"}):
            await client.send(type="command", id="v", command="ipc.describe", new="field", **version)
            assert (await client.answer("v"))["type"] == "response"


async def test_another_major_version_ends_the_connection(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        await client.send(type="command", id="v", command="ipc.describe", version="2.0.0")
        (answer,) = await client.rest()
        assert fault(answer)["code"] == "VERSION_MISMATCH"
        assert "2.0.0" in fault(answer)["message"]
        assert "1.0.0" in fault(answer)["message"]


async def test_an_unknown_command_gets_suggestions(serve: Serve) -> None:
    router = Router()
    router.command("queue.pause")(lambda: None)
    async with serve(router) as served:
        client = await served.original()
        error = await client.error("queue.puase")
        assert error == {
            "message": "Unknown command: queue.puase",
            "code": "UNKNOWN_COMMAND",
            "details": {"suggestions": ["queue.pause"]},
        }
        assert (await client.error("x" * 100_000))["details"] == {"suggestions": []}


async def test_args_that_do_not_fit(serve: Serve) -> None:
    router = Router()

    @router.command("set")
    def put(config: dict[str, list[int]]) -> None: ...

    async with serve(router) as served:
        client = await served.original()
        error = await client.error("set", args={"config": {"retries": [1, 2, "x"]}})
        assert error["code"] == "INVALID_ARGS"
        assert error["details"]["field"] == "config.retries[2]"
        assert error["details"]["problem"]
        assert (await client.error("set"))["details"]["field"] == "config"
        assert (await client.error("set", args=[1]))["code"] == "INVALID_ARGS"
        assert await client.call("set", args={"config": {}}) is None


async def test_an_id_in_use_is_refused_and_harms_nothing(serve: Serve) -> None:
    gate = Gate()
    router = Router()
    router.command("wait")(gate.wait)
    async with serve(router) as served:
        client = await served.original()
        await client.send_bytes(command("same", "wait"), command("same", "wait"), command("same", "ipc.describe"))
        for _ in range(2):
            assert fault(await client.answer("same"))["code"] == "DUPLICATE_ID"
        await trio.testing.wait_all_tasks_blocked()
        assert gate.entered == 1
        gate.open()
        assert (await client.answer("same"))["type"] == "response"
        assert await client.call("wait", request_id="same") is None


async def test_ids_of_every_kind(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        for request_id in ("", "x" * 128, "ü\n\u0000", "null"):
            await client.call("ipc.describe", request_id=request_id)
        for bad in ("x" * 129, 7, None):
            await client.send(type="command", id=bad, command="ipc.describe")
            answer = await client.recv()
            assert answer["id"] is None
            assert fault(answer)["code"] == "BAD_MESSAGE"


async def test_the_65th_running_command_is_too_much(serve: Serve) -> None:
    gate = Gate()
    router = Router()
    router.command("wait")(gate.wait)
    async with serve(router) as served:
        client, other = await served.original(), await served.original()
        await client.send_bytes(*(command(str(number), "wait") for number in range(66)))
        for number in (64, 65):
            error = fault(await client.answer(str(number)))
            assert error["code"] == "BUSY"
            assert error["details"] == {"limit": 64}
        await other.command("0", "wait")
        await trio.testing.wait_all_tasks_blocked()
        assert gate.entered == 65
        assert served.server.statistics().running == 65
        gate.open()
        assert {answer["id"] for answer in await client.recv_many(64)} == {str(number) for number in range(64)}
        assert await client.call("wait") is None


async def test_replies_come_as_they_are_ready(serve: Serve) -> None:
    router = Router()

    @router.command("sleep")
    async def sleep(seconds: float) -> None:
        await trio.sleep(seconds)

    async with serve(router) as served:
        client = await served.original()
        await client.send_bytes(
            *(command(f"{seconds}", "sleep", args={"seconds": seconds}) for seconds in (3, 1, 2)),
            command("0", "ipc.describe"),
        )
        assert [answer["id"] for answer in await client.recv_many(4)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError("/secret/path"),
        lambda: SystemExit("/secret/path"),
        lambda: ExceptionGroup("/secret/path", [ValueError("a"), NotFound("b")]),
        lambda: BaseExceptionGroup("/secret/path", [SystemExit(1), ValueError("a")]),
        lambda: StopIteration("/secret/path"),
        Unprintable,
    ],
    ids=["exception", "exit", "group", "exit-in-group", "stop-iteration", "unprintable"],
)
async def test_an_unforeseen_exception_says_nothing_of_itself(
    serve: Serve, form: str, make: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(raising(make())) as served:
        client = await served.original()
        told = await client.error(form)
        ref = told["details"]["ref"]
        assert told == {"message": "Internal error", "code": "INTERNAL", "details": {"ref": ref}}
        records = [record for record in caplog.records if getattr(record, "ref", None) == ref]
        assert len(records) == 1
        assert records[0].levelno == logging.ERROR
        assert records[0].exc_info
        assert ref in records[0].getMessage()
        assert vars(records[0])["command"] == form
        assert await client.call("ipc.describe")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_a_command_error_is_the_answer(serve: Serve, form: str, depth: int) -> None:
    error: Exception = Conflict("It is there already", {"id": 7})
    for _ in range(depth):
        error = ExceptionGroup("group", [error])
    async with serve(raising(error)) as served:
        client = await served.original()
        assert await client.error(form) == {
            "message": "It is there already",
            "code": "CONFLICT",
            "details": {"id": 7},
        }


async def test_an_error_code_of_ones_own(serve: Serve) -> None:
    async with serve(raising(CommandError("QUEUE_DRAINED", "Nothing left"))) as served:
        client = await served.original()
        assert await client.error("at.once") == {"message": "Nothing left", "code": "QUEUE_DRAINED"}


async def test_details_that_are_not_json(serve: Serve) -> None:
    async with serve(raising(CommandError("ODD", "text", {"x": object()}))) as served:
        client = await served.original()
        assert (await client.error("at.once"))["code"] == "INTERNAL"
        assert await client.call("ipc.describe")


def endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize(
    "result",
    [object(), {1, object()}, {("a", "b"): 1}, "\ud800", endless(), 2**80 * 1j],
    ids=lambda r: type(r).__name__,
)
@pytest.mark.parametrize("waits", [False, True])
async def test_results_that_are_not_json(serve: Serve, result: Any, waits: bool) -> None:
    router = Router()

    @router.command("odd")
    async def odd() -> Any:
        if waits:
            await trio.sleep(1)
        return result

    @router.command("plain")
    def plain() -> Any:
        return result

    async with serve(router) as served:
        client = await served.original()
        assert (await client.error("odd"))["code"] == "INTERNAL"
        assert (await client.error("plain"))["code"] == "INTERNAL"
        assert await client.call("ipc.describe")


async def test_a_result_over_the_frame_bound(serve: Serve) -> None:
    router = Router()
    ran = []

    @router.command("big")
    def big(size: int) -> str:
        ran.append(size)
        return "x" * size

    async with serve(router, limits=Limits(frame_bytes=70_000)) as served:
        client = await served.original()
        error = await client.error("big", args={"size": 70_000})
        assert error["code"] == "RESULT_TOO_LARGE"
        assert ran == [70_000]
        assert len(await client.call("big", args={"size": 69_000})) == 69_000
        await client.send_bytes(b"POPPO" + (70_001).to_bytes(4, "big"))
        assert [fault(each)["code"] for each in await client.rest()] == ["FRAME_TOO_LARGE"]


async def test_a_huge_pipeline_is_answered_in_order(serve: Serve) -> None:
    router = Router()

    @router.command("number")
    def number(n: int) -> int:
        return n

    async with serve(router) as served:
        client = await served.original()
        total = 5_000
        async with trio.open_nursery() as nursery:
            batch = b"".join(command(str(n), "number", args={"n": n}) for n in range(total))
            nursery.start_soon(client.send_bytes, batch)
            answers = await client.recv_many(total)
        assert [answer["result"] for answer in answers] == list(range(total))
        (info,) = served.server.sessions
        assert info.commands == total
        assert info.errors == 0


async def test_describe_names_commands_and_events(serve: Serve) -> None:
    router = Router()

    @router.command("greet", idempotent=True)
    def greet(name: str) -> str:
        """Say hello."""
        return name

    router.event("greeted", summary="Somebody was greeted")
    async with serve(router, name="d", version="3") as served:
        client = await served.original()
        described = await client.call("ipc.describe")
        assert described["server"] == {"name": "d", "version": "3"}
        commands = {each["name"]: each for each in described["commands"]}
        assert set(commands) == {"greet", "events.subscribe", "events.unsubscribe", "ipc.describe"}
        greeting = commands["greet"]
        assert greeting["summary"] == "Say hello."
        assert greeting["args"]["properties"].keys() == {"name"}
        assert greeting["result"]["type"] == "string"
        assert (greeting["streaming"], greeting["idempotent"], greeting["scope"]) == (False, True, "greet")
        assert described["events"] == [{"name": "greeted", "summary": "Somebody was greeted", "data": None}]


async def test_unknown_types_are_refused_and_the_connection_goes_on(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        # These belong to capabilities that were not taken.
        for kind in ("hello", "cancel", "credit", "ping", "pong", "response", "event"):
            await client.send_bytes(wire(type=kind, id="u", credit=1))
            assert fault(await client.answer("u")) == {
                "message": f"Unknown message type: {kind}",
                "code": "BAD_MESSAGE",
            }
        assert await client.call("ipc.describe")
