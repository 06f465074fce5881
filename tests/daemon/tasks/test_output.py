"""What one attempt prints: in order, whole characters, bounded, and in few rows."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.daemon.tasks._output import Follower, OutputPart, TaskPrint


def parts_of(printed: TaskPrint) -> list[tuple[str, str]]:
    return [(part.stream, part.text) for part in printed.unsaved().parts]


@given(text=st.text(max_size=60), cuts=st.lists(st.integers(0, 240), max_size=6), limit=st.integers(1, 80))
def test_characters_survive_any_cut_and_what_is_too_much_is_counted(text: str, cuts: list[int], limit: int) -> None:
    data = text.encode()
    printed = TaskPrint("t", 1, limit, [])
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(bounds):
        printed.write("stdout", data[begin:end])
    printed.finish()
    printed.finish()
    found = parts_of(printed)
    kept = "".join(part for stream, part in found if stream == "stdout")
    # As many whole characters as there is room for.
    assert text.startswith(kept)
    assert len(kept.encode()) <= limit
    assert len(kept) == len(text) or len(text[: len(kept) + 1].encode()) > limit
    assert printed.kept == len(kept.encode())
    marks = [part for stream, part in found if stream == "truncated"]
    cut = len(data) - printed.kept
    assert marks == ([f"{cut} more bytes were not kept"] if cut else [])


def test_the_limit_is_one_of_bytes_and_leaves_no_character_half_and_no_hole() -> None:
    printed = TaskPrint("t", 1, 8, [])
    printed.write("stdout", "ä☃☃".encode())
    printed.write("stderr", "é".encode())
    assert printed.kept == 8
    printed = TaskPrint("t", 1, 7, [])
    printed.write("stdout", "ä☃☃".encode())
    # It would fit, but is not what came next.
    printed.write("stderr", b"e")
    printed.write("stdout", b"e")
    printed.finish()
    assert parts_of(printed) == [("stdout", "ä☃"), ("truncated", "5 more bytes were not kept")]
    assert (printed.kept, printed.unsaved().parts[-1].start) == (5, 2)


def test_bytes_that_are_no_text_are_replaced_and_streams_do_not_mix() -> None:
    printed = TaskPrint("t", 1, 100, [])
    snowman = "☃".encode()
    printed.write("stdout", b"a" + snowman[:1])
    printed.write("stderr", b"\xff" + snowman[:2])
    printed.write("stdout", snowman[1:])
    printed.write("stderr", snowman[2:] + snowman[:1])
    printed.finish()
    assert parts_of(printed) == [("stdout", "a"), ("stderr", "�"), ("stdout", "☃"), ("stderr", "☃�")]


def test_short_writes_share_a_row_and_a_row_has_an_end() -> None:
    followers = [Follower()]
    printed = TaskPrint("t", 1, 100_000, followers)
    for _ in range(20_000):
        printed.write("stdout", b"x")
    assert [len(text) for _, text in parts_of(printed)] == [8192, 8192, 3616]


def test_a_row_that_was_stored_grows_until_it_is_full() -> None:
    printed = TaskPrint("t", 1, 100_000, [])
    printed.write("stdout", b"one")
    first = printed.unsaved()
    printed.saved(first.parts[-1].end)
    assert (printed.pending, parts_of(printed)) == (0, [])
    printed.write("stdout", b", two")
    assert parts_of(printed) == [("stdout", "one, two")]
    assert printed.pending == 5


@pytest.mark.parametrize("limit", [64, 4096, 100_000])
def test_what_is_kept_in_memory_is_bounded_whatever_is_printed_and_never_stored(limit: int) -> None:
    follower = Follower()
    printed = TaskPrint("t", 1, limit, [follower])
    for number in range(3 * limit):
        printed.write("stdout" if number % 2 else "stderr", b"x")
    printed.finish()
    assert len(printed.unsaved().parts) <= 64 + limit // 16 + 1
    assert printed.kept <= limit
    assert len(follower.parts) <= 1000
    assert sum(len(part.text) for part in follower.parts) <= limit + 100
    assert parts_of(printed)[-1][0] == "truncated"


def test_a_place_is_told_in_characters() -> None:
    assert OutputPart(3, 1, "stdout", "äöü").end == 6
