"""Events, subscriptions and replay (WIRE.md sections 3 and 4)."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Context, Router
from poppo_ipc.errors import DeclarationError, FrameTooLarge
from poppo_ipc.limits import Limits
from poppo_ipc.protocol import encode
from poppo_ipc.server import EventLog, Server, _fanout

from .rawclient import RawClient, Serve, command, fault, in_jumping_time, wire

pytestmark = in_jumping_time


async def names(client: RawClient, count: int) -> list[str]:
    messages = await client.recv_many(count)
    assert all(message["type"] == "event" for message in messages), messages
    return [message["event"] for message in messages]


async def test_an_original_client_gets_every_event(serve: Serve) -> None:
    async with serve(auth="t") as served:
        original, other = await served.connect(), await served.connect()
        await original.auth_as_original("t")
        await other.auth("cancel", token="t")
        await served.server.publish("task.completed", {"taskId": "1"})
        await served.server.publish("anything")
        for client in (original, other):
            first, second = await client.recv_many(2)
            assert (first["type"], first["event"], first["data"]) == ("event", "task.completed", {"taskId": "1"})
            assert (second["event"], second["data"]) == ("anything", {})


async def test_without_authentication_at_once_after_welcome(serve: Serve) -> None:
    async with serve() as served:
        client = await served.connect_silently()
        await wait_all_tasks_blocked()
        await served.server.publish("hello")
        assert (await client.recv())["type"] == "welcome"
        assert await names(client, 1) == ["hello"]


async def test_a_subscriber_gets_what_it_asked_for(serve: Serve) -> None:
    async with serve() as served:
        client = await served.client("subscribe")
        publish = served.server.publish
        await publish("task.early")
        result = await client.subscribe("task.*", "deep.**.end")
        assert result.keys() == {"subscriptionId", "gap", "missed", "seq"}
        assert (result["gap"], result["missed"], result["seq"]) == (False, 0, 1)
        for name in ("task", "task.one", "task.one.two", "other.x", "deep.end", "deep.a.b.end", "deep.a.b", "task.two"):
            await publish(name)
        assert await names(client, 4) == ["task.one", "deep.end", "deep.a.b.end", "task.two"]
        await client.nothing_comes()


async def test_all_events_by_two_stars(serve: Serve) -> None:
    async with serve() as served:
        client = await served.client("subscribe")
        await client.subscribe("**")
        for name in ("a", "b.c", "d.e.f"):
            await served.server.publish(name)
        assert await names(client, 3) == ["a", "b.c", "d.e.f"]


async def test_an_event_that_matches_several_times_is_sent_once(serve: Serve) -> None:
    async with serve() as served:
        client = await served.client("subscribe")
        await client.subscribe("task.*", "task.*", "**", "task.done")
        second = await client.subscribe("task.done")
        await served.server.publish("task.done")
        assert await names(client, 1) == ["task.done"]
        await client.nothing_comes()
        await client.call("events.unsubscribe", args={"subscriptionId": second["subscriptionId"]})
        await served.server.publish("task.done")
        assert await names(client, 1) == ["task.done"]
        await client.nothing_comes()


async def test_unsubscribe(serve: Serve) -> None:
    async with serve() as served:
        client, other = await served.client("subscribe"), await served.client("subscribe")
        result = await client.subscribe("a.*")
        await other.subscribe("a.*")
        args = {"subscriptionId": result["subscriptionId"]}
        assert (await other.error("events.unsubscribe", args=args))["code"] == "NOT_FOUND"
        assert await client.call("events.unsubscribe", args=args) == {}
        assert (await client.error("events.unsubscribe", args=args))["code"] == "NOT_FOUND"
        await served.server.publish("a.b")
        assert await names(other, 1) == ["a.b"]
        await client.nothing_comes()


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({}, "events"),
        ({"events": []}, "events"),
        ({"events": "task.*"}, "events"),
        ({"events": ["ok", "a..b"]}, "events[1]"),
        ({"events": ["a*"]}, "events[0]"),
        ({"events": [""]}, "events[0]"),
        ({"events": ["x" * 300]}, "events[0]"),
        ({"events": ["a"], "since": {"epoch": 1, "seq": 0}}, "since.epoch"),
        ({"events": ["a"], "since": {"epoch": "e", "seq": -1}}, "since.seq"),
        ({"events": ["a"], "since": {"epoch": "e", "seq": True}}, "since.seq"),
        ({"events": ["a"], "since": {}}, "since.epoch"),
        ({"events": ["a"], "since": 5}, "since"),
    ],
)
async def test_subscriptions_that_make_no_sense(serve: Serve, args: dict[str, Any], field: str) -> None:
    async with serve() as served:
        client = await served.client("subscribe", "replay")
        error = await client.error("events.subscribe", args=args)
        assert error["code"] == "INVALID_ARGS"
        assert error["details"]["field"] == field
        (info,) = served.server.sessions
        assert info.subscriptions == 0


async def test_subscriptions_are_bounded(serve: Serve) -> None:
    async with serve(limits=Limits(subscriptions_per_client=3)) as served:
        client = await served.client("subscribe")
        error = await client.error("events.subscribe", args={"events": list("abcd")})
        assert (error["code"], error["details"]) == ("BUSY", {"limit": 3})
        for name in "abc":
            await client.subscribe(name)
        assert (await client.error("events.subscribe", args={"events": ["d"]}))["code"] == "BUSY"


async def test_subscribe_belongs_to_its_capability(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        for name, args in (("events.subscribe", {"events": ["a"]}), ("events.unsubscribe", {"subscriptionId": "x"})):
            assert (await client.error(name, args=args))["code"] == "UNKNOWN_COMMAND"


async def test_seq_grows_by_one_per_event(serve: Serve) -> None:
    async with serve() as served:
        client = await served.connect()
        answer = await client.auth("subscribe", "replay")
        assert answer["seq"] == 0
        await client.subscribe("**")
        assert [await served.server.publish("x"), served.server.publish_nowait("y")] == [1, 2]
        assert [message["seq"] for message in await client.recv_many(2)] == [1, 2]
        other = await served.connect()
        assert (await other.auth("replay"))["seq"] == 2


async def test_replay_then_live(serve: Serve) -> None:
    async with serve() as served:
        client = await served.connect()
        epoch = (await client.auth("subscribe", "replay"))["epoch"]
        for number in range(10):
            await served.server.publish("even" if number % 2 == 0 else "odd", {"n": number})
        result = await client.subscribe("even", since={"epoch": epoch, "seq": 3})
        assert (result["gap"], result["missed"], result["seq"]) == (False, 0, 10)
        await served.server.publish("even", {"n": 10})
        assert [message["data"]["n"] for message in await client.recv_many(4)] == [4, 6, 8, 10]
        for seq, gap in ((10, False), (11, False), (12, True)):
            result = await client.subscribe("odd", since={"epoch": epoch, "seq": seq})
            assert (result["gap"], result["missed"]) == (gap, None if gap else 0)
        await client.nothing_comes()


async def test_a_gap_is_told(serve: Serve) -> None:
    async with serve(limits=Limits(kept_events=5)) as served:
        client = await served.connect()
        epoch = (await client.auth("subscribe", "replay"))["epoch"]
        for number in range(1, 11):
            await served.server.publish("e", {"n": number})
        for seq, gap, missed, replayed in (
            (0, True, 5, [6, 7, 8, 9, 10]),
            (4, True, 1, [6, 7, 8, 9, 10]),
            (5, False, 0, [6, 7, 8, 9, 10]),
            (9, False, 0, [10]),
            (10, False, 0, []),
        ):
            result = await client.subscribe("e", since={"epoch": epoch, "seq": seq})
            assert (result["gap"], result["missed"]) == (gap, missed)
            assert [message["seq"] for message in await client.recv_many(len(replayed))] == replayed
        result = await client.subscribe("e", since={"epoch": "another", "seq": 3})
        assert (result["gap"], result["missed"]) == (True, None)
        assert [message["seq"] for message in await client.recv_many(5)] == [6, 7, 8, 9, 10]


async def test_kept_events_are_bounded_in_bytes(serve: Serve) -> None:
    async with serve(limits=Limits(kept_event_bytes=1000)) as served:
        for _ in range(50):
            await served.server.publish("e", {"text": "x" * 100})
        assert 3 <= served.server.statistics().kept_events <= 5
        await served.server.publish("e", {"text": "x" * 2000})
        assert served.server.statistics().kept_events == 0
        assert served.server.statistics().seq == 51


async def test_since_is_ignored_without_its_capability(serve: Serve) -> None:
    async with serve() as served:
        client = await served.client("subscribe")
        await served.server.publish("e")
        result = await client.subscribe("e", since={"epoch": "x", "seq": 0})
        assert (result["gap"], result["missed"], result["seq"]) == (False, 0, 1)
        await client.nothing_comes()


async def test_the_answer_then_the_replay_then_what_is_live(serve: Serve) -> None:
    """Publishes race with the subscription in the same ticks; nothing is lost, doubled or out of order."""
    async with serve() as served:
        client = await served.connect()
        epoch = (await client.auth("subscribe", "replay"))["epoch"]
        stop = False

        async def publishing() -> None:
            while not stop:
                served.server.publish_nowait("e")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publishing)
            for round_number in range(20):
                for _ in range(round_number % 3):
                    await trio.lowlevel.checkpoint()
                since = {"epoch": epoch, "seq": served.server.fanout.log.seq // 2}
                result = await client.subscribe("e", since=since)
                expected = list(range(since["seq"] + 1, result["seq"] + 6))
                assert [message["seq"] for message in await client.recv_many(len(expected))] == expected
                await client.command("u", "events.unsubscribe", args={"subscriptionId": result["subscriptionId"]})
                while (message := await client.recv())["type"] == "event":
                    pass
                assert message["id"] == "u"
            stop = True


async def test_a_subscription_in_a_batch_with_what_it_is_to_see(serve: Serve) -> None:
    router = Router()

    @router.command("tell")
    async def tell(ctx: Context, n: int) -> int:
        return await ctx.publish("told", {"n": n})

    async with serve(router) as served:
        client = await served.client("subscribe")
        await client.send_bytes(
            command("1", "tell", args={"n": 1}),
            command("s", "events.subscribe", args={"events": ["told"]}),
            command("2", "tell", args={"n": 2}),
        )
        messages = await client.recv_many(4)
        at = [message.get("id") for message in messages].index("s")
        seen = [message["seq"] for message in messages if message["type"] == "event"]
        assert seen == list(range(messages[at]["result"]["seq"] + 1, 3))
        assert all(message["type"] != "event" for message in messages[:at])


async def test_a_replay_larger_than_the_outbox_arrives_whole(serve: Serve) -> None:
    async with serve(limits=Limits(outbox_bytes=10_000)) as served:
        client = await served.connect()
        epoch = (await client.auth("subscribe", "replay"))["epoch"]
        for number in range(1, 1001):
            await served.server.publish("e", {"text": "x" * 1000, "n": number})
        await client.subscribe("e", since={"epoch": epoch, "seq": 0})
        for number in range(1001, 1006):
            await served.server.publish("e", {"text": "live", "n": number})
        await wait_all_tasks_blocked()
        assert [message["seq"] for message in await client.recv_many(1005)] == list(range(1, 1006))
        assert served.server.sessions[0].dropped_events == 0


async def test_many_replays_do_not_pile_up(serve: Serve) -> None:
    """Replays did not count as waiting, so a client that never read could ask for any number of them."""
    async with serve(limits=Limits(outbox_bytes=10_000)) as served:
        client = await served.connect()
        epoch = (await client.auth("subscribe", "replay"))["epoch"]
        for _ in range(300):
            await served.server.publish("e", {"text": "x" * 1000})
        args = {"events": ["e"], "since": {"epoch": epoch, "seq": 0}}
        await client.send_bytes(*(command(str(n), "events.subscribe", args=args) for n in range(20)))
        await wait_all_tasks_blocked()
        assert served.server.sessions[0].subscriptions <= 2
        messages = await client.recv_many(20 + 20 * 300)
        assert Counter(message["type"] for message in messages) == {"response": 20, "event": 6000}


async def test_one_encoding_serves_all(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []

    def counting(message: Any, limit: int) -> bytes:
        encoded.append(message.event)
        return encode(message, limit)

    monkeypatch.setattr(_fanout, "encode", counting)
    async with serve() as served:
        clients = [await served.client("subscribe", "replay") for _ in range(5)] + [await served.original()]
        for number, client in enumerate(clients[:5]):
            await client.subscribe("**", *["e"] * number)
        await served.server.publish("e", {"text": "é"})
        payloads = {await client.recv_payload() for client in clients}
        assert len(payloads) == 1
        assert encoded == ["e"]


async def test_send_to_one_client(serve: Serve) -> None:
    async with serve(auth="t") as served:
        client, other = await served.connect(), await served.connect()
        await client.auth("subscribe", token="t")
        await other.auth_as_original("t")
        stranger = await served.connect()
        infos = {info.authenticated: info for info in served.server.sessions if "subscribe" in info.capabilities}
        (unknown,) = (info for info in served.server.sessions if not info.authenticated)
        assert await served.server.send_to(infos[True], "for.you", {"n": 1}) is True
        assert await served.server.send_to(infos[True].id, "for.you") is True
        assert await served.server.send_to(unknown, "too.early") is False
        assert await served.server.send_to("nobody", "x") is False
        first, second = await client.recv_many(2)
        assert (first["event"], first["data"], second["data"]) == ("for.you", {"n": 1}, {})
        assert "seq" not in first
        assert served.server.statistics().seq == 0
        for each in (other, stranger):
            await each.nothing_comes()
        await client.aclose()
        await wait_all_tasks_blocked()
        assert await served.server.send_to(infos[True], "gone") is False


async def test_events_that_cannot_be(serve: Serve) -> None:
    async with serve(limits=Limits(frame_bytes=70_000)) as served:
        client = await served.original()
        for name, data, error in (
            ("a b", {}, DeclarationError),
            ("", {}, DeclarationError),
            ("big", {"x": "y" * 70_000}, FrameTooLarge),
            ("odd", {"x": object()}, TypeError),
        ):
            with pytest.raises(error):
                await served.server.publish(name, data)
        await served.server.publish("fine")
        assert (await client.recv())["seq"] == 1


async def test_published_before_anybody_serves() -> None:
    server = Server(Router(), address="memory:never", log=EventLog(10, 1000, epoch="e", seq=41))
    assert server.publish_nowait("early") == 42


async def test_what_goes_with_a_client(serve: Serve) -> None:
    async with serve() as served:
        fanout = served.server.fanout
        for _ in range(10):
            client, original = await served.client("subscribe"), await served.original()
            await client.subscribe("a.*", "**")
            await client.aclose()
            await original.aclose()
        gone = await served.connect_silently()
        await gone.aclose()
        await wait_all_tasks_blocked()
        assert fanout._broadcast == {}
        assert fanout._index.match("a.b") == set()
        assert fanout._dirty == {}
        await served.server.publish("a.b")


async def test_a_ping_gets_its_pong_and_unknown_ids_are_no_matter(serve: Serve) -> None:
    async with serve() as served:
        client = await served.client("ping")
        request_id = secrets.token_hex(8)
        await client.send_bytes(wire(type="pong", id="unasked"), wire(type="ping", id=request_id))
        assert (await client.answer(request_id))["type"] == "pong"
        await client.send(type="ping", id=7)
        assert fault(await client.recv())["code"] == "BAD_MESSAGE"
