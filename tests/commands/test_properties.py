"""What holds for any value: it comes back as it went, and no JSON whatever gets past `InvalidArgs`."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Annotated, Any, Literal

import attrs
import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from poppo_ipc.commands import Router, WireMismatch, WireType, decode_as, encode_args, encode_result
from poppo_ipc.commands._text import read_complaint
from poppo_ipc.commands.standard import STANDARD_COMMANDS
from poppo_ipc.errors import InvalidArgs


@attrs.frozen
class Leaf:
    some_number: int
    at: datetime.datetime | None = None


@attrs.frozen
class Tree:
    the_name: str
    leaf: Leaf
    leaves: list[Leaf] = attrs.Factory(list)
    by_name: dict[str, Leaf] = attrs.Factory(dict)
    pair: tuple[Leaf, int] | None = None
    small: Annotated[int, Meta(ge=0, le=9)] = attrs.field(default=0, validator=attrs.validators.ge(0))
    mode: Literal["a", "b"] = "a"
    ratio: float = 0.0
    free: Any = None


def _whole_milliseconds(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


MOMENTS = st.datetimes(
    min_value=datetime.datetime(1000, 1, 2), max_value=datetime.datetime(9999, 12, 30), timezones=st.just(datetime.UTC)
).map(_whole_milliseconds)
LEAVES = st.builds(Leaf, st.integers(-(2**63), 2**63), st.none() | MOMENTS)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
TREES = st.builds(
    Tree,
    the_name=st.text(),
    leaf=LEAVES,
    leaves=st.lists(LEAVES),
    by_name=st.dictionaries(st.text(), LEAVES),
    pair=st.none() | st.tuples(LEAVES, st.integers(0, 9)),
    small=st.integers(0, 9),
    mode=st.sampled_from(["a", "b"]),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    free=st.none() | st.text() | st.dictionaries(st.text(), st.booleans()),
)
#: Args that are nearly right: the names are known, and one value in them may be anything.
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "theName": st.text() | JSON,
        "leaf": st.just({"someNumber": 1}) | st.fixed_dictionaries({"someNumber": JSON}) | JSON,
        "leaves": st.lists(st.just({"someNumber": 1}) | JSON) | JSON,
        "byName": st.dictionaries(st.text(), st.just({"someNumber": 1}) | JSON) | JSON,
        "pair": st.tuples(JSON, JSON) | JSON,
        "small": st.integers() | JSON,
        "mode": st.text() | JSON,
        "ratio": JSON,
        "free": JSON,
    },
)


def router() -> Router:
    made = Router()

    @made.command("tree")
    def tree(args: Tree) -> Tree:
        return args

    @made.command("flat")
    def flat(name: str, n: Annotated[int, Meta(ge=0)] = 1, *, leaf: Leaf | None = None) -> None: ...

    for spec in STANDARD_COMMANDS:
        made.command(spec)(lambda args: args)
    return made


COMMANDS = router().commands
WIRE = WireType(Tree)


@given(TREES)
def test_a_value_comes_back_as_it_went(tree: Tree) -> None:
    sent = msgspec.json.encode(WIRE.encode(tree))
    assert sent == msgspec.json.encode(encode_result(tree))
    assert WIRE.decode(msgspec.json.decode(sent)) == tree
    assert decode_as(Tree, {**msgspec.json.decode(sent), "newer": 1}) == tree


@given(TREES)
def test_args_come_back_as_they_went(tree: Tree) -> None:
    sent = msgspec.json.decode(msgspec.json.encode(encode_args(tree)))
    assert COMMANDS["tree"].bind(sent) == ((tree,), {})


def refusal(call: Callable[..., Any], *args: Any) -> Any:
    """What the call raises of the two errors that it may raise, else None."""
    try:
        call(*args)
    except (InvalidArgs, WireMismatch) as error:
        return error
    return None


def bind_or_refuse(name: str, args: Any) -> None:
    error = refusal(COMMANDS[name].bind, args)
    if error is not None:
        assert isinstance(error, InvalidArgs)
        assert error.details is not None
        assert set(error.details) == {"field", "problem"}
        assert "is not valid" not in error.message
        said = error.details["problem"].partition("; did you mean")[0]
        for leak in ("<class", "object at", "poppo_ipc", "msgspec", "Traceback", "`", "NoneType"):
            assert leak not in said or leak in str(args)


@given(st.sampled_from(sorted(COMMANDS)), JSON)
def test_any_json_is_bound_or_refused(name: str, args: Any) -> None:
    bind_or_refuse(name, args)


@given(st.sampled_from(["tree", "flat"]), NEARLY)
def test_args_that_are_nearly_right_are_bound_or_refused(name: str, args: Any) -> None:
    bind_or_refuse(name, args)


@given(NEARLY | JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    error = refusal(WIRE.decode, value)
    assert isinstance(WIRE.decode(value), Tree) if error is None else error.problem


@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=1))
def test_the_key_that_is_named_is_the_first_one_that_is_wrong(entries: dict[str, Any]) -> None:
    error = refusal(decode_as, dict[str, int], entries)
    wrong = [key for key, value in entries.items() if not isinstance(value, int)]
    if wrong:
        alone = refusal(decode_as, dict[str, int], {wrong[0]: entries[wrong[0]]})
        assert (error.field, error.problem) == (alone.field, alone.problem)
    else:
        assert error is None


@given(st.text())
def test_any_text_is_a_complaint(text: str) -> None:
    complaint = read_complaint(text)
    assert complaint.problem
