"""Calls over one connection."""

from __future__ import annotations

import contextlib
import random

import anyio
import attrs
import pytest
import sniffio

from poppo_ipc.client import ClientState, connect
from poppo_ipc.commands import CommandSpec
from poppo_ipc.errors import (
    BadMessage,
    CallTimeout,
    ConnectionClosed,
    FrameTooLarge,
    InvalidArgs,
    NotFound,
    RemoteProtocolError,
    UnknownCommand,
)
from poppo_ipc.protocol import ALL_CAPABILITIES, Cancel, Command

from .peer import Original, Peer, serving

pytestmark = pytest.mark.anyio


@attrs.frozen
class GreetArgs:
    first_name: str
    loud: bool | None = None


@attrs.frozen
class Greeting:
    greeting_text: str


GREET = CommandSpec("greet", GreetArgs, Greeting, idempotent=True)


async def quiet(peer: Peer) -> None:
    """Let the client in, and answer nothing."""
    await peer.settle()
    await peer.until_closed()


def is_left(timeout_ms: int, whole: int) -> bool:
    """By the fake clock on Trio all of the time is left when a call goes out, by the real one a moment less."""
    return timeout_ms == whole if sniffio.current_async_library() == "trio" else 0 < timeout_ms <= whole


async def test_a_call_is_answered() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle(epoch="e7", seq=3)
        greet = await peer.command("greet")
        assert greet.args == {"name": "x"}
        assert is_left(greet.timeout_ms, 30_000)
        assert isinstance(greet.idempotency_key, str)
        await peer.respond(greet, {"text": "hello x"})
        assert await peer.until_closed() == []

    async with serving(script) as address, connect(address) as client:
        assert await client.call("greet", name="x") == {"text": "hello x"}
        assert client.state is ClientState.CONNECTED
        assert (client.server.name, client.server.version) == ("scripted", "9")
        assert (client.session_id, client.epoch) == ("s1", "e7")
        assert client.capabilities == frozenset(ALL_CAPABILITIES) - {"challenge"}


async def test_typed_calls() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        for _ in range(2):
            greet = await peer.command("greet")
            assert greet.args == {"firstName": "x"}
            await peer.respond(greet, {"greetingText": "hi", "newer": 1})
        await peer.respond(await peer.command("greet"), {"greetingText": 5})
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:
        assert await client.call(GREET, GreetArgs("x")) == Greeting("hi")
        assert await client.call("greet", GreetArgs("x"), result=Greeting) == Greeting("hi")
        with pytest.raises(RemoteProtocolError, match="greetingText"):
            await client.call(GREET, GreetArgs("x"))


async def test_an_idempotent_command_needs_no_key() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        for key in (False, False, True):
            command = await peer.recv(Command)
            assert isinstance(command.idempotency_key, str) == key
            await peer.respond(command, {"greetingText": "hi"})
        assert command.idempotency_key == "mine"
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:
        await client.call(GREET, GreetArgs("x"))
        await client.call("x", idempotent=True)
        await client.call("x", idempotency_key="mine", idempotent=True)


async def test_answers_out_of_order_reach_their_callers() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        commands = [await peer.recv(Command) for _ in range(3)]
        await peer.send(*[peer.connection.respond(each.id, each.command) for each in reversed(commands)])
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:

        async def ask(name: str) -> None:
            assert await client.call(name) == name

        async with anyio.create_task_group() as tasks:
            for name in ("a", "b", "c"):
                tasks.start_soon(ask, name)


async def test_errors_come_out_as_what_they_are() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.fail(await peer.recv(), UnknownCommand("Unknown command: x", {"suggestions": ["y"]}))
        await peer.fail(await peer.recv(), InvalidArgs.of("a[2]", "expected an integer"))
        await peer.fail(await peer.recv(), NotFound("no such task"))
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:
        with pytest.raises(UnknownCommand) as unknown:
            await client.call("x")
        assert unknown.value.details == {"suggestions": ["y"]}
        with pytest.raises(InvalidArgs, match=r"a\[2\]"):
            await client.call("x")
        with pytest.raises(NotFound):
            await client.call("x")


async def test_what_cannot_be_sent_is_not_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        assert (await peer.recv(Command)).command == "fine"
        await peer.until_closed()

    async with serving(script) as address, connect(address, frame_bytes=2048, timeout=0.05) as client:
        with pytest.raises(TypeError):
            await client.call("x", what=object())
        with pytest.raises(TypeError, match="not both"):
            await client.call("x", {"a": 1}, b=2)
        with pytest.raises(FrameTooLarge):
            await client.call("x", what="y" * 3000)
        with pytest.raises(ValueError, match="timeout"):
            await client.call("x", timeout=0)
        with pytest.raises(CallTimeout):
            await client.call("fine")


async def test_the_servers_timeout_wins() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.recv()
        assert is_left(command.timeout_ms, 50)
        await anyio.sleep(0.06)
        await peer.fail(command, CallTimeout("the server said so"))
        await peer.until_closed()

    async with serving(script) as address, connect(address, timeout_grace=5) as client:
        with pytest.raises(CallTimeout, match="the server said so"):
            await client.call("x", timeout=0.05)


async def test_a_server_that_does_not_answer_is_cancelled_a_little_later() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.recv()
        cancel = await peer.recv(Cancel)
        assert cancel.id == command.id
        # The answer comes all the same, and late: nobody is confused by it.
        await peer.respond(command, "late")
        await peer.respond(await peer.recv(), "right")
        await peer.until_closed()

    async with serving(script) as address, connect(address, timeout_grace=0.02) as client:
        began = anyio.current_time()
        with pytest.raises(CallTimeout, match=r"within 0.05 s; it may have done"):
            await client.call("x", timeout=0.05)
        assert anyio.current_time() - began >= 0.07 - 1e-6
        assert await client.call("y") == "right"


async def test_at_an_original_the_time_is_kept_exactly() -> None:
    async def script(peer: Original) -> None:
        await peer.welcome()
        await peer.recv()
        await peer.until_closed()  # which checks that no cancel comes

    async with serving(script, kind=Original) as address, connect(address, timeout_grace=100) as client:
        began = anyio.current_time()
        with pytest.raises(CallTimeout):
            await client.call("x", timeout=0.05)
        assert 0.05 - 1e-6 <= anyio.current_time() - began < 50


async def test_the_next_deadline_is_kept_whatever_the_order_of_asking() -> None:
    async with serving(quiet) as address, connect(address, timeout_grace=0) as client:
        over: list[float] = []

        async def ask(seconds: float) -> None:
            with pytest.raises(CallTimeout):
                await client.call("x", timeout=seconds)
            over.append(seconds)

        async with anyio.create_task_group() as tasks:
            for seconds in (0.15, 0.05, 0.1):
                tasks.start_soon(ask, seconds)
        assert over == [0.05, 0.1, 0.15]


async def test_cancelling_a_call_cancels_the_command() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.recv()
        got.set()
        assert (await peer.recv(Cancel)).id == command.id
        await peer.respond(await peer.recv(), "still here")
        await peer.until_closed()

    got = anyio.Event()
    async with serving(script) as address, connect(address) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call, "x")
            await got.wait()
            tasks.cancel_scope.cancel()
        assert await client.call("y") == "still here"


async def test_a_call_that_is_cancelled_before_it_went_out_never_does() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await stuck.wait()
        await peer.respond(await peer.command("long"), 1)
        assert await peer.until_closed() == []

    stuck = anyio.Event()
    async with serving(script) as address, connect(address) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call, "long", {"text": "x" * (1 << 20)})
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(client.call, "behind it")
            await anyio.wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
        stuck.set()


async def test_closing_wakes_who_waits_and_cancels_at_the_server() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.recv()
        got.set()
        rest = await peer.until_closed()
        assert [(type(each), each.id) for each in rest] == [(Cancel, command.id)]

    got = anyio.Event()
    async with serving(script) as address, connect(address) as client:

        async def ask() -> None:
            with pytest.raises(ConnectionClosed):
                await client.call("x")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await got.wait()
            await client.aclose()
        await client.aclose()
        assert client.state is ClientState.CLOSED
        with pytest.raises(ConnectionClosed):
            await client.call("x")


async def test_closing_takes_the_time_to_send_what_is_queued() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await stuck.wait()
        command = await peer.command("long")
        rest = await peer.until_closed()
        assert [(type(each), each.id) for each in rest] == [(Cancel, command.id)]

    stuck = anyio.Event()
    async with serving(script) as address, connect(address, close_seconds=5) as client:

        async def ask() -> None:
            with pytest.raises(ConnectionClosed):
                await client.call("long", text="x" * (1 << 20))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(client.aclose)
            await anyio.wait_all_tasks_blocked()
            stuck.set()


async def test_closing_does_not_wait_for_ever() -> None:
    async def stuck(peer: Peer) -> None:
        await peer.settle()
        await over.wait()

    over = anyio.Event()
    async with serving(stuck) as address:
        with anyio.move_on_after(20) as scope:
            async with connect(address, close_seconds=0.05) as client, anyio.create_task_group() as tasks:
                tasks.start_soon(client.call, "long", {"text": "x" * (1 << 20)})
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
        assert not scope.cancelled_caught
        over.set()


async def test_the_blocks_exception_comes_out_bare() -> None:
    class OwnError(Exception):
        pass

    error = OwnError()
    async with serving(quiet) as address:
        with pytest.raises(OwnError) as caught:
            async with connect(address):
                raise error
    assert caught.value is error
    assert caught.value.__context__ is None


async def test_cancelling_the_block_closes() -> None:
    async with serving(quiet) as address:
        with anyio.CancelScope() as scope:
            async with connect(address) as client:
                scope.cancel()
                await client.call("x")
        assert scope.cancelled_caught
        assert client.state is ClientState.CLOSED


async def test_a_long_answer_in_small_pieces() -> None:
    text = "".join(random.Random(5).choices("abcdeü✓", k=1 << 20))

    async def script(peer: Peer) -> None:
        await peer.settle()
        answer = peer.connection.respond((await peer.recv()).id, text)
        sizes = random.Random(7)
        while answer:
            size = sizes.randint(1, 9000)
            await peer.stream.send(answer[:size])
            answer = answer[size:]
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:
        assert await client.call("x") == text


async def test_a_long_question_while_the_server_does_not_read() -> None:
    text = "x" * (3 << 20)

    async def script(peer: Peer) -> None:
        await peer.settle()
        await stuck.wait()
        first, second = await peer.recv(), await peer.recv()
        assert first.args == {"text": text}
        await peer.respond(second, 2)
        await peer.respond(first, 1)
        await peer.until_closed()

    stuck = anyio.Event()
    async with serving(script) as address, connect(address) as client:

        async def first() -> None:
            assert await client.call("x", text=text) == 1

        async def second() -> None:
            assert await client.call("y") == 2

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            stuck.set()


async def test_a_pipeline() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        commands = [await peer.recv(Command) for _ in range(3)]
        assert [each.command for each in commands] == ["a", "b", "greet"]
        await peer.fail(commands[1], NotFound("b"))
        await peer.respond(commands[2], {"greetingText": "hi"})
        await peer.respond(commands[0], 1)
        assert await peer.until_closed() == []

    async with serving(script) as address, connect(address) as client:
        with contextlib.suppress(ZeroDivisionError):
            async with client.pipeline() as never:
                never.call("never")
                raise ZeroDivisionError
        async with client.pipeline() as pipeline:
            a, b = pipeline.call("a"), pipeline.call("b")
            wrong = pipeline.call("wrong", what=object())
            greet = pipeline.call(GREET, GreetArgs("x"))
            with pytest.raises(RuntimeError):
                a.result()
        assert a.result() == 1
        assert greet.result() == Greeting("hi")
        with pytest.raises(NotFound):
            b.result()
        with pytest.raises(TypeError):
            wrong.result()
        async with client.pipeline():
            pass


async def test_a_cancelled_pipeline_cancels_its_calls() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        commands = [await peer.recv(Command) for _ in range(2)]
        got.set()
        assert {(await peer.recv(Cancel)).id for _ in range(2)} == {each.id for each in commands}
        await peer.respond(await peer.command("y"), "y")
        await peer.until_closed()

    got = anyio.Event()
    async with serving(script) as address, connect(address) as client:

        async def ask() -> None:
            async with client.pipeline() as pipeline:
                pipeline.call("a")
                pipeline.call("b")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await got.wait()
            tasks.cancel_scope.cancel()
        assert await client.call("y") == "y"


async def test_ping() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.pong_on()

    async with serving(script) as address, connect(address) as client:
        assert 0 <= await client.ping() < 5


async def test_a_ping_of_the_server_is_answered_before_what_waits() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await stuck.wait()  # three long commands wait in the client, one of them begun
        await peer.send(peer.connection.ping("are you there"))
        first = await peer.recv(Command)
        assert first.command == "a"
        pong = await peer.recv(object)
        assert (type(pong).__name__, getattr(pong, "id", None)) == ("Pong", "are you there")
        commands = [first, await peer.command("b"), await peer.command("c")]
        await peer.send(*[peer.connection.respond(each.id, None) for each in commands])
        await peer.until_closed()

    stuck = anyio.Event()
    async with serving(script) as address, connect(address) as client, anyio.create_task_group() as tasks:
        for name in ("a", "b", "c"):
            tasks.start_soon(client.call, name, {"text": "x" * (1 << 20)})
            await anyio.wait_all_tasks_blocked()
        stuck.set()


async def test_an_answer_nobody_asked_for_is_passed_over() -> None:
    async def script(peer: Original) -> None:
        await peer.welcome()
        command = await peer.recv()
        await peer.send(type="response", id="nobody", success=True, result=1)
        await peer.send(type="error", id="nobody", error="x")
        await peer.send(type="item", id=command["id"], data=1)
        await peer.send(type="response", id=command["id"], success=True, result=2)
        await peer.send(type="response", id=command["id"], success=True, result=3)
        await peer.until_closed()

    async with serving(script, kind=Original) as address, connect(address) as client:
        assert await client.call("x") == 2


def test_the_names_that_are_public_are_there() -> None:
    import poppo_ipc.client as package

    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError):
        _ = package.nothing


async def test_an_answer_that_cannot_be_taken_ends_its_call_and_no_other() -> None:
    """As of a program in JavaScript, which cut an emoji in two: no other answer will come."""

    async def script(peer: Original) -> None:
        await peer.welcome()
        first, second = await peer.recv(), await peer.recv()
        await peer.send(type="tomorrow", id=second["id"], data="\ud83d")
        await peer.send(type="response", id=first["id"], success=True, result="\ud83d")
        await peer.send(type="response", id=second["id"], success=True, result=2)
        await peer.until_closed()

    async def ask() -> None:
        with pytest.raises(BadMessage, match="half of a surrogate pair"):
            await client.call("x")

    async with (
        serving(script, kind=Original) as address,
        connect(address) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert await client.call("y") == 2
