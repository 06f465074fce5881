"""Pipelines of more calls than may be open at a time."""

from __future__ import annotations

import contextlib
import random

import anyio
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.client import Backoff, PipelinedCall, SyncClient, connect
from poppo_ipc.client._call import Call
from poppo_ipc.client._window import Window
from poppo_ipc.commands import Router
from poppo_ipc.errors import CallTimeout, ConnectionLost, OutcomeUnknown
from poppo_ipc.protocol import Cancel, Command
from poppo_ipc.server import Server, running

from .peer import Peer, serving
from .threads import serving_in_thread

QUICK = Backoff(start=0.005, cap=0.02)


class Engine:
    """Takes calls, refuses some, and tells how many are open."""

    def __init__(self, refused: set[int]) -> None:
        self.submitted: list[Call] = []
        self.unflushed: list[Call] = []
        self.held: list[Call] = []
        self.abandoned: list[Call] = []
        self._refused = refused

    def now(self) -> float:
        return 0.0

    def hold(self, call: Call) -> None:
        self.held.append(call)

    def submit(self, call: Call, *, flush: bool, now: float) -> None:
        assert not call.done
        if int(call.command) in self._refused:
            raise TypeError(call.command)
        self.submitted.append(call)
        self.unflushed.append(call)

    def flush(self) -> None:
        self.unflushed.clear()

    def abandon(self, call: Call) -> None:
        call.done = True
        self.abandoned.append(call)

    def open(self) -> list[Call]:
        return [call for call in self.submitted if not call.done]


@given(
    count=st.integers(1, 40),
    size=st.integers(1, 12),
    refused=st.sets(st.integers(0, 39)),
    stop_after=st.none() | st.integers(0, 40),
    seed=st.randoms(use_true_random=False),
)
def test_whatever_becomes_of_the_calls(
    count: int, size: int, refused: set[int], stop_after: int | None, seed: random.Random
) -> None:
    engine, ends = Engine(refused), 0

    def over() -> None:
        nonlocal ends
        ends += 1

    calls = [Call(str(n), None) for n in range(count)]
    window = Window(engine, calls, size, over)  # type: ignore[arg-type]
    window.start()
    steps = 0
    while not window.done and steps != stop_after:
        steps += 1
        assert not engine.unflushed
        assert 1 <= len(engine.open()) <= size  # never stuck, never over
        begun = {id(call) for call in engine.submitted}
        held = [call for call in engine.held if id(call) not in begun and not call.done]
        if held and seed.random() < 0.2:
            seed.choice(held).fail(CallTimeout("its turn never came"))
        elif seed.random() < 0.2:
            seed.choice(engine.open()).fail(ConnectionLost("gone"))
        else:
            seed.choice(engine.open()).resolve(steps)
        assert len(engine.open()) <= size
    order = [int(call.command) for call in engine.submitted]
    assert order == sorted(set(order))  # each once, in the order of asking
    left = [call for call in calls if not call.done]
    assert window.done is (not left)
    assert ends == (0 if left else 1)
    window.abandon()
    assert engine.abandoned == left
    for call in engine.submitted:
        call.resolve(None)  # an answer that comes too late moves nothing
    assert [int(call.command) for call in engine.submitted] == order


class Counted:
    """A script that answers in any order, once the client sends no more, and counts what is open."""

    def __init__(self, total: int) -> None:
        self.most = 0
        self._total = total

    async def __call__(self, peer: Peer) -> None:
        await peer.settle()
        order, seen = random.Random(3), 0
        open_commands: list[Command] = []
        while seen < self._total or open_commands:
            if not open_commands:
                open_commands.append(await peer.recv(Command))
                seen += 1
            with anyio.move_on_after(0.01):
                while seen < self._total:
                    open_commands.append(await peer.recv(Command))
                    seen += 1
            self.most = max(self.most, len(open_commands))
            for _ in range(order.randint(1, len(open_commands))):
                command = open_commands.pop(order.randrange(len(open_commands)))
                await peer.respond(command, command.args["n"])
        await peer.until_closed()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "most"), [({}, 64), ({"window": 5}, 5), ({"window": 1}, 1), ({"window": 999}, 150)]
)
async def test_so_many_are_open_and_no_more(options: dict[str, int], most: int) -> None:
    script = Counted(150)
    async with serving(script) as address, connect(address) as client:
        async with client.pipeline(**options) as pipeline:
            calls = [pipeline.call("x", n=n) for n in range(150)]
        assert [call.result() for call in calls] == list(range(150))
    assert script.most == most


def test_without_an_event_loop_too(address: str) -> None:
    script = Counted(150)
    with serving_in_thread(address, script), SyncClient(address) as client:
        with client.pipeline(window=20) as pipeline:
            calls = [pipeline.call("x", n=n) for n in range(150)]
        assert [call.result() for call in calls] == list(range(150))
        assert script.most == 20
        with pytest.raises(ValueError, match="window"):
            client.pipeline(window=0)


@pytest.mark.anyio
async def test_time_runs_for_those_whose_turn_has_not_come() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        first = await peer.command("first")
        await timed_out.wait()
        await peer.respond(first, 1)
        await peer.respond(await peer.command("third"), 3)
        assert await peer.until_closed() == []  # the second was never sent

    timed_out = anyio.Event()
    async with serving(script) as address, connect(address, timeout=5) as client:
        pipeline = client.pipeline(window=1)

        async def ask() -> None:
            async with pipeline:
                calls.append(pipeline.call("first"))
                calls.append(pipeline.call("second", timeout=0.05))
                calls.append(pipeline.call("third"))

        calls: list[PipelinedCall] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            while not (pipeline._calls[1:] and pipeline._calls[1].done):  # noqa: ASYNC110 - it tells nobody else
                await anyio.sleep(0.01)
            timed_out.set()
        first, second, third = calls
        assert (first.result(), third.result()) == (1, 3)
        with pytest.raises(CallTimeout, match="calls before it") as caught:
            second.result()
        assert caught.value.details == {"sent": False}
        with pytest.raises(ValueError, match="window"):
            client.pipeline(window=0)


@pytest.mark.anyio
async def test_what_runs_out_of_time_together_does_not_go_out_one_after_the_other() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        first = await peer.command("first")
        assert (await peer.recv(Cancel)).id == first.id
        assert await peer.until_closed() == []

    async with serving(script) as address, connect(address, timeout=0.05, timeout_grace=0) as client:
        async with client.pipeline(window=1) as pipeline:
            calls = [pipeline.call(name) for name in ("first", "second", "third")]
            for each in pipeline._calls:
                each.deadline = pipeline._calls[-1].deadline  # however long it took to make them
        for call in calls:
            with pytest.raises(CallTimeout):
                call.result()


@pytest.mark.anyio
async def test_a_cancelled_pipeline_sends_no_more() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        commands = [await peer.recv(Command) for _ in range(4)]
        got.set()
        assert {(await peer.recv(Cancel)).id for _ in commands} == {each.id for each in commands}
        await peer.respond(await peer.command("y"), "y")
        assert await peer.until_closed() == []

    got = anyio.Event()
    async with serving(script) as address, connect(address) as client:

        async def ask() -> None:
            async with client.pipeline(window=4) as pipeline:
                for n in range(10):
                    pipeline.call("x", n=n)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await got.wait()
            tasks.cancel_scope.cancel()
        assert await client.call("y") == "y"


@pytest.mark.anyio
@pytest.mark.parametrize("reconnect", [True, False])
async def test_a_connection_that_is_lost_in_the_middle(reconnect: bool) -> None:
    async def breaking(peer: Peer) -> None:
        await peer.settle()
        commands = [await peer.recv(Command) for _ in range(4)]
        await peer.respond(commands[0], 0)

    async def going_on(peer: Peer) -> None:
        await peer.settle()
        for n in range(1, 10):
            command = await peer.recv(Command)
            assert command.args == {"n": n}
            await peer.respond(command, n)
        await peer.until_closed()

    scripts = [breaking, going_on] if reconnect else [breaking]
    async with serving(*scripts) as address, connect(address, backoff=QUICK, reconnect=reconnect) as client:
        async with client.pipeline(window=4) as pipeline:
            calls = [pipeline.call("x", n=n, idempotent=reconnect) for n in range(10)]
        assert calls[0].result() == 0
        if reconnect:
            assert [call.result() for call in calls] == list(range(10))
        else:
            for call in calls[1:4]:
                with pytest.raises(OutcomeUnknown):
                    call.result()
            for call in calls[4:]:
                with pytest.raises(ConnectionLost):
                    call.result()


@pytest.mark.anyio
async def test_what_cannot_be_sent_takes_no_place() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.respond(await peer.command("fine"), "fine")
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:
        async with client.pipeline(window=1) as pipeline:
            wrong = [pipeline.call("wrong", what=object()) for _ in range(2000)]
            fine = pipeline.call("fine")
        assert fine.result() == "fine"
        for call in wrong:
            with contextlib.suppress(TypeError):
                call.result()
                pytest.fail("it was sent")


@pytest.mark.trio
async def test_a_server_with_slow_handlers_and_the_usual_bound_refuses_none(address: str) -> None:
    router = Router()
    most = open_now = 0
    full = trio.Event()

    @router.command("slow")
    async def slow(n: int) -> int:
        nonlocal most, open_now
        open_now += 1
        most = max(most, open_now)
        if open_now == 64:
            full.set()
        await full.wait()
        await trio.lowlevel.checkpoint()
        open_now -= 1
        return n

    server = Server(router, address=address, auth="sekrit")
    async with running(server), connect(address, token="sekrit") as client:
        async with client.pipeline() as pipeline:
            calls = [pipeline.call("slow", n=n) for n in range(300)]
        assert [call.result() for call in calls] == list(range(300))
    assert most == 64
