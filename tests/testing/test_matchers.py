"""What fits an expected value, and what is said of what does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from poppo_ipc.testing import ABSENT, ANY, partial
from poppo_ipc.testing._matchers import MISSING, differences, shown


def long(text: str) -> bool:
    return len(text) > 3


def named(value: Any) -> str:
    """The same name in each process, which the repr of a function is not."""
    return "long" if value is long else repr(value)


FITS: list[tuple[Any, Any]] = [
    (1, 1),
    (1, 1.0),
    ("a", "a"),
    (None, None),
    (ANY, None),
    (ANY, {"a": [1]}),
    (ABSENT, MISSING),
    (mock.ANY, 5),
    (Path("/srv"), str(Path("/srv"))),
    (re.compile("b.*g"), "a blog"),
    (int, 3),
    (bool, True),
    (long, "long"),
    ({"a": ANY, "b": [1, str]}, {"a": 0, "b": [1, "x"]}),
    ((1, 2), [1, 2]),
    (partial({"a": 1}), {"a": 1, "b": 2}),
    (partial(a=partial(b=int)), {"a": {"b": 2, "c": 3}}),
    (partial(a=ABSENT), {"b": 2}),
]

DIFFERS: list[tuple[Any, Any, list[str]]] = [
    (1, 2, ["x: expected 1, got 2"]),
    (1, True, ["x: expected 1, got True"]),
    (True, 1, ["x: expected True, got 1"]),
    (int, True, ["x: expected int, got True"]),
    ("1", 1, ["x: expected '1', got 1"]),
    (1, MISSING, ["x: expected 1, was not given"]),
    (ANY, MISSING, ["x: expected ANY, was not given"]),
    (MISSING, 1, ["x: not expected, got 1"]),
    (ABSENT, None, ["x: expected not to be given, got None"]),
    (Path("/srv"), "/var", [f"x: expected {str(Path('/srv'))!r}, got '/var'"]),
    (re.compile("^b"), "a blog", ["x: expected re.compile('^b'), got 'a blog'"]),
    (re.compile("1"), 1, ["x: expected re.compile('1'), got 1"]),
    (long, "abc", ["x: expected long(value), got 'abc'"]),
    ({"a": 1}, {"a": 2, "b": 3}, ["x.a: expected 1, got 2", "x.b: not expected, got 3"]),
    ({"a": 1}, None, ["x: expected {'a': 1}, got None"]),
    ([1, 2], [1], ["x[1]: expected 2, was not given"]),
    ([1], [2, 3], ["x[0]: expected 1, got 2", "x[1]: not expected, got 3"]),
    ([1], "1", ["x: expected [1], got '1'"]),
    (partial(a=1), {}, ["x.a: expected 1, was not given"]),
    (partial(a=1), 5, ["x: expected {'a': 1}, got 5"]),
]


@pytest.mark.parametrize(("expected", "got"), FITS, ids=named)
def test_what_fits_has_no_difference(expected: Any, got: Any) -> None:
    assert differences(expected, got, "x") == []


@pytest.mark.parametrize(("expected", "got", "said"), DIFFERS, ids=named)
def test_what_differs_is_told_with_its_place(expected: Any, got: Any, said: list[str]) -> None:
    assert differences(expected, got, "x") == said


def test_long_values_are_cut() -> None:
    assert len(shown("a" * 1000)) == 200
