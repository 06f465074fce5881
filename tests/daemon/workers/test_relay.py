"""Output of commands in the order in which it was written."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("the order of writes is told by Linux alone", allow_module_level=True)
assert sys.platform == "linux"

import os
import signal
import subprocess
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.daemon.workers._relay import PAGE_BYTES, Order, Relay

# Not in whole pages: where such a write ends is not seen in its packets.
_lengths = st.one_of(st.integers(1, 50), st.integers(1, 3 * PAGE_BYTES).filter(lambda length: length % PAGE_BYTES))


def packets_of(data: bytes) -> list[bytes]:
    """What a pipe makes of one write."""
    return [data[at : at + PAGE_BYTES] for at in range(0, len(data), PAGE_BYTES)]


def merged(pieces: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Pieces of one stream that follow one another as one."""
    found: list[tuple[int, bytes]] = []
    for stream, data in pieces:
        if found and found[-1][0] == stream:
            found[-1] = (stream, found[-1][1] + data)
        else:
            found.append((stream, data))
    return found


@given(st.lists(st.tuples(st.integers(0, 1), _lengths)), st.data())
def test_packets_come_in_the_order_of_the_writes(writes: list[tuple[int, int]], data: st.DataObject) -> None:
    order = Order()
    written = [(stream, bytes([65 + number % 26]) * length) for number, (stream, length) in enumerate(writes)]
    found: list[tuple[int, bytes]] = []
    while_read = list(written)
    while while_read:
        count = data.draw(st.integers(1, len(while_read)))
        now, while_read = while_read[:count], while_read[count:]
        for stream, text in now:
            for packet in packets_of(text):
                order.add(stream, packet)
        found += order.arrange([stream for stream, _ in now])
        assert order.waiting == 0
    assert merged(found) == merged(written)


@given(st.lists(st.integers(0, 1), min_size=1))
def test_whole_pages_are_writes_of_their_own_where_each_has_its_mark(marks: list[int]) -> None:
    order = Order()
    for number, stream in enumerate(marks):
        order.add(stream, bytes([number % 256]) * PAGE_BYTES)
    found = list(order.arrange(marks))
    assert [(stream, data[0]) for stream, data in found] == [(s, number % 256) for number, s in enumerate(marks)]


@given(st.lists(st.integers(0, 1), max_size=20), st.integers(0, 1))
def test_a_write_that_waited_for_room_does_not_shift_what_follows(marks: list[int], waits: int) -> None:
    order = Order()
    for number, stream in enumerate(marks):
        order.add(stream, b"%d" % number)
    full = [waits == 0, waits == 1]
    found = list(order.arrange([*marks, waits], full))
    # Its packet comes with its own mark; the other stream is written to only after that.
    order.add(waits, b"waited")
    order.add(1 - waits, b"after")
    found += order.arrange([waits, 1 - waits])
    expected = [(stream, b"%d" % number) for number, stream in enumerate(marks)]
    assert found == [*expected, (waits, b"waited"), (1 - waits, b"after")]


def test_what_has_no_mark_yet_waits_for_it() -> None:
    order = Order()
    order.add(0, b"first")
    assert list(order.arrange([])) == []
    assert order.waiting == 5
    order.add(1, b"second")
    assert list(order.arrange([0, 1])) == [(0, b"first"), (1, b"second")]


def relayed(argv: list[str], input: bytes | None = None) -> list[tuple[int, bytes]]:
    """What a program prints, through a relay."""
    found: list[tuple[int, bytes]] = []
    with Relay(lambda stream, data: found.append((stream, data))) as relay:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=relay.writers[0], stderr=relay.writers[1])
        relay.close_writers()
        process.communicate(input)
    return merged(found)


def test_a_shell_that_writes_in_turns() -> None:
    script = "echo a; echo b; echo c >&2; echo d; echo e >/dev/stderr; echo f >&2; echo g"
    for _ in range(20):
        assert relayed(["sh", "-c", script]) == [(0, b"a\nb\n"), (1, b"c\n"), (0, b"d\n"), (1, b"e\nf\n"), (0, b"g\n")]


def test_more_than_the_pipes_hold_is_whole() -> None:
    size = 3 << 20
    script = f"head -c {size} /dev/zero & head -c {size} /dev/zero >&2; wait"
    found = relayed(["sh", "-c", script])
    assert sum(len(data) for stream, data in found if stream == 0) == size
    assert sum(len(data) for stream, data in found if stream == 1) == size


def test_what_others_keep_open_is_not_waited_for() -> None:
    found = relayed(["sh", "-c", "echo out; sleep 100 & echo $! >&2"])
    os.kill(int(found[1][1]), signal.SIGKILL)
    assert found[0] == (0, b"out\n")


def test_nothing_is_left_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    relayed(["true"])
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_command_does_not_inherit_what_the_relay_blocks() -> None:
    found = relayed(["grep", "SigBlk", "/proc/self/status"])
    with open("/proc/thread-self/status") as own:
        assert found == [(0, next(line for line in own if line.startswith("SigBlk")).encode())]
