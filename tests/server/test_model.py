"""Anything that well-behaved clients may do, in any order: every command gets its one answer, and nothing is left."""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.commands import Context, Router
from poppo_ipc.errors import Conflict
from poppo_ipc.limits import Limits

from .rawclient import ALL, TOKEN, Message, RawClient, Served, command, serve, wire

CLIENTS = 3
ENOUGH = 1_000


def router() -> Router:
    made = Router()

    @made.command("plain")
    def plain(ms: int) -> int:
        return ms

    @made.command("at.once")
    async def at_once(ms: int) -> int:
        return ms

    @made.command("sleep")
    async def sleep(ms: int) -> int:
        await trio.sleep(ms / 1000)
        return ms

    @made.command("fail")
    async def fail(ms: int) -> None:
        await trio.sleep(ms / 1000)
        raise Conflict("so it ends")

    @made.command("swallow")
    async def swallow(ms: int) -> int:
        with trio.CancelScope(shield=ms % 2 == 0):
            try:
                await trio.sleep(ms / 1000)
            except trio.Cancelled:
                return -1
        return ms

    @made.command("nursery")
    async def nursery(ms: int) -> int:
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.sleep, ms / 1000)
            with trio.move_on_after(ms / 2000):
                await trio.sleep_forever()
        return ms

    @made.command("stream")
    async def stream(ms: int) -> AsyncIterator[int]:
        for number in range(ms % 7):
            yield number
            await trio.sleep(ms / 10_000)

    @made.command("tell")
    async def tell(ctx: Context, ms: int) -> int:
        return await ctx.publish("told", {"ms": ms})

    return made


NAMES = ["plain", "at.once", "sleep", "fail", "swallow", "nursery", "stream", "tell", "unknown"]
TIMES = [1, 2, 5, 10, 10, 10, 20, 50, 100]
commands = st.fixed_dictionaries(
    {"name": st.sampled_from(NAMES), "ms": st.sampled_from(TIMES)},
    optional={
        "timeoutMs": st.sampled_from(TIMES),
        "credit": st.integers(1, 3),
        "idempotencyKey": st.sampled_from(["k", "l"]),
    },
)
steps = st.one_of(
    st.tuples(st.just("command"), commands),
    st.tuples(st.just("command"), commands),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("credit"), st.integers(0, 5), st.integers(1, 3)),
    st.tuples(st.just("ping")),
    st.tuples(st.just("bad")),
    st.tuples(st.just("subscribe")),
)
pieces = st.lists(steps, min_size=1, max_size=8)
acts = st.one_of(
    st.tuples(st.just("send"), st.integers(0, CLIENTS - 1), pieces),
    st.tuples(st.just("send"), st.integers(0, CLIENTS - 1), pieces),
    st.tuples(st.just("send"), st.integers(0, CLIENTS - 1), pieces),
    st.tuples(st.just("wait"), st.sampled_from(TIMES)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("publish")),
    st.tuples(st.just("leave"), st.integers(0, CLIENTS - 1)),
)


class Modelled:
    """A client, what it asked for, and what it got."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.asked: list[str] = []
        self.credit: dict[str, int] = {}
        self.pings = self.bad = self.subscriptions = 0
        self.got: list[Message] = []

    async def read(self) -> None:
        with contextlib.suppress(anyio.ClosedResourceError):
            while (payload := await self.client.recv_payload()) is not None:
                self.got.append(json.loads(payload))

    def frame(self, step: tuple[Any, ...]) -> bytes:
        match step:
            case ("command", fields):
                request_id = f"c{len(self.asked)}"
                self.asked.append(request_id)
                more = {key: value for key, value in fields.items() if key not in ("name", "ms")}
                if "credit" in more:
                    self.credit[request_id] = more["credit"]
                return command(request_id, fields["name"], args={"ms": fields["ms"]}, **more)
            case ("cancel", back):
                return wire(type="cancel", id=self._recent(back))
            case ("credit", back, count):
                if self._recent(back) in self.credit:
                    self.credit[self._recent(back)] += count
                return wire(type="credit", id=self._recent(back), credit=count)
            case ("ping",):
                self.pings += 1
                return wire(type="ping", id=f"p{self.pings}")
            case ("bad",):
                self.bad += 1
                return wire(type="unheard-of", id=f"b{self.bad}")
            case _:
                self.subscriptions += 1
                return command(f"s{self.subscriptions}", "events.subscribe", args={"events": ["**"]})

    def _recent(self, back: int) -> str:
        return self.asked[-1 - back] if back < len(self.asked) else "never"

    def check(self) -> None:
        answers = Counter(message["id"] for message in self.got if message["type"] in ("response", "error"))
        wanted = [
            *self.asked,
            *(f"b{n + 1}" for n in range(self.bad)),
            *(f"s{n + 1}" for n in range(self.subscriptions)),
        ]
        assert answers == Counter(wanted)
        pongs = Counter(message["id"] for message in self.got if message["type"] == "pong")
        assert pongs == Counter(f"p{n + 1}" for n in range(self.pings))
        closed: set[str] = set()
        items: Counter[str] = Counter()
        seqs: list[int] = []
        begun = False
        for message in self.got:
            match message["type"]:
                case "item":
                    assert message["id"] not in closed
                    assert message["data"] == items[message["id"]]
                    items[message["id"]] += 1
                case "event":
                    assert begun
                    seqs.append(message["seq"])
                case "response" | "error":
                    closed.add(message["id"])
                    begun = begun or message["id"] == "s1"
        for request_id, credit in self.credit.items():
            assert items[request_id] <= credit
        # From the first subscription on nothing is missing and nothing comes twice.
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True


async def drive(served: Served, script: list[tuple[Any, ...]]) -> None:
    async with trio.open_nursery() as readers:

        async def join() -> Modelled:
            client = Modelled(await served.client(*ALL))
            readers.start_soon(client.read)
            return client

        clients = [await join() for _ in range(CLIENTS)]
        for act in script:
            match act:
                case ("send", number, batch):
                    client = clients[number]
                    await client.client.send_bytes(*(client.frame(step) for step in batch))
                case ("wait", ms):
                    await trio.sleep(ms / 1000)
                case ("settle",):
                    await wait_all_tasks_blocked()
                case ("publish",):
                    await served.server.publish("published")
                case ("leave", number):
                    await clients[number].client.aclose()
                    clients[number] = await join()
        await wait_all_tasks_blocked()
        for client in clients:
            for request_id in client.credit:
                client.credit[request_id] += ENOUGH
                await client.client.send(type="credit", id=request_id, credit=ENOUGH)
        await trio.sleep(10)
        await wait_all_tasks_blocked()
        for client in clients:
            client.check()
        statistics = served.server.statistics()
        assert (statistics.sessions, statistics.running) == (CLIENTS, 0)
        for session in served.server._sessions.values():
            assert session.connection.open_requests == frozenset()
            assert len(session.running) == 0
        assert len(served.server.timers) == 0
        assert served.server.answers._running == {}
        readers.cancel_scope.cancel()


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "tasks"])
@given(script=st.lists(acts, min_size=1, max_size=25))
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_command_gets_its_one_answer(
    eager: bool, script: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        limits = Limits(running_per_client=8)
        async with serve(router(), auth=TOKEN, limits=limits, eager=eager) as served:
            await drive(served, script)

    caplog.clear()
    trio.run(run, clock=MockClock(autojump_threshold=0))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
