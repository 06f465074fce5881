"""A client that reads too slowly (WIRE.md section 5)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Router
from poppo_ipc.limits import Limits, Overflow

from .rawclient import Message, RawClient, Serve, command, in_jumping_time, wire

pytestmark = in_jumping_time
# The memory pipe takes 64 KiB of these, and the outbox the rest.
LIMITS = Limits(outbox_bytes=100_000)
TEXT = "x" * 1000


def router() -> Router:
    made = Router()

    @made.command("big")
    def big(size: int = 1000) -> str:
        return "x" * size

    return made


async def events_until(client: RawClient, last: int) -> list[Message]:
    """Events up to the one that was published last; `n` counts them from 1."""
    messages: list[Message] = []
    while not messages or messages[-1]["data"].get("n") != last:
        messages.append(await client.recv())
        assert messages[-1]["type"] == "event"
    return messages


def accounts(messages: list[Message], published: int) -> list[Message]:
    """What was told of losses; and received + told = published, by number too."""
    told = [message["data"] for message in messages if message["event"] == "ipc.events-dropped"]
    seen = [message["seq"] for message in messages if message["event"] != "ipc.events-dropped"]
    lost: set[int] = set()
    for each in told:
        assert each.keys() == {"dropped", "firstSeq", "lastSeq"}
        lost |= set(range(each["firstSeq"], each["lastSeq"] + 1))
    assert seen == sorted(set(seen))
    assert len(seen) + sum(each["dropped"] for each in told) == published
    assert lost | set(seen) == set(range(1, published + 1))
    assert not lost & set(seen)
    return told


@pytest.mark.parametrize("policy", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
async def test_what_was_dropped_is_told_once_per_episode(serve: Serve, policy: Overflow) -> None:
    limits = Limits(outbox_bytes=100_000, overflow=policy)
    async with serve(limits=limits) as served:
        client, other = await served.original(), await served.original()
        messages = []
        number = 0
        for episode in (1, 2):
            for _ in range(500):
                number += 1
                await served.server.publish("e", {"text": TEXT, "n": number})
                await other.recv()
            await wait_all_tasks_blocked()
            while served.server.sessions[0].outbox_bytes:
                messages.append(await client.recv())
                await wait_all_tasks_blocked()
            number += 1
            await served.server.publish("e", {"n": number})
            await other.recv()
            while messages[-1]["data"].get("n") != number:
                messages.append(await client.recv())
            assert len(accounts(messages, number)) == episode
        info = next(each for each in served.server.sessions if each.dropped_events)
        assert sum(each["dropped"] for each in accounts(messages, number)) == info.dropped_events


async def test_drop_oldest_keeps_the_newest(serve: Serve) -> None:
    async with serve(limits=LIMITS) as served:
        client = await served.original()
        for number in range(1, 1001):
            await served.server.publish("e", {"text": TEXT, "n": number})
        messages = await events_until(client, 1000)
        (loss,) = accounts(messages, 1000)
        assert loss["dropped"] > 800
        # What it had and what it kept is whole: only one hole, and that is told ahead of what follows it.
        at = [message["event"] for message in messages].index("ipc.events-dropped")
        assert messages[at + 1]["seq"] == loss["lastSeq"] + 1
        assert messages[at - 1]["seq"] == loss["firstSeq"] - 1


async def test_disconnect(serve: Serve) -> None:
    async with serve(limits=Limits(outbox_bytes=100_000, overflow=Overflow.DISCONNECT)) as served:
        _, other = await served.original(), await served.original()
        for number in itertools.count(1):
            await served.server.publish("e", {"text": TEXT, "n": number})
            assert (await other.recv())["seq"] == number
            if len(served.server.sessions) == 1:
                break
        assert 140 < number < 170
        await served.server.publish("e")
        assert (await other.recv())["seq"] == number + 1


async def test_one_clients_slowness_delays_no_other(serve: Serve) -> None:
    async with serve(router(), limits=LIMITS) as served:
        slow = await served.original()
        others = [await served.original() for _ in range(3)]
        began = trio.current_time()
        for number in range(1, 1001):
            await served.server.publish("e", {"text": TEXT, "n": number})
            for other in others:
                assert (await other.recv())["data"]["n"] == number
        assert await others[0].call("big") == TEXT
        assert trio.current_time() == began
        assert slow.received < 1000
        assert [info.dropped_events > 0 for info in served.server.sessions] == [True, False, False, False]


@pytest.mark.parametrize("by", ["events", "answers", "both", "stream"])
async def test_a_client_that_takes_nothing_is_disconnected(serve: Serve, by: str) -> None:
    """Of events alone the outbox was never quite full, so that such a client stayed for ever."""
    made = router()

    @made.command("flood")
    async def flood() -> AsyncIterator[str]:
        while True:
            yield TEXT

    async with serve(made, limits=LIMITS) as served:
        client = await served.client("stream")
        other = await served.client("subscribe")
        began = trio.current_time()
        if by in ("answers", "both"):
            await client.send_bytes(*(command(str(n), "big") for n in range(300)))
            await wait_all_tasks_blocked()
        if by in ("events", "both"):
            for number in range(300):
                await served.server.publish("e", {"text": TEXT * (1 + number % 3)})
        if by == "stream":
            await client.command("f", "flood")
        await trio.sleep(29.9)
        assert len(served.server.sessions) == 2
        await trio.sleep(0.2)
        assert len(served.server.sessions) == 1
        assert await other.call("big") == TEXT
        assert trio.current_time() - began == pytest.approx(30.1)


async def test_any_byte_taken_begins_the_time_anew(serve: Serve) -> None:
    async with serve(limits=Limits(outbox_bytes=100_000, stall_seconds=10)) as served:
        client = await served.original()
        await wait_all_tasks_blocked()
        for _ in range(10):
            for _ in range(300):
                await served.server.publish("e", {"text": TEXT})
            await trio.sleep(9)
            assert len(served.server.sessions) == 1
            assert client.stream.receive_nowait(100)
            await wait_all_tasks_blocked()
        for _ in range(300):
            await served.server.publish("e", {"text": TEXT})
        await trio.sleep(9.9)
        assert len(served.server.sessions) == 1
        await trio.sleep(0.2)
        assert len(served.server.sessions) == 0


async def test_an_outbox_that_is_not_full_has_time(serve: Serve) -> None:
    async with serve(limits=LIMITS) as served:
        client = await served.original()
        for _ in range(100):
            await served.server.publish("e", {"text": TEXT})
        assert 0 < served.server.sessions[0].outbox_bytes < LIMITS.outbox_bytes
        await trio.sleep(3600)
        assert len(served.server.sessions) == 1
        assert len(await client.recv_many(100)) == 100


async def test_answers_are_never_dropped_and_the_client_is_not_read_from(serve: Serve) -> None:
    async with serve(router(), limits=LIMITS) as served:
        client = await served.original()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_bytes, b"".join(command(str(n), "big") for n in range(2_000)))
            await wait_all_tasks_blocked()
            (info,) = served.server.sessions
            assert LIMITS.outbox_bytes <= info.outbox_bytes < LIMITS.outbox_bytes + 2_000
            assert info.commands < 200
            read_so_far = info.bytes_in
            for _ in range(10):
                await served.server.publish("e")
            await trio.sleep(1)
            assert served.server.sessions[0].bytes_in == read_so_far
            messages = await client.recv_many(2_001)
        events = [message for message in messages if message["type"] == "event"]
        assert [event["data"] for event in events] == [{"dropped": 10, "firstSeq": 1, "lastSeq": 10}]
        assert [message["id"] for message in messages if message not in events] == [str(n) for n in range(2_000)]


async def test_a_full_outbox_keeps_a_client_from_being_read(serve: Serve) -> None:
    async with serve(router(), limits=LIMITS) as served:
        client = await served.original()
        await client.command("1", "big", args={"size": 1_000_000})
        await wait_all_tasks_blocked()
        await client.command("2", "big")
        await wait_all_tasks_blocked()
        assert served.server.sessions[0].commands == 1
        assert [message["id"] for message in await client.recv_many(2)] == ["1", "2"]


async def test_one_answer_larger_than_the_outbox(serve: Serve) -> None:
    async with serve(router(), limits=LIMITS) as served:
        client = await served.original()
        await client.send_bytes(command("1", "big", args={"size": 1_000_000}), command("2", "big"))
        assert len((await client.answer("1"))["result"]) == 1_000_000
        assert (await client.answer("2"))["result"] == TEXT


async def test_a_pong_overtakes_the_queue(serve: Serve) -> None:
    async with serve(limits=Limits(outbox_bytes=2_000_000)) as served:
        client = await served.client("ping")
        for _ in range(1_500):
            await served.server.publish("e", {"text": TEXT})
        await client.send_bytes(wire(type="ping", id="1"), wire(type="ping", id="2"))
        await wait_all_tasks_blocked()
        messages = await client.recv_many(1_502)
        at = [message["type"] for message in messages].index("pong")
        # What was being written goes first: some 256 KiB.
        assert at < 400
        assert [message["id"] for message in messages[at : at + 2]] == ["1", "2"]


async def test_a_pong_overtakes_even_the_notice_of_a_loss(serve: Serve) -> None:
    async with serve(limits=LIMITS) as served:
        client = await served.client("ping")
        await served.server.publish("e", {"text": "y" * 70_000})
        await wait_all_tasks_blocked()
        for _ in range(200):
            await served.server.publish("e", {"text": TEXT})
        await client.send(type="ping", id="p")
        await wait_all_tasks_blocked()
        messages = await client.recv_many(3)
        assert [message.get("event", message["type"]) for message in messages] == ["e", "pong", "ipc.events-dropped"]


async def test_a_large_event_reaches_who_keeps_up(serve: Serve) -> None:
    async with serve(limits=Limits(outbox_bytes=100_000, overflow=Overflow.DISCONNECT)) as served:
        client = await served.original()
        await served.server.publish("e", {"text": "x" * 500_000})
        assert len((await client.recv())["data"]["text"]) == 500_000
