"""Patterns of event names, against a regular expression that says the same in another way."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poppo_ipc.protocol import PatternIndex, _patterns, check_pattern, matches

from .work import lines_run

segments = st.sampled_from(["a", "b", "aa", "task", "日"])
names = st.lists(segments, min_size=1, max_size=6).map(".".join)
patterns = st.lists(segments | st.sampled_from(["*", "**"]), min_size=1, max_size=6).map(".".join)


def reference(pattern: str, name: str) -> bool:
    """A `**` is any number of segments, so it is matched with the dot that belongs to each of them."""
    parts = {"*": r"[^.]+\.", "**": r"(?:[^.]+\.)*"}
    expression = "".join(parts.get(segment, re.escape(segment + ".")) for segment in pattern.split("."))
    return re.fullmatch(expression, name + ".") is not None


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("task.*", "task.done", True),
        ("task.*", "task", False),
        ("task.*", "task.a.b", False),
        ("task.**", "task", True),
        ("task.**", "task.a.b", True),
        ("task.**", "tasks.a", False),
        ("**", "x", True),
        ("**", "x.y.z", True),
        ("*", "x", True),
        ("*", "x.y", False),
        ("**.done", "done", True),
        ("**.done", "a.b.done", True),
        ("**.done", "a.done.b", False),
        ("a.**.b", "a.b", True),
        ("a.**.b", "a.b.b", True),
        ("**.**", "x", True),
        ("*.**", "x", True),
        ("**.*", "x", True),
        ("*.**.*", "x", False),
    ],
)
def test_one_star_is_one_segment_and_two_are_any_number(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected
    assert reference(pattern, name) is expected


@given(patterns, names)
def test_matches_as_the_reference_does(pattern: str, name: str) -> None:
    assert matches(pattern, name) == reference(pattern, name)


@given(st.lists(st.tuples(patterns, st.integers(0, 4)), max_size=10), st.lists(names, min_size=1, max_size=4))
@example([("**.a", 1), ("a", 1), ("*.**", 2)], ["a", "b.a"])
def test_an_index_finds_the_values_of_all_patterns_that_match(added: list[tuple[str, int]], asked: list[str]) -> None:
    index: PatternIndex[int] = PatternIndex()
    for pattern, value in added:
        index.add(pattern, value)
    for name in asked:
        assert index.match(name) == {value for pattern, value in added if reference(pattern, name)}


@given(st.lists(st.tuples(patterns, st.integers(0, 2)), max_size=12), st.data())
def test_what_is_added_and_removed_leaves_an_empty_tree(added: list[tuple[str, int]], data: st.DataObject) -> None:
    index: PatternIndex[int] = PatternIndex()
    for pattern, value in added:
        index.add(pattern, value)
    left = Counter(added)
    for pattern, value in data.draw(st.permutations(added)):
        index.remove(pattern, value)
        left[pattern, value] -= 1
        name = data.draw(names)
        expected = {value for (pattern, value), count in left.items() if count and reference(pattern, name)}
        assert index.match(name) == expected
    assert index._root.children == {}
    assert index._root.values == {}


@pytest.mark.parametrize("pattern", ["b", "a.b.c", "a", "*", "a.**", "a.b"])
def test_removing_what_is_not_there_is_an_error_and_changes_nothing(pattern: str) -> None:
    index: PatternIndex[int] = PatternIndex()
    index.add("a.b", 1)
    with pytest.raises(KeyError):
        index.remove(pattern, 2)
    assert index.match("a.b") == {1}
    index.remove("a.b", 1)
    assert index._root.children == {}


@given(patterns)
def test_good_patterns_pass(pattern: str) -> None:
    assert check_pattern(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    ["", ".", "a.", ".a", "a..b", "a*", "*a", "***", "a.**b", "**.", 5, None, ["a"], "a" * 257, ".".join("a" * 33)],
)
def test_bad_patterns_are_told_in_words(pattern: object) -> None:
    assert "expected" in (check_pattern(pattern) or "")


def test_the_bounds_on_patterns_hold_exactly_at_the_edge() -> None:
    assert check_pattern("a" * 256) is None
    assert check_pattern(".".join("a" * 32)) is None


def test_many_double_stars_cost_no_more_than_their_number_times_the_name() -> None:
    """A matcher that backtracks would take some 10**14 steps for the first of these."""

    def steps(runs: int, length: int) -> int:
        pattern, name = ".".join(["**", "a"] * runs) + ".b", ".".join(["a"] * length)
        index: PatternIndex[int] = PatternIndex()
        index.add(pattern, 1)
        found: list[set[int]] = []
        lines = lines_run(_patterns, lambda: found.append(index.match(name)))
        assert found == [set()]
        return lines

    small = steps(8, 50)
    assert steps(8, 200) < 4.5 * small
    assert steps(16, 50) < 2.5 * small
    assert not matches(".".join(["**", "a"] * 15) + ".b", ".".join(["a"] * 1000))


def test_other_patterns_cost_a_match_nothing() -> None:
    def steps(others: int) -> int:
        index: PatternIndex[int] = PatternIndex()
        for number in range(others):
            index.add(f"other{number}.**.x", number)
        index.add("task.*", -1)
        return lines_run(_patterns, lambda: index.match("task.done"))

    assert steps(1000) == steps(1)
