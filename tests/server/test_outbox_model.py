"""The queue of one client against one that is plainly right: whatever is put and taken, the same comes out."""

from __future__ import annotations

import builtins
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from poppo_ipc.limits import Overflow
from poppo_ipc.server._outbox import EventFrame, Overflowed

from .test_outbox import event, outbox


class PlainOutbox:
    """The same rules on one list, looked through from its beginning every time. Pieces are not bounded."""

    def __init__(self, limit: int, policy: Overflow) -> None:
        self.limit, self.policy = limit, policy
        self.queue: list[tuple[str, bytes, int]] = []  # what it is, the frame, its number
        self.first: list[bytes] = []
        self.loss: list[int] = []
        self.in_flight = 0
        self.replay_in_flight = 0
        self.dropped = 0

    @property
    def live(self) -> int:
        queued = sum(len(frame) for kind, frame, _ in self.queue if kind != "replay")
        return queued + sum(map(len, self.first)) + self.in_flight

    @property
    def bytes(self) -> int:
        return self.live + self.replay_in_flight + sum(len(frame) for kind, frame, _ in self.queue if kind == "replay")

    def fits(self, size: int) -> bool:
        return not self.live or self.live + size <= self.limit

    def put_event(self, event: EventFrame) -> None:
        size = len(event.frame)
        if self.policy is Overflow.DROP_OLDEST:
            while not self.fits(size) and any(kind == "event" for kind, _, _ in self.queue):
                at = next(at for at, entry in enumerate(self.queue) if entry[0] == "event")
                self.lose(self.queue.pop(at)[2])
        if not self.fits(size):
            if self.policy is Overflow.DISCONNECT:
                raise Overflowed
            self.lose(event.seq or 0)
            return
        if self.policy is Overflow.DROP_NEWEST and self.loss:
            self.queue.append(("notice", self.notice(), 0))
        self.queue.append(("event", bytes(event.frame), event.seq or 0))

    def lose(self, seq: int) -> None:
        self.loss.append(seq)
        self.dropped += 1

    def notice(self) -> builtins.bytes:
        loss, self.loss = self.loss, []
        return f"<{len(loss)}:{loss[0]}-{loss[-1]}>".encode()

    def take(self) -> builtins.bytes:
        taken = b"".join(self.first)
        self.first = []
        if self.loss and self.policy is Overflow.DROP_OLDEST:
            taken += self.notice()
        while self.queue and self.queue[0][0] != "replay":
            taken += self.queue.pop(0)[1]
        if not taken and self.queue:
            # One replay, though others may be right behind it.
            number = self.queue[0][2]
            while self.queue and self.queue[0][0] == "replay" and self.queue[0][2] == number:
                taken += self.queue.pop(0)[1]
            self.replay_in_flight = len(taken)
            return taken
        if self.loss and not self.queue:
            taken += self.notice()
        self.in_flight = len(taken)
        return taken

    def wrote(self, size: int) -> None:
        if self.replay_in_flight:
            self.replay_in_flight -= size
        else:
            self.in_flight -= size


sizes = st.integers(1, 60)
outbox_acts = st.one_of(
    st.tuples(st.just("events"), st.lists(sizes, min_size=1, max_size=100)),
    st.tuples(st.just("events"), st.lists(sizes, min_size=1, max_size=3)),
    st.tuples(st.just("event"), st.one_of(sizes, st.integers(150, 300))),
    st.tuples(st.just("answer"), sizes),
    st.tuples(st.just("first"), sizes),
    st.tuples(st.just("replay"), st.lists(sizes, min_size=1, max_size=3)),
    st.tuples(st.just("take")),
    st.tuples(st.just("wrote"), st.integers(1, 100)),
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(Overflow), st.lists(outbox_acts, max_size=60))
def test_it_does_what_a_plain_list_would(policy: Overflow, acts: list[tuple[Any, ...]]) -> None:
    box, plain = outbox(200, policy), PlainOutbox(200, policy)
    seq = in_flight = 0

    def both(one: Any, other: Any) -> bool:
        for put in (one, other):
            try:
                put()
            except Overflowed:
                over.append(put)
        assert len(over) in (0, 2)
        return not over

    over: list[Any] = []
    for number, act in enumerate(acts):
        match act:
            case "events", wanted:
                events = [event(seq + each, size + 3) for each, size in enumerate(wanted, 1)]
                seq += len(events)
                size = sum(len(each.frame) for each in events)

                def one_by_one(events: list[EventFrame] = events) -> None:
                    for each in events:
                        plain.put_event(each)

                if not both(lambda events=events, size=size: box.put_events(events, size), one_by_one):
                    break
            case "event", size:
                seq += 1
                single = event(seq, size + 3)
                if not both(lambda single=single: box.put_event(single), lambda single=single: plain.put_event(single)):
                    break
            case "answer", size:
                frame = f"A{number}".encode().ljust(size, b"a")
                box.put(frame)
                plain.queue.append(("answer", frame, 0))
            case "first", size:
                frame = f"F{number}".encode().ljust(size, b"f")
                box.put_first(frame)
                plain.first.append(frame)
            case "replay", wanted:
                frames = [f"R{number}".encode().ljust(size, b"r") for size in wanted]
                box.put_replay(frames)
                plain.queue += [("replay", frame, number) for frame in frames]
            case ("take",) if not in_flight:
                data = bytes(box.take())
                assert data == plain.take()
                in_flight = len(data)
            case "wrote", size if in_flight:
                box.wrote(min(size, in_flight))
                plain.wrote(min(size, in_flight))
                in_flight -= min(size, in_flight)
        assert (box.bytes, box.dropped, bool(box._loss)) == (plain.bytes, plain.dropped, bool(plain.loss))
    box.wrote(in_flight)
    plain.wrote(in_flight)
    while box:
        data = bytes(box.take())
        assert data == plain.take()
        box.wrote(len(data))
        plain.wrote(len(data))
    assert plain.bytes == box.bytes == 0
