"""What converters and validators of an attrs class refuse, told without any Python in it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from poppo_ipc.errors import InvalidArgs

from .helpers import bind, refuse


def _even(instance: Any, attribute: Any, value: int) -> None:
    if value % 2:
        raise ValueError("must be even")


def _leaky(instance: Any, attribute: Any, value: Any) -> None:
    if value != 1:
        raise ValueError(f"{type(value)} is none of {object()}")


def _words(value: Any) -> list[str]:
    if value == "bad":
        raise ValueError("cannot be split")
    return str(value).split()


@attrs.frozen
class Checked:
    even: int = attrs.field(default=2, validator=_even)
    low: int = attrs.field(default=0, validator=[attrs.validators.ge(0), attrs.validators.lt(10)])
    text: str = attrs.field(default="ab", validator=attrs.validators.min_len(2))
    kind: str = attrs.field(default="a", validator=attrs.validators.in_(["a", "b"]))
    only_int: Any = attrs.field(default=1, validator=attrs.validators.instance_of(int))
    words: Any = attrs.field(default="a b", converter=_words)
    number: Any = attrs.field(default="1", converter=int)
    ratio: Any = attrs.field(default="1", converter=float)
    leaky: Any = attrs.field(default=1, validator=_leaky)
    fixed: int = attrs.field(default=2, validator=_even, metadata={"message": "Odd one out", "doc": "x"})
    said_inside: int = 0

    def __attrs_post_init__(self) -> None:
        if self.said_inside == 1:
            raise ValueError("these do not go together")
        if self.said_inside == 2:
            raise InvalidArgs.of("saidInside", "said by the author")
        if self.said_inside == 3:
            raise TypeError("unsupported operand type(s)")


@pytest.mark.parametrize(
    ("args", "message", "field", "problem"),
    [
        ({"even": 1}, "Invalid argument 'even': must be even", "even", "must be even"),
        ({"low": -1}, "Invalid argument 'low': must be at least 0", "low", "must be at least 0"),
        ({"low": 10}, "Invalid argument 'low': must be under 10", "low", "must be under 10"),
        ({"kind": "c"}, "Invalid argument 'kind': is not valid", "kind", "is not valid"),
        ({"onlyInt": "c"}, "Invalid argument 'onlyInt': is not valid", "onlyInt", "is not valid"),
        ({"words": "bad"}, "Invalid argument 'words': cannot be split", "words", "cannot be split"),
        ({"number": "x"}, "Invalid argument 'number': is not valid", "number", "is not valid"),
        ({"number": []}, "Invalid argument 'number': is not valid", "number", "is not valid"),
        ({"ratio": "x"}, "Invalid argument 'ratio': is not valid", "ratio", "is not valid"),
        ({"leaky": "x"}, "Invalid argument 'leaky': is not valid", "leaky", "is not valid"),
        ({"fixed": 1}, "Odd one out", "fixed", "must be even"),
        ({"saidInside": 1}, "Invalid arguments: these do not go together", "", "these do not go together"),
        ({"saidInside": 2}, "Invalid argument 'saidInside': said by the author", "saidInside", "said by the author"),
        ({"saidInside": 3}, "Invalid arguments: is not valid", "", "is not valid"),
    ],
)
def test_refusals_of_attrs_are_named_without_python_in_them(args: Any, message: str, field: str, problem: str) -> None:
    assert refuse(Checked, args) == (message, field, problem)


def test_converters_and_defaults_of_attrs_run() -> None:
    assert bind(Checked, {"words": "x y z", "number": "7"}) == Checked(words="x y z", number="7")
    assert bind(Checked, {}).words == ["a", "b"]
