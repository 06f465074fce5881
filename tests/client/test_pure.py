"""The outbox and the heartbeat."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.client._call import Call
from poppo_ipc.client._heartbeat import Beat, Heartbeat
from poppo_ipc.client._outbox import Outbox


@given(st.lists(st.integers(1, 40), min_size=1), st.lists(st.integers(0, 60), min_size=1))
def test_the_outbox_hands_over_every_byte_once_and_knows_whose(sizes: list[int], taken: list[int]) -> None:
    outbox = Outbox()
    frames = [bytes([index % 256]) * size for index, size in enumerate(sizes)]
    calls = [Call("x", {}) for _ in frames]
    for each, call in zip(frames, calls, strict=True):
        outbox.put(each, call)
    sent = b""
    room = itertools.cycle([*taken, 1])  # the 1 makes sure that it comes to an end
    while outbox:
        chunk = bytes(outbox.chunk())
        assert chunk
        count = min(next(room), len(chunk))
        outbox.sent(count)
        sent += chunk[:count]
        begun = 0
        for each, call in zip(frames, calls, strict=True):
            assert call.handed == (len(sent) > begun)
            begun += len(each)
    assert sent == b"".join(frames)


def test_a_frame_that_is_not_begun_can_be_withdrawn() -> None:
    outbox = Outbox()
    first, second = Call("a", {}), Call("b", {})
    outbox.put(b"aaaa", first)
    outbox.put(b"bbbb", second)
    outbox.sent(1)
    assert not outbox.withdraw(first)
    assert outbox.withdraw(second)
    assert not outbox.withdraw(second)
    assert bytes(outbox.chunk()) == b"aaa"


def test_what_is_urgent_goes_first_but_not_into_a_frame() -> None:
    outbox = Outbox()
    outbox.put(b"aaaa")
    outbox.put(b"bbbb")
    outbox.sent(1)
    outbox.put_first(b"!")
    assert bytes(outbox.chunk()) == b"aaa"
    outbox.sent(3)
    assert bytes(outbox.chunk()) == b"!bbbb"


def test_two_pings_without_an_answer_and_it_is_dead() -> None:
    heart = Heartbeat(15.0, now=100.0)
    beats = [(at, heart.beat(at)) for at in (114.9, 115.0, 129.9, 130.0, 144.9, 145.0)]
    assert beats == [
        (114.9, Beat.NOTHING),
        (115.0, Beat.PING),
        (129.9, Beat.NOTHING),
        (130.0, Beat.PING),
        (144.9, Beat.NOTHING),
        (145.0, Beat.DEAD),
    ]


def test_who_slept_gives_the_server_its_time_all_the_same() -> None:
    heart = Heartbeat(15.0, now=0.0)
    beats = [heart.beat(at) for at in (1000.0, 1000.1, 1015.0, 1015.1, 1029.9, 1030.0)]
    assert beats == [Beat.PING, Beat.NOTHING, Beat.PING, Beat.NOTHING, Beat.NOTHING, Beat.DEAD]


def test_any_byte_is_a_sign_of_life() -> None:
    heart = Heartbeat(15.0, now=0.0)
    assert heart.beat(15.0) is Beat.PING
    assert heart.beat(30.0) is Beat.PING
    heart.alive(44.0)
    assert heart.beat(45.0) is Beat.NOTHING
    assert heart.due == 59.0
