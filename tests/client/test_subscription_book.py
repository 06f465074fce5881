"""Which events a subscription gets, and that it gets each once: against a model of a server."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from poppo_ipc.client import Event, Gap, GapReason, Position
from poppo_ipc.client._session import Session
from poppo_ipc.client._subscriptions import Subscription, SubscriptionBook
from poppo_ipc.protocol import Event as EventMessage
from poppo_ipc.protocol import matches

CAPABILITIES = frozenset({"subscribe", "replay"})


def made(*patterns: str, limit: int = 100, since: Position | None = None) -> tuple[SubscriptionBook, Subscription]:
    book = SubscriptionBook()
    subscription = Subscription(patterns, limit, since, lambda: None)
    book.add(subscription)
    return book, subscription


def session(epoch: str | None = "e1") -> Session:
    return Session(capabilities=CAPABILITIES, epoch=epoch)


def drain(subscription: Subscription) -> list[Any]:
    taken = []
    while subscription:
        thing = subscription.take()
        taken.append(thing.seq if isinstance(thing, Event) else thing)
    return taken


def send(book: SubscriptionBook, *seqs: int, name: str = "a") -> None:
    for seq in seqs:
        book.deliver(EventMessage(event=name, data=None, seq=seq))


def agreed(seq: int, gap: bool = False, missed: int | None = 0) -> dict[str, Any]:
    return {"subscriptionId": "s", "gap": gap, "missed": missed, "seq": seq}


def test_only_what_comes_after_it_was_made() -> None:
    book, subscription = made("a")
    send(book, 4)
    subscription.made(agreed(5), session())
    send(book, 5, 6, 7)
    send(book, 8, name="b")
    assert drain(subscription) == [6, 7]
    assert subscription.position == Position("e1", 7)


def test_it_goes_on_from_its_last_event() -> None:
    book, subscription = made("a")
    subscription.made(agreed(5), session())
    send(book, 6)
    book.lost()
    send(book, 7)  # replayed for somebody else before ours is made again
    assert subscription.request(session()) == {"events": ["a"], "since": {"epoch": "e1", "seq": 6}}
    subscription.made(agreed(8), session())
    send(book, 5, 7, 6, 8, 9)
    assert drain(subscription) == [6, 7, 8, 9]


def test_what_came_for_others_moves_it_on_too() -> None:
    """So that a quiet subscription does not ask for events that the server has long forgotten."""
    book, subscription = made("a")
    subscription.made(agreed(5), session())
    send(book, 900, name="b")
    book.lost()
    assert subscription.request(session())["since"]["seq"] == 900


def test_a_broken_replay_is_gone_on_with() -> None:
    book, subscription = made("a")
    subscription.made(agreed(5), session())
    book.lost()
    subscription.made(agreed(9), session())
    send(book, 6, 7)
    book.lost()
    assert subscription.request(session())["since"]["seq"] == 7
    subscription.made(agreed(9), session())
    send(book, 8, 9, 10)
    assert drain(subscription) == [6, 7, 8, 9, 10]


def test_gaps_are_told_with_their_reason() -> None:
    book, subscription = made("a")
    subscription.made(agreed(5), session())
    book.lost()
    subscription.made(agreed(30, gap=True, missed=12), session())
    send(book, 28, 31)
    book.lost()
    subscription.made(agreed(3, gap=True, missed=None), session("e2"))
    send(book, 2, 3, 4)
    book.lost()
    subscription.made({"subscriptionId": "s"}, Session(capabilities=frozenset({"subscribe"})))
    assert drain(subscription) == [
        Gap(12, GapReason.EXPIRED),
        28,
        31,
        Gap(None, GapReason.RESTARTED),
        2,
        3,
        4,
        Gap(None, GapReason.NO_REPLAY),
    ]


def test_numbers_that_went_back_are_no_repeats() -> None:
    """A server that lost its last events to a crash gives the same numbers to other events."""
    book, subscription = made("a")
    subscription.made(agreed(5), session())
    send(book, 6, 7, 8)
    book.lost()
    subscription.made(agreed(6, gap=True, missed=None), session())
    send(book, 7, 8)
    assert drain(subscription) == [6, 7, 8, Gap(None, GapReason.EXPIRED), 7, 8]


def test_a_slow_consumer_is_told_how_much_it_lost() -> None:
    book, subscription = made("a", limit=3)
    subscription.made(agreed(0), session())
    send(book, *range(1, 11))
    assert drain(subscription) == [Gap(7, GapReason.SLOW_CONSUMER), 8, 9, 10]
    send(book, 11)
    assert drain(subscription) == [11]


def test_a_gap_that_is_dropped_counts_as_what_it_stood_for() -> None:
    book, subscription = made("a", limit=1)
    subscription.made(agreed(0), session())
    book.deliver(EventMessage(event="ipc.events-dropped", data={"dropped": 5, "firstSeq": 1, "lastSeq": 5}))
    send(book, 6)
    assert drain(subscription) == [Gap(5, GapReason.SLOW_CONSUMER), 6]
    book.deliver(EventMessage(event="ipc.events-dropped", data={}))
    send(book, 7, 8)
    assert drain(subscription) == [Gap(None, GapReason.SLOW_CONSUMER), 8]


def test_what_the_server_dropped_is_told_to_everybody() -> None:
    book, one = made("a")
    other = Subscription(("b",), 10, None, lambda: None)
    book.add(other)
    for each in (one, other):
        each.made(agreed(0), session())
    book.deliver(EventMessage(event="ipc.events-dropped", data={"dropped": 2, "firstSeq": 1, "lastSeq": 2}))
    assert drain(one) == drain(other) == [Gap(2, GapReason.SERVER_DROPPED)]


def test_an_event_that_matches_twice_comes_once() -> None:
    book, subscription = made("a.*", "*.b", "**")
    subscription.made(agreed(0), session())
    send(book, 1, name="a.b")
    assert drain(subscription) == [1]
    book.remove(subscription)
    book.remove(subscription)
    send(book, 2, name="a.b")
    assert drain(subscription) == []


NAMES = ["a", "b", "a.b", "c"]
PATTERNS = ["a", "*", "**", "a.*", "b"]


@settings(max_examples=300)
@given(
    patterns=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=4),
    rounds=st.lists(
        st.tuples(
            st.lists(st.sampled_from(NAMES), max_size=6),  # while away
            st.permutations(range(4)),  # in which order the subscriptions are made again
            st.lists(st.sampled_from(NAMES), max_size=3),  # between one and the next
            st.lists(st.sampled_from(NAMES), max_size=6),  # live
            st.integers(0, 30),  # after how many frames the connection breaks
        ),
        max_size=4,
    ),
)
def test_nothing_is_lost_and_nothing_comes_twice(patterns: list[str], rounds: list[Any]) -> None:
    """Subscriptions that overlap, a server that keeps everything, connections that break anywhere."""
    book = SubscriptionBook()
    subscriptions = [Subscription((pattern,), 10_000, None, lambda: None) for pattern in patterns]
    for each in subscriptions:
        book.add(each)
        each.made(agreed(0), session())
    log: list[str] = []
    subscribed: list[str] = list(patterns)

    def publish(name: str) -> int | None:
        log.append(name)
        return len(log) if any(matches(pattern, name) for pattern in subscribed) else None

    for away, order, between, live, frames in [*rounds, ([], range(4), [], [], 10**6)]:
        book.lost()
        subscribed = []
        for name in away:
            publish(name)
        # The requests go out one after the other, each with what the subscription had by then.
        left = frames
        queue: list[Any] = []
        for subscription in (subscriptions[index] for index in order if index < len(subscriptions)):
            since = subscription.request(session())["since"]["seq"]
            for name in between:
                seq = publish(name)
                if seq is not None:
                    queue.append((name, seq))
            left = _receive(book, queue, left)
            if left <= 0:
                break
            subscribed.append(subscription.patterns[0])
            subscription.made(agreed(len(log)), session())
            left -= 1
            replay = [(name, seq) for seq, name in enumerate(log, 1) if seq > since]
            queue += [each for each in replay if matches(subscription.patterns[0], each[0])]
        for name in live:
            seq = publish(name)
            if seq is not None:
                queue.append((name, seq))
        _receive(book, queue, left)
    for subscription in subscriptions:
        expected = [seq for seq, name in enumerate(log, 1) if matches(subscription.patterns[0], name)]
        assert drain(subscription) == expected


def _receive(book: SubscriptionBook, queue: list[Any], left: int) -> int:
    while queue and left > 0:
        name, seq = queue.pop(0)
        book.deliver(EventMessage(event=name, data=None, seq=seq))
        left -= 1
    return left
