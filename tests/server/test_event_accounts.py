"""Clients that read as they please: each gets just the events that it asked for, in order, or is told what it lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.commands import Router
from poppo_ipc.limits import Limits, Overflow
from poppo_ipc.protocol import matches
from poppo_ipc.server._fanout import Subscription

from .rawclient import Message, RawClient, Serve, Served, command, in_jumping_time, serve

CLIENTS = 3
LIMIT = 40_000
NAMES = ["a", "a.b", "a.c", "b"]
PATTERNS = ["a", "a.*", "**", "b", "nothing"]

who = st.integers(0, CLIENTS - 1)
tell = st.tuples(st.just("publish"), st.sampled_from(NAMES), st.sampled_from([1, 1, 5_000, 30_000, 60_000]))
acts = st.one_of(
    tell,
    tell,
    tell,
    st.tuples(st.just("send to"), who, st.sampled_from([1, 5_000])),
    st.tuples(st.just("ask"), who, st.integers(1, 3)),
    st.tuples(st.just("subscribe"), who, st.sampled_from(PATTERNS)),
    st.tuples(st.just("tick")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("drink"), who, st.sampled_from([1, 1_000, 30_000, 1_000_000])),
)


class Expected:
    """What a client that never misses anything would get: the number of each event, and the id of each answer."""

    def __init__(self, client: RawClient, session_id: str) -> None:
        self.client = client
        self.session_id = session_id
        self.patterns: list[str] = []
        self.messages: list[tuple[str, int]] = []
        self.raw = b""
        self.asked = 0

    def event(self, seq: int, name: str) -> None:
        if not self.patterns or any(matches(pattern, name) for pattern in self.patterns):
            self.messages.append(("event", seq))

    def drink(self, size: int) -> None:
        data = self.client.stream.receive_nowait(size) or b""
        self.client.received += len(data)
        self.raw += data

    def got(self) -> list[Message]:
        messages = []
        while self.raw:
            size = int.from_bytes(self.raw[5:9], "big")
            assert self.raw[:5] == b"POPPO"
            assert len(self.raw) >= 9 + size
            messages.append(json.loads(self.raw[9 : 9 + size]))
            self.raw = self.raw[9 + size :]
        return messages


def check(expected: Expected, published: int, keeping_up: bool) -> int:
    """Compare what a client got with what it should have; gives how many events were told as lost."""
    want = [each for each in expected.messages if each[0] != "answer"]
    at = 0
    lost: list[int] = []
    told: list[Message] = []
    answers = []
    for message in expected.got():
        match message:
            case {"type": "response", "id": request_id, "result": seq}:
                answers.append(request_id)
                # The event that the handler published comes ahead of its answer.
                assert not keeping_up or ("event", seq) not in want[at:]
            case {"event": "ipc.events-dropped", "data": data}:
                told.append(data)
            case {"type": "event"}:
                this = ("own", message["data"]["own"]) if "own" in message["data"] else ("event", message["seq"])
                # What comes between is lost.
                here = want.index(this, at)
                lost += [number for _, number in want[at:here]]
                at = here + 1
            case _:
                raise AssertionError(message)
    lost += [number for _, number in want[at:]]
    assert answers == [f"q{number}" for number in range(expected.asked)]
    # Each notice accounts for the next so many of them.
    assert sum(data["dropped"] for data in told) == len(lost)
    for data in told:
        these, lost = lost[: data["dropped"]], lost[data["dropped"] :]
        numbered = [number for number in these if number <= published]
        assert data["firstSeq"] == (min(numbered) if numbered else None)
        assert data["lastSeq"] == (max(numbered) if numbered else None)
    return sum(data["dropped"] for data in told)


async def run(schedule: list[tuple[Any, ...]], policy: Overflow, keeping_up: bool) -> None:
    router = Router()

    @router.command("tell")
    async def tell() -> int:
        """An event out of a handler, ahead of the answer."""
        seq = served.server.publish_nowait("a")
        for each in everybody:
            each.event(seq, "a")
        await trio.lowlevel.checkpoint()
        return seq

    everybody: list[Expected] = []
    limits = Limits(outbox_bytes=10_000_000 if keeping_up else LIMIT, overflow=policy)
    async with serve(router, limits=limits) as served:
        for _ in range(CLIENTS):
            client = await served.client("stream", "cancel")
            session_id = served.server.sessions[-1].id
            everybody.append(Expected(client, session_id))
        for number, act in enumerate(schedule):
            await perform(act, number, served, everybody)
        # The rest, however many pieces it comes in.
        waiting = True
        while waiting:
            await wait_all_tasks_blocked()
            waiting = any(info.outbox_bytes for info in served.server.sessions)
            for each in everybody:
                each.drink(1_000_000)
        published = served.server.statistics().seq
        infos = {info.id: info for info in served.server.sessions}
        for each in everybody:
            info = infos[each.session_id]
            dropped = check(each, published, keeping_up)
            assert info.dropped_events == dropped
            assert info.events == sum(kind != "answer" for kind, _ in each.messages)
            assert info.bytes_out == each.client.received
            assert not (keeping_up and dropped)


async def perform(act: tuple[Any, ...], number: int, served: Served, everybody: list[Expected]) -> None:
    server = served.server
    match act:
        case "publish", name, size:
            seq = server.publish_nowait(name, {"text": "x" * size})
            for each in everybody:
                each.event(seq, name)
        case "send to", at, size:
            own = 1_000_000 + number
            everybody[at].messages.append(("own", own))
            assert await server.send_to(everybody[at].session_id, "own", {"own": own, "text": "x" * size})
        case "ask", at, count:
            asked = everybody[at].asked
            everybody[at].asked += count
            frames = [command(f"q{asked + each}", "tell") for each in range(count)]
            everybody[at].client.stream.send_nowait(b"".join(frames))
        case "subscribe", at, pattern:
            # From within the server, at once: what a client asks for is not taken in while it is slow.
            everybody[at].patterns.append(pattern)
            subscribe(served, everybody[at], pattern)
        case ("tick",):
            await wait_all_tasks_blocked()
        case ("settle",):
            assert len(server.sessions) == CLIENTS
        case "drink", at, size:
            everybody[at].drink(size)


def subscribe(served: Served, expected: Expected, pattern: str) -> None:
    session = served.server._sessions[expected.session_id]
    served.server.fanout.remove_broadcast(session)
    subscription = Subscription(f"s{len(session.subscriptions)}", session, (pattern,))
    session.subscriptions[subscription.id] = subscription
    served.server.fanout.subscribe(subscription)


@pytest.mark.parametrize("keeping_up", [False, True])
@pytest.mark.parametrize("policy", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(schedule=st.lists(acts, max_size=40))
def test_every_event_is_received_or_told(policy: Overflow, keeping_up: bool, schedule: list[tuple[Any, ...]]) -> None:
    trio.run(run, schedule, policy, keeping_up, clock=MockClock(autojump_threshold=0))


@in_jumping_time
async def test_of_a_tick_that_does_not_fit_whole_events_can_be_dropped(serve: Serve) -> None:
    """What the kernel does not take of a joined write is queued event by event: only the one that is begun is due."""
    async with serve(limits=Limits(outbox_bytes=30_000)) as served:
        client = await served.original()
        for _ in range(12):
            served.server.publish_nowait("e", {"text": "x" * 10_000})
        await wait_all_tasks_blocked()
        (info,) = served.server.sessions
        # Six go out whole, one is begun.
        assert (info.events, info.dropped_events) == (12, 3)
        messages = [await client.recv() for _ in range(10)]
        assert [message.get("seq") for message in messages] == [1, 2, 3, 4, 5, 6, 7, None, 11, 12]
        assert messages[7]["data"] == {"dropped": 3, "firstSeq": 8, "lastSeq": 10}


@in_jumping_time
async def test_a_client_that_breaks_in_the_handing_over_takes_nobody_along(serve: Serve) -> None:
    async with serve() as served:
        clients = [await served.original() for _ in range(5)]
        for number in range(3):
            served.server.publish_nowait("e", {"n": number})
        await clients[2].aclose()
        await wait_all_tasks_blocked()
        for client in (*clients[:2], *clients[3:]):
            assert [message["data"]["n"] for message in await client.recv_many(3)] == [0, 1, 2]
        assert len(served.server.sessions) == 4


@in_jumping_time
async def test_counts_do_not_wait_for_the_tick(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        for _ in range(5):
            served.server.publish_nowait("e")
        (info,) = served.server.sessions
        assert info.events == 5
        assert info.outbox_bytes > 0
        assert len(await client.recv_many(5)) == 5
        await wait_all_tasks_blocked()
        (info,) = served.server.sessions
        assert (info.events, info.outbox_bytes) == (5, 0)
        assert client.stream.receive_nowait() is None
