"""Event names and the patterns that ask for them (WIRE.md section 4): `*` is one segment, `**` any number of them.

The patterns of all subscribers stand in one tree of segments, so that what a name costs to match depends on its own
length and not on how many other patterns there are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

__all__ = ["PatternIndex", "check_pattern", "matches"]

T = TypeVar("T", bound=Hashable)

MAX_PATTERN_CHARS: Final = 256
MAX_PATTERN_SEGMENTS: Final = 32


def check_pattern(pattern: object) -> str | None:
    """What is wrong with a pattern, in words, or None."""
    if not isinstance(pattern, str):
        return "expected a string"
    if len(pattern) > MAX_PATTERN_CHARS:
        return f"expected at most {MAX_PATTERN_CHARS} characters"
    segments = pattern.split(".")
    if len(segments) > MAX_PATTERN_SEGMENTS:
        return f"expected at most {MAX_PATTERN_SEGMENTS} segments"
    if any(not segment or ("*" in segment and segment not in ("*", "**")) for segment in segments):
        return "expected segments joined by dots, each a name, * or **"
    return None


def matches(pattern: str, name: str) -> bool:
    """Whether `name` is asked for by `pattern`."""
    index: PatternIndex[bool] = PatternIndex()
    index.add(pattern, True)
    return bool(index.match(name))


class _Node(Generic[T]):
    __slots__ = ("children", "deep", "values")

    def __init__(self, deep: bool = False) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[T, int] = {}
        self.deep = deep  # stands for a `**`, which takes any segment and stays


class PatternIndex(Generic[T]):
    """Which values asked for a name. A value may stand under a pattern several times: it counts."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: str, value: T) -> None:
        """Let `value` be found by every name that `pattern` asks for."""
        node = self._root
        for segment in pattern.split("."):
            child = node.children.get(segment)
            if child is None:
                child = node.children[segment] = _Node(deep=segment == "**")
            node = child
        node.values[value] = node.values.get(value, 0) + 1

    def remove(self, pattern: str, value: T) -> None:
        """Undo one `add`; what is empty then is let go. Raises KeyError where there was none."""
        path = [self._root]
        segments = pattern.split(".")
        for segment in segments:
            path.append(path[-1].children[segment])
        values = path[-1].values
        values[value] -= 1
        if not values[value]:
            del values[value]
        for segment, parent, node in zip(reversed(segments), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if node.values or node.children:
                break
            del parent.children[segment]

    def match(self, name: str) -> set[T]:
        """Every value under a pattern that asks for `name`."""
        # A set of the nodes that the segments so far may lead to: however many `**` there are, it is never more than
        # the nodes themselves, so no pattern makes a match exponential.
        nodes = _with_empty_runs([self._root])
        for segment in name.split("."):
            following: dict[_Node[T], None] = {}
            for node in nodes:
                for key in (segment, "*"):
                    child = node.children.get(key)
                    if child is not None:
                        following[child] = None
                if node.deep:
                    following[node] = None
            nodes = _with_empty_runs(following)
        return {value for node in nodes for value in node.values}


def _with_empty_runs(nodes: Iterable[_Node[T]]) -> list[_Node[T]]:
    """The nodes, and those that a `**` leads to when it takes no segment at all."""
    reached = dict.fromkeys(nodes)
    pending = list(reached)
    while pending:
        child = pending.pop().children.get("**")
        if child is not None and child not in reached:
            reached[child] = None
            pending.append(child)
    return list(reached)
