"""Subscriptions and streams over real connections."""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest

from poppo_ipc.client import Backoff, Event, Gap, GapReason, Position, connect
from poppo_ipc.commands import CommandSpec, NoArgs
from poppo_ipc.errors import (
    Busy,
    CallTimeout,
    ConnectionClosed,
    ConnectionLost,
    Forbidden,
    OutcomeUnknown,
    ShuttingDown,
)
from poppo_ipc.protocol import Cancel, Command, Credit

from .peer import Original, Peer, serving

pytestmark = pytest.mark.anyio
QUICK = Backoff(start=0.001, cap=0.001)


def seqs(things: list[Event | Gap]) -> list[Any]:
    return [thing.seq if isinstance(thing, Event) else thing for thing in things]


async def take(events: Any, count: int) -> list[Any]:
    return seqs([await anext(events) for _ in range(count)])


async def test_overlapping_subscriptions_each_get_an_event_that_is_sent_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        first = await peer.subscribe("one")
        assert first.args == {"events": ["task.*"]}
        await peer.event("task.started", {"taskId": "t"}, 1)
        await peer.subscribe("two", seq=1)
        await peer.event("task.completed", {}, 2)
        await peer.event("queue.paused", {}, 3)
        for sid in ("two", "one"):
            ended = await peer.command("events.unsubscribe")
            assert ended.args == {"subscriptionId": sid}
            # No answer: the client waits for none, and may have closed by now.
        assert await peer.until_closed() == []

    async with serving(script) as address, connect(address) as client:
        async with client.subscribe("task.*") as tasks, client.subscribe("**") as everything:
            event = await anext(tasks)
            assert isinstance(event, Event)
            assert (event.name, event.data, event.seq) == ("task.started", {"taskId": "t"}, 1)
            assert event.timestamp > 0
            assert await take(tasks, 1) == [2]
            assert await take(everything, 2) == [2, 3]
            assert everything.position == Position("e1", 3)
        assert [event async for event in tasks] == []


async def test_events_go_on_over_a_reconnect() -> None:
    async def first(peer: Peer) -> None:
        await peer.settle(seq=4)
        await peer.subscribe(seq=4)
        await peer.event("a", seq=5)
        await peer.event("a", seq=6)

    async def second(peer: Peer) -> None:
        await peer.settle(seq=8)
        command = await peer.subscribe(seq=8)
        assert command.args["since"] == {"epoch": "e1", "seq": 6}
        for seq in (7, 8, 9):
            await peer.event("a", seq=seq)
        await peer.until_closed()

    async with (
        serving(first, second) as address,
        connect(address, backoff=QUICK) as client,
        client.subscribe("a") as events,
    ):
        assert await take(events, 5) == [5, 6, 7, 8, 9]


async def test_what_is_repeated_for_one_is_not_taken_for_anothers() -> None:
    async def first(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe("a")
        await peer.subscribe("all")

    async def second(peer: Peer) -> None:
        await peer.settle(seq=8)
        await peer.subscribe("a", seq=8)
        await peer.event("a", seq=8)  # before the other subscription, which has not had 7 yet, is made again
        await peer.subscribe("all", seq=8)
        await peer.event("c", seq=7)
        await peer.event("a", seq=8)
        await peer.event("c", seq=9)
        await peer.until_closed()

    async with (
        serving(first, second) as address,
        connect(address, backoff=QUICK) as client,
        client.subscribe("a") as one,
        client.subscribe("**") as everything,
    ):
        assert await take(everything, 3) == [7, 8, 9]
        assert await take(one, 1) == [8]


async def test_after_a_restart_there_is_a_gap() -> None:
    async def first(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe()
        await peer.event("a", seq=1)

    async def second(peer: Peer) -> None:
        await peer.settle(epoch="e2")
        await peer.subscribe(seq=2, gap=True, missed=None)
        await peer.event("a", seq=1)
        await peer.until_closed()

    async with (
        serving(first, second) as address,
        connect(address, backoff=QUICK) as client,
        client.subscribe("a") as events,
    ):
        assert await take(events, 3) == [1, Gap(None, GapReason.RESTARTED), 1]


async def test_a_program_goes_on_where_another_left_off() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle(seq=9)
        command = await peer.subscribe(seq=9)
        assert command.args["since"] == {"epoch": "e1", "seq": 7}
        await peer.event("a", seq=8)
        await peer.until_closed()

    async with (
        serving(script) as address,
        connect(address) as client,
        client.subscribe("a", since=Position("e1", 7)) as events,
    ):
        assert await take(events, 1) == [8]


async def test_an_original_sends_everything_and_the_client_picks() -> None:
    async def first(peer: Original) -> None:
        await peer.welcome()
        await subscribed.wait()
        await peer.send(type="event", event="task.completed", data={"taskId": "1"})
        await peer.send(type="event", event="other", data={})
        await peer.send(type="event", event="task.failed", data={})

    async def second(peer: Original) -> None:
        await peer.welcome()
        await peer.send(type="event", event="task.completed", data={"taskId": "2"})
        await peer.until_closed()

    subscribed = anyio.Event()
    async with (
        serving(first, second, kind=Original) as address,
        connect(address, backoff=QUICK) as client,
        client.subscribe("task.*") as events,
    ):
        subscribed.set()
        things = [await anext(events) for _ in range(4)]
        assert [getattr(thing, "name", thing) for thing in things] == [
            "task.completed",
            "task.failed",
            Gap(None, GapReason.NO_REPLAY),
            "task.completed",
        ]
        assert events.position is None


async def test_a_slow_subscriber_holds_up_nothing_else() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe("slow")
        await peer.subscribe("quick")
        await peer.send(*[peer.event_frame("a", {}, seq) for seq in range(1, 5001)])
        await peer.respond(await peer.command("x"), "answered")
        await peer.until_closed()

    async with (
        serving(script) as address,
        connect(address) as client,
        client.subscribe("a", buffer=10) as slow,
        client.subscribe("a", buffer=5000) as quick,
    ):
        assert await take(quick, 5000) == list(range(1, 5001))
        assert await client.call("x") == "answered"
        assert await take(slow, 11) == [Gap(4990, GapReason.SLOW_CONSUMER), *range(4991, 5001)]


async def test_what_the_server_dropped_comes_out_in_place() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe()
        await peer.event("a", {}, 1)
        await peer.event("ipc.events-dropped", {"dropped": 3, "firstSeq": 2, "lastSeq": 4})
        await peer.event("a", {}, 5)
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client, client.subscribe("**") as events:
        assert await take(events, 3) == [1, Gap(3, GapReason.SERVER_DROPPED), 5]


async def test_a_subscription_that_is_refused() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.fail(await peer.command("events.subscribe"), Forbidden("not for you"))
        assert await peer.until_closed() == []

    async with serving(script) as address, connect(address) as client:
        with pytest.raises(Forbidden):
            async with client.subscribe("a"):
                pytest.fail("subscribed")


async def test_one_that_is_refused_on_the_way_back_ends_and_the_others_go_on() -> None:
    async def first(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe()
        await peer.subscribe()

    async def second(peer: Peer) -> None:
        await peer.settle()
        await peer.fail(await peer.command("events.subscribe"), Busy("too many"))
        await peer.subscribe()
        await peer.event("b", {}, 1)
        await peer.until_closed()

    async with (
        serving(first, second) as address,
        connect(address, backoff=QUICK) as client,
        client.subscribe("a") as one,
        client.subscribe("b") as other,
    ):
        with pytest.raises(Busy):
            await anext(one)
        assert await take(other, 1) == [1]


async def test_a_server_that_is_stopping_is_asked_again_when_it_is_back() -> None:
    async def first(peer: Peer) -> None:
        await peer.settle()
        await peer.fail(await peer.command("events.subscribe"), ShuttingDown("stopping"))

    async def second(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe()
        await peer.event("a", {}, 1)
        await peer.until_closed()

    async with (
        serving(first, second) as address,
        connect(address, backoff=QUICK) as client,
        client.subscribe("a") as events,
    ):
        assert await take(events, 1) == [1]


async def test_a_subscription_that_is_not_answered() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.command("events.subscribe")
        done = await peer.command("x")
        # Agreed after all, too late: the client gives it back.
        await peer.respond(command, {"subscriptionId": "late", "gap": False, "missed": 0, "seq": 0})
        ended = await peer.command("events.unsubscribe")
        assert ended.args == {"subscriptionId": "late"}
        await peer.respond(done, 1)
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client:
        with pytest.raises(CallTimeout):
            async with client.subscribe("a", timeout=0.02):
                pytest.fail("subscribed")
        assert await client.call("x") == 1


async def test_the_end_of_the_client_ends_the_iteration() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe()
        await peer.event("a", {}, 1)
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client, client.subscribe("a") as events:
        assert await take(events, 1) == [1]
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(ConnectionClosed):
                    await anext(events)

            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await client.aclose()


@pytest.mark.parametrize("patterns", [(), ("a..b",), ("a*",), ("",)])
async def test_malformed_patterns_are_refused_here(patterns: tuple[str, ...]) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        assert await peer.until_closed() == []

    async with serving(script) as address, connect(address) as client:
        with pytest.raises(ValueError, match="pattern"):
            client.subscribe(*patterns)


# -- streams ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Line:
    line_text: str


TAIL = CommandSpec("tail", NoArgs, dict[str, int], item=Line, idempotent=True)


async def test_items_come_as_there_is_credit() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.command("count")
        assert command.credit == 4
        assert command.timeout_ms is not None  # absent: no limit unless asked for
        assert not isinstance(command.timeout_ms, int)
        credit, sent = 4, 0
        while sent < 10:
            while not credit:
                more = await peer.recv(Credit)
                assert more.id == command.id
                credit += more.credit
            await peer.send(peer.connection.item(command.id, sent))
            credit, sent = credit - 1, sent + 1
            assert sent <= taken[0] + 4
        await peer.respond(command, {"total": 10})
        await peer.until_closed()

    taken = [0]
    async with serving(script) as address, connect(address) as client:
        async with client.stream("count", credit=4) as items:
            got = []
            async for item in items:
                got.append(item)
                taken[0] += 1
                await anyio.wait_all_tasks_blocked()
        assert got == list(range(10))
        assert items.result == {"total": 10}


async def test_leaving_early_cancels() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.command("count")
        await peer.send(*[peer.connection.item(command.id, n) for n in range(10)])
        assert (await peer.recv(Cancel)).id == command.id
        await peer.respond(await peer.command("y"), "y")
        assert await peer.until_closed() == []

    async with serving(script) as address, connect(address) as client:
        async with client.stream("count") as items:
            assert await anext(items) == 0
            with pytest.raises(RuntimeError):
                _ = items.result
        with pytest.raises(RuntimeError):
            _ = items.result
        assert await client.call("y") == "y"


async def test_typed_items() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.command("tail")
        await peer.send(
            peer.connection.item(command.id, {"lineText": "x"}), peer.connection.respond(command.id, {"count": 1})
        )
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client, client.stream(TAIL, NoArgs()) as items:
        assert [item async for item in items] == [Line("x")]
        assert items.result == {"count": 1}


async def test_an_error_ends_the_items_that_came() -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.command("tail")
        await peer.send(peer.connection.item(command.id, 1), peer.connection.fail(command.id, Busy("enough")))
        await peer.until_closed()

    async with serving(script) as address, connect(address) as client, client.stream("tail") as items:
        assert await anext(items) == 1
        with pytest.raises(Busy):
            await anext(items)


async def test_at_an_original_there_is_only_the_result() -> None:
    async def script(peer: Original) -> None:
        await peer.welcome()
        command = await peer.recv()
        await peer.send(type="response", id=command["id"], success=True, result={"lines": [1, 2]})
        await peer.until_closed()

    async with serving(script, kind=Original) as address, connect(address) as client, client.stream("tail") as items:
        assert [item async for item in items] == []
        assert items.result == {"lines": [1, 2]}


@pytest.mark.parametrize(
    ("idempotent", "sent", "error"),
    [(False, 0, OutcomeUnknown), (False, 1, OutcomeUnknown), (True, 1, ConnectionLost), (True, 0, None)],
)
async def test_a_stream_that_breaks(idempotent: bool, sent: int, error: type[Exception] | None) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.command("tail")
        assert not isinstance(command.idempotency_key, str)
        if sent:
            await peer.send(peer.connection.item(command.id, 0))

    async def again(peer: Peer) -> None:
        await peer.settle()
        if error is None:
            command = await peer.recv(Command)
            await peer.send(peer.connection.item(command.id, 7), peer.connection.respond(command.id, None))
        await peer.until_closed()

    async with (
        serving(script, again) as address,
        connect(address, backoff=QUICK) as client,
        client.stream("tail", idempotent=idempotent) as items,
    ):
        for _ in range(sent):
            assert await anext(items) == 0
        if error is None:
            assert [item async for item in items] == [7]
        else:
            with pytest.raises(error):
                await anext(items)
        async with client.state_changes() as changes:  # until the second script has begun
            async for change in changes:
                if change.state.value == "connected":
                    break
