"""The queue of one client, on its own: order, bounds, and what is told of what was dropped."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from poppo_ipc.limits import Overflow
from poppo_ipc.server._outbox import EventFrame, Outbox, Overflowed


def outbox(limit: int, policy: Overflow = Overflow.DROP_OLDEST) -> Outbox:
    return Outbox(limit, policy, lambda dropped, first, last: f"<{dropped}:{first}-{last}>".encode())


def event(seq: int, size: int = 1) -> EventFrame:
    return EventFrame(f"{seq}".encode().rjust(size, b"."), seq, "")


def take(box: Outbox) -> bytes:
    """The next piece, as if it had gone out."""
    data = bytes(box.take())
    box.wrote(len(data))
    return data


def test_everything_leaves_in_order() -> None:
    box = outbox(100)
    assert not box
    box.put(b"a")
    box.put_event(event(1))
    box.put_replay([b"r", b"s"])
    box.put(b"b")
    box.put_event(event(2))
    box.put_first(b"!")
    box.put_first(b"?")
    assert box.bytes == 8
    pieces = []
    while box:
        pieces.append(take(box))
    assert b"".join(pieces) == b"!?a1rsb2"
    assert box.bytes == 0


def test_answers_are_never_refused() -> None:
    box = outbox(10, Overflow.DISCONNECT)
    for _ in range(10):
        box.put(b"xxxxx")
    assert box.full
    assert take(box) == b"x" * 50
    assert not box.full


def test_full_at_exactly_the_limit_and_until_written() -> None:
    box = outbox(10)
    box.put(b"x" * 9)
    assert not box.full
    box.put(b"x")
    assert box.full
    box.take()
    assert box.full
    box.wrote(1)
    assert not box.full
    assert box.bytes == 9


def test_drop_oldest() -> None:
    box = outbox(10)
    box.put(b"AAAA")
    for seq in range(1, 10):
        box.put_event(event(seq, 3))
    assert box.dropped == 7
    assert box.crowded
    assert take(box) == b"<7:1-7>AAAA..8..9"
    assert not box
    assert not box.crowded


def test_drop_newest() -> None:
    box = outbox(10, Overflow.DROP_NEWEST)
    box.put(b"AAAA")
    for seq in range(1, 10):
        box.put_event(event(seq, 3))
    assert box.dropped == 7
    assert take(box) == b"AAAA..1..2<7:3-9>"
    assert not box


def test_drop_newest_tells_in_the_place_of_what_is_lost() -> None:
    """Where the queue never ran empty a loss was not told, and several were told as one."""
    size = 100_000
    box = outbox(6 * size, Overflow.DROP_NEWEST)
    for seq in range(1, 9):
        box.put_event(event(seq, size))
    told = [part for part in take(box).decode().split(".") if part]
    assert told == ["1", "2", "3"]
    for seq in range(9, 13):
        box.put_event(event(seq, size))
    while box:
        told += [part for part in take(box).decode().replace(">", ">.").split(".") if part]
    assert told == ["1", "2", "3", "4", "5", "6", "<2:7-8>", "9", "10<2:11-12>"]


def test_disconnect() -> None:
    box = outbox(6, Overflow.DISCONNECT)
    box.put_event(event(1, 3))
    box.put_event(event(2, 3))
    with pytest.raises(Overflowed):
        box.put_event(event(3, 3))


@pytest.mark.parametrize("policy", list(Overflow))
def test_an_event_larger_than_the_outbox_fits_an_empty_one(policy: Overflow) -> None:
    """A client that kept up lost it, or was disconnected for it."""
    box = outbox(10, policy)
    box.put_event(event(1, 50))
    assert box.dropped == 0
    assert take(box) == event(1, 50).frame


def test_an_event_larger_than_the_outbox_drops_what_it_has_to() -> None:
    box = outbox(10)
    box.put_event(event(1, 5))
    box.put_event(event(2, 50))
    assert take(box) == b"<1:1-1>" + event(2, 50).frame
    box.put(b"answer")
    box.put_event(event(3, 50))
    assert take(box) == b"<1:3-3>answer"


def test_events_of_one_client_have_no_number() -> None:
    box = outbox(3)
    box.put(b"xxx")
    box.put_event(EventFrame(b"yyy", None, ""))
    assert take(box) == b"<1:None-None>xxx"
    box.put(b"xxx")
    box.put_event(EventFrame(b"yyy", None, ""))
    box.put_event(event(7, 3))
    assert take(box) == b"<2:7-7>xxx"


def test_a_replay_takes_no_room_from_live_events() -> None:
    box = outbox(10)
    box.put_replay([b"r" * 1000] * 1000)
    assert box.full
    for seq in (1, 2, 3):
        box.put_event(event(seq, 3))
    box.take()
    box.put_event(event(4, 1))
    assert box.dropped == 0
    box.put_event(event(5, 1))
    assert box.dropped == 1


def test_pieces_are_bounded() -> None:
    box = outbox(10_000_000)
    for _ in range(100):
        box.put(b"x" * 10_000)
    box.put_replay([b"y" * 10_000] * 100)
    sizes = []
    while box:
        sizes.append(len(take(box)))
    assert sum(sizes) == 2_000_000
    assert max(sizes) < 256 * 1024 + 10_000


@pytest.mark.parametrize("policy", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
@pytest.mark.parametrize("seed", range(20))
def test_every_event_is_received_or_told_as_dropped(policy: Overflow, seed: int) -> None:
    chance = random.Random(seed)
    box = outbox(200, policy)
    got: list[int] = []
    dropped = 0
    ranges: list[tuple[int, int]] = []
    seq = 0

    def drink() -> None:
        nonlocal dropped
        for part in take(box).replace(b"<", b",<").replace(b">", b",").split(b","):
            text = part.decode().strip(".")
            if text.startswith("<"):
                count, _, numbers = text[1:].partition(":")
                first, _, last = numbers.partition("-")
                dropped += int(count)
                ranges.append((int(first), int(last)))
                assert int(count) == int(last) - int(first) + 1
            elif text and text != "A":
                got.append(int(text))

    for _ in range(500):
        match chance.randrange(8):
            case 0:
                box.put(b",A,")
            case 1:
                drink()
            case _:
                seq += 1
                box.put_event(EventFrame(f",{seq},".encode().rjust(chance.randrange(8, 60), b"."), seq, ""))
    while box:
        drink()
    assert dropped == box.dropped == seq - len(got)
    assert got == sorted(set(got))
    lost = {number for first, last in ranges for number in range(first, last + 1)}
    assert lost == set(range(1, seq + 1)) - set(got)
    assert box.bytes == 0


def test_what_is_coming_is_queued_ahead_of_anything_else() -> None:
    coming = [1]

    def catch_up() -> None:
        coming.clear()
        box.put_events([event(1), event(2)], 2)

    box = Outbox(100, Overflow.DROP_OLDEST, lambda *_: b"", coming, catch_up)
    puts: list[Callable[[], None]] = [
        lambda: box.put(b"x"), lambda: box.put_event(event(3)), lambda: box.put_replay([b"r"]),
    ]  # fmt: skip
    for put in puts:
        coming.append(1)
        put()
    box.put(b"y")
    assert coming == []
    pieces = []
    while box:
        pieces.append(take(box))
    assert pieces == [b"12x12312", b"r", b"y"]


def test_dropped_events_do_not_pile_up() -> None:
    box = outbox(100)
    box.put(b"answer")
    for seq in range(1, 10_001):
        box.put_event(event(seq, 10))
        assert len(box._queue) < 200
    assert take(box) == b"<9991:1-9991>answer" + b"".join(event(seq, 10).frame for seq in range(9992, 10_001))


def test_events_queued_together_after_a_drop_are_dropped_in_their_turn() -> None:
    box = outbox(10)
    box.put_event(event(1, 6))
    box.put_event(event(2, 6))
    box.put_replay([b"r"])
    box.put_event(event(3, 4))
    assert take(box) == b"<1:1-1>" + event(2, 6).frame
    box.put_events([event(4, 3), event(5, 3)], 6)
    box.put_event(event(6, 7))
    assert box.dropped == 3
    assert [take(box) for _ in range(3)] == [b"<2:3-4>", b"r", event(5, 3).frame + event(6, 7).frame]


def test_the_rest_of_a_write_past_it_counts() -> None:
    box = outbox(10)
    box.begun(6)
    assert box.bytes == 6
    assert not box
    for seq in (1, 2, 3):
        box.put_event(event(seq, 3))
    assert (box.bytes, box.dropped) == (9, 2)
    box.wrote(6)
    assert take(box) == b"<2:1-2>..3"


def test_clear() -> None:
    box = outbox(10)
    box.put(b"x" * 20)
    box.put_event(event(1))
    box.put_replay([b"r"])
    box.put_first(b"f")
    box.take()
    box.clear()
    assert not box
    assert (box.bytes, box.full) == (0, False)
