"""The fan-out on its own: whatever is joined, shared or sent early, a client gets what a plain loop would give it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.protocol import matches
from poppo_ipc.server import EventLog, _fanout
from poppo_ipc.server._fanout import Fanout, Subscription
from poppo_ipc.server._outbox import Batch, EventFrame


class Recorder:
    """A listener that writes down what it is given, and may have other things queued."""

    def __init__(self, fanout: Fanout) -> None:
        self.fanout = fanout
        self.got: list[int | str] = []
        self.batches: list[Batch] = []
        self.flushes = 0

    def write_events(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.got += [event.seq or 0 for event in batch.events]
        assert batch.data == b"".join(event.frame for event in batch.events)

    def write_event(self, batch: Batch) -> None:
        assert len(batch.events) == 1
        self.write_events(batch)

    def queue_events(self, batch: Batch) -> None:
        self.write_events(batch)
        self.fanout.flush_soon(self)

    def flush(self) -> None:
        self.flushes += 1

    def answer(self, text: str) -> None:
        """As an outbox does it."""
        if self.fanout.coming:
            self.fanout.catch_up(self)
        self.got.append(text)


class Plain:
    """The same, said in the simplest way: every event goes to every client that wants it, at once."""

    def __init__(self) -> None:
        self.broadcast = False
        self.patterns: list[tuple[str, ...]] = []
        self.got: list[int | str] = []

    def event(self, seq: int, name: str) -> None:
        if self.broadcast or any(matches(pattern, name) for patterns in self.patterns for pattern in patterns):
            self.got.append(seq)


def made() -> Fanout:
    return Fanout(EventLog(1000, 10**6), 10**6)


def run(body: Callable[[Fanout], Awaitable[None]]) -> None:
    async def main() -> None:
        fanout = made()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fanout.run)
            await wait_all_tasks_blocked()
            await body(fanout)
            await wait_all_tasks_blocked()
            assert fanout.coming == []
            assert fanout._dirty == {}
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


CLIENTS = 4
NAMES = ["a", "a.b", "a.c", "b", "b.c.d", "e"]
PATTERNS = ["a", "a.*", "a.**", "**", "b", "*.c.*", "b.**", "nothing"]
who = st.integers(0, CLIENTS - 1)
publish = st.tuples(st.just("publish"), st.sampled_from(NAMES), st.sampled_from([1, 1, 1, 50_000]))
acts = st.one_of(
    publish,
    publish,
    publish,
    st.tuples(st.just("answer"), who),
    st.tuples(st.just("tick")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("subscribe"), who, st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True)),
    st.tuples(st.just("unsubscribe"), who),
    st.tuples(st.just("broadcast"), who, st.booleans()),
    st.tuples(st.just("many"), st.integers(2, 40)),
    st.tuples(st.just("forget"), who),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(acts, max_size=60))
def test_every_client_gets_what_a_plain_loop_gives(schedule: list[tuple[Any, ...]]) -> None:
    async def body(fanout: Fanout) -> None:
        clients = [Recorder(fanout) for _ in range(CLIENTS)]
        plain = [Plain() for _ in range(CLIENTS)]
        subscriptions: list[list[Subscription]] = [[] for _ in range(CLIENTS)]

        def tell(name: str, size: int) -> None:
            seq = fanout.publish(name, {"text": "x" * size})
            for each in plain:
                each.event(seq, name)

        for number, act in enumerate(schedule):
            match act:
                case "publish", name, size:
                    tell(name, size)
                case "many", count:
                    for each in range(count):
                        tell(NAMES[each % 3], 1)
                case "answer", at:
                    clients[at].answer(f"answer {number}")
                    plain[at].got.append(f"answer {number}")
                case ("tick",):
                    await wait_all_tasks_blocked()
                case ("settle",):
                    fanout.settle()
                    assert [client.got for client in clients] == [each.got for each in plain]
                case "subscribe", at, patterns:
                    subscription = Subscription(str(number), clients[at], tuple(patterns))
                    fanout.subscribe(subscription)
                    subscriptions[at].append(subscription)
                    plain[at].patterns.append(tuple(patterns))
                case "unsubscribe", at if subscriptions[at]:
                    fanout.unsubscribe(subscriptions[at].pop(0))
                    plain[at].patterns.pop(0)
                case "broadcast", at, wanted:
                    (fanout.add_broadcast if wanted else fanout.remove_broadcast)(clients[at])
                    plain[at].broadcast = wanted
                case "forget", at:
                    fanout.forget(clients[at], subscriptions[at])
                    assert clients[at].got == plain[at].got
                    subscriptions[at].clear()
                    plain[at].patterns.clear()
                    plain[at].broadcast = False
        await wait_all_tasks_blocked()
        assert [client.got for client in clients] == [each.got for each in plain]

    run(body)


def test_a_ticks_events_are_joined_once_for_all() -> None:
    async def body(fanout: Fanout) -> None:
        clients = [Recorder(fanout) for _ in range(10)]
        for client in clients:
            fanout.add_broadcast(client)
        for _ in range(20):
            fanout.publish("e", {})
        assert all(client.batches == [] for client in clients)
        await wait_all_tasks_blocked()
        (batch,) = clients[0].batches
        assert len(batch.events) == 20
        assert all(client.batches == [batch] for client in clients)

    run(body)


def test_clients_with_other_subscriptions_share_what_they_have_in_common() -> None:
    async def body(fanout: Fanout) -> None:
        clients = [Recorder(fanout) for _ in range(6)]
        for number, client in enumerate(clients):
            fanout.subscribe(Subscription("s", client, (("a", "a.*", "**")[number // 2],)))
        for _ in range(5):
            for name in ("a", "a.b", "c"):
                fanout.publish(name, {})
        await wait_all_tasks_blocked()
        assert [len(client.batches) for client in clients] == [1] * 6
        one, _, two, _, three, _ = (client.batches[0] for client in clients)
        assert [client.batches[0] for client in clients] == [one, one, two, two, three, three]
        assert [len(batch.events) for batch in (one, two, three)] == [5, 5, 15]

    run(body)


def test_events_that_come_one_a_tick_go_out_at_once_and_bursts_together() -> None:
    async def body(fanout: Fanout) -> None:
        client = Recorder(fanout)
        fanout.add_broadcast(client)
        waited = 0
        for seq in range(1, 201):
            fanout.publish("e", {})
            waited += client.got[-1:] != [seq]
            await wait_all_tasks_blocked()
            assert client.got[-1] == seq
        assert waited <= 12
        del client.batches[:]
        for _ in range(10):
            for _ in range(50):
                fanout.publish("e", {})
            await wait_all_tasks_blocked()
        assert len(client.batches) <= _fanout._MAX_AT_ONCE + 10
        assert [len(batch.events) for batch in client.batches[-9:]] == [50] * 9

    run(body)


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("together", [1, 2])
def test_an_event_out_of_the_handing_over_comes_after_it(together: int, size: int) -> None:
    """To write may end a client, which is logged, and a log may be told as events."""

    async def body(fanout: Fanout) -> None:
        class Chatty(Recorder):
            def write_events(self, batch: Batch) -> None:
                super().write_events(batch)
                if fanout.log.seq < 40:
                    fanout.publish("e", {"text": "x" * size})

        clients = [Chatty(fanout) for _ in range(3)]
        for client in clients:
            fanout.add_broadcast(client)
        for _ in range(10):
            for _ in range(together):
                fanout.publish("e", {})
            await wait_all_tasks_blocked()
        for client in clients:
            assert client.got == list(range(1, fanout.log.seq + 1))

    run(body)


def test_much_in_one_tick_is_handed_over_early() -> None:
    fanout = made()
    client = Recorder(fanout)
    fanout.add_broadcast(client)
    for _ in range(1000):
        fanout.publish("e", {"text": "x" * 1000})
        assert sum(len(event.frame) for event in fanout.coming) < _fanout._TICK_BYTES
    assert len(client.got) > 900


def test_many_sets_of_clients_in_one_tick_are_handed_over_early() -> None:
    fanout = made()
    clients = [Recorder(fanout) for _ in range(100)]
    for number, client in enumerate(clients):
        fanout.subscribe(Subscription("s", client, (f"e{number}",)))
    for number in range(100):
        fanout.publish(f"e{number}", {})
        assert len(fanout._routes_in_tick) < _fanout._TICK_ROUTES
    fanout.settle()
    assert [client.got for client in clients] == [[number + 1] for number in range(100)]


def test_publishing_asks_nothing_of_the_clients() -> None:
    """What it costs does not depend on how many there are."""

    class Untouchable(Recorder):
        def write_events(self, batch: Batch) -> None:
            raise AssertionError

    fanout = made()
    for _ in range(5):
        fanout.add_broadcast(Untouchable(fanout))
    for _ in range(50):
        fanout.publish("e", {})
    assert len(fanout.coming) == 50


def test_names_with_the_same_clients_have_one_set_of_them() -> None:
    fanout = made()
    for _ in range(5):
        fanout.add_broadcast(Recorder(fanout))
    for number in range(10):
        fanout.publish(f"e{number}", {})
    assert len(fanout._routes) == 10
    assert len(set(map(id, fanout._routes.values()))) == 1
    assert len(fanout._routes_in_tick) == 1


@pytest.mark.parametrize(
    ("sent", "end", "behind"), [(0, 0, [1, 2, 3]), (1, 3, [2, 3]), (3, 3, [2, 3]), (4, 5, [3]), (8, 9, []), (9, 9, [])]
)
def test_where_a_write_ends(sent: int, end: int, behind: list[int]) -> None:
    batch = Batch([EventFrame(b"aaa", 1, "a"), EventFrame(b"bb", 2, "b"), EventFrame(b"cccc", 3, "c")])
    found, left = batch.after(sent)
    assert found == end
    assert [event.seq for event in left] == behind
