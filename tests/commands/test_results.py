"""Values on their way to the wire, and back on the client's side."""

from __future__ import annotations

import datetime
import enum
import pathlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import msgspec
import pytest

from poppo_ipc.commands import (
    CommandSpec,
    EventDeclaration,
    NoArgs,
    WireMismatch,
    WireType,
    decode_as,
    encode_args,
    encode_result,
)

NOON = datetime.datetime(2030, 1, 31, 12, 0, 0, 123456, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
NOON_TEXT = "2030-01-31T10:00:00.123Z"


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Inner:
    some_size: int
    at: datetime.datetime | None = None


@attrs.frozen
class Empty:
    pass


@attrs.frozen
class Outer:
    project_id: str
    one: Inner
    many: list[Inner]
    by_name: dict[str, Inner]
    pair: tuple[int, Inner]
    path: pathlib.Path
    at: datetime.datetime
    times: list[datetime.datetime]
    colour: Colour = Colour.RED
    maybe: Inner | None = None
    anything: Any = None
    _hidden: int = 3
    computed: int = attrs.field(init=False, default=9)


OUTER = Outer(
    "p", Inner(1), [Inner(2, NOON)], {"a_b": Inner(3)}, (4, Inner(5)), pathlib.Path("/p"), NOON, [NOON], maybe=Inner(6)
)
INNER_3 = {"someSize": 3, "at": None}
OUTER_JSON = {
    "projectId": "p",
    "one": {"someSize": 1, "at": None},
    "many": [{"someSize": 2, "at": NOON_TEXT}],
    "byName": {"a_b": INNER_3},
    "pair": [4, {"someSize": 5, "at": None}],
    "path": str(pathlib.Path("/p")),
    "at": NOON_TEXT,
    "times": [NOON_TEXT],
    "colour": "red",
    "maybe": {"someSize": 6, "at": None},
    "anything": None,
    "hidden": 3,
    "computed": 9,
}


def through_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def test_an_attrs_instance_becomes_an_object_all_the_way_down() -> None:
    assert through_json(WireType(Outer).encode(OUTER)) == OUTER_JSON
    assert through_json(encode_result(OUTER)) == OUTER_JSON


def test_it_comes_back_and_unknown_fields_are_ignored() -> None:
    grown = {**OUTER_JSON, "new": 1, "one": {"someSize": 1, "newToo": 2}}
    back = decode_as(Outer, grown)
    cut = NOON.astimezone(datetime.UTC).replace(microsecond=123000)
    assert back == attrs.evolve(OUTER, many=[Inner(2, cut)], at=cut, times=[cut])


@pytest.mark.parametrize(
    ("annotation", "value", "json"),
    [
        (list[Inner], [Inner(3)], [INNER_3]),
        (list[Inner], (Inner(3),), [INNER_3]),
        (Sequence[Inner], (Inner(3),), [INNER_3]),
        (Iterable[Inner], (Inner(n) for n in [3]), [INNER_3]),
        (set[Inner], {Inner(3)}, [INNER_3]),
        (frozenset[Inner], {Inner(3)}, [INNER_3]),
        (tuple[Inner, ...], (Inner(3),), [INNER_3]),
        (dict[str, Inner], {"a": Inner(3)}, {"a": INNER_3}),
        (Mapping[str, list[Inner]], {"a": [Inner(3)]}, {"a": [INNER_3]}),
        (Inner | None, None, None),
        (Inner | None, Inner(3), INNER_3),
        (Inner | list[Inner] | None, [Inner(3)], [INNER_3]),
        (Inner | list[Inner] | None, Inner(3), INNER_3),
        (datetime.datetime, NOON, NOON_TEXT),
        (datetime.datetime | None, None, None),
        (pathlib.Path, pathlib.Path("/a"), str(pathlib.Path("/a"))),
        (dict[str, datetime.datetime], {"a": NOON}, {"a": NOON_TEXT}),
        (tuple[int, Inner], (1, Inner(3)), [1, INNER_3]),
        (Empty, Empty(), {}),
        (Colour, Colour.RED, "red"),
        (uuid.UUID, uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (int, 3, 3),
        (None, None, None),
        (Any, {"snake_case": 1}, {"snake_case": 1}),
    ],
)
def test_annotations_say_what_to_encode(annotation: Any, value: Any, json: Any) -> None:
    assert through_json(WireType(annotation).encode(value)) == json


def test_plain_data_is_not_touched() -> None:
    data = {"snake_case": [Inner(1)]}
    assert encode_result(data) is data
    assert WireType(dict[str, Any]).encode(data) is data
    assert WireType(Inner).encode(data) is data
    numbers = [1, 2]
    assert encode_result(numbers) is numbers
    assert WireType(list[int]).encode(numbers) is numbers


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (Inner(3), INNER_3),
        ([Inner(3)], [INNER_3]),
        ((Inner(3), 1), [INNER_3, 1]),
        (NOON, NOON_TEXT),
        (pathlib.Path("/a"), str(pathlib.Path("/a"))),
        (None, None),
        (3, 3),
    ],
)
def test_without_an_annotation_the_value_says_it(value: Any, json: Any) -> None:
    assert through_json(encode_result(value)) == json


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (Inner, 3, "expected Inner, got int"),
        (Inner, None, "expected Inner, got NoneType"),
        (list[Inner], [Inner(1), 3], r"\[1\]: expected Inner, got int"),
        (list[Inner], "ab", "expected a list, got str"),
        (list[Inner], 3, "expected a list, got int"),
        (dict[str, Inner], {"a": 3}, "a: expected Inner, got int"),
        (dict[str, Inner], [1], "expected a dict, got list"),
        (tuple[int, Inner], (1, 2), r"\[1\]: expected Inner, got int"),
        (tuple[int, Inner], (1,), "expected a tuple of 2"),
        (Inner, Inner(1, NOON.replace(tzinfo=None)), "at: the date and time has no time zone"),
        (datetime.datetime, 3, "expected a date and time, got int"),
        (pathlib.Path, 3, "expected a path, got int"),
    ],
)
def test_a_result_that_is_not_what_was_declared_is_told(annotation: Any, value: Any, said: str) -> None:
    with pytest.raises(WireMismatch, match=f"^{said}$"):
        WireType(annotation).encode(value)


def test_a_deep_mismatch_has_its_path_without_an_annotation_too() -> None:
    with pytest.raises(WireMismatch, match=r"^many\[1\]\.at: the date and time has no time zone$") as caught:
        encode_result(attrs.evolve(OUTER, many=[Inner(1), Inner(2, NOON.replace(tzinfo=None))]))
    assert caught.value.field == "many[1].at"


@pytest.mark.parametrize(
    ("annotation", "value", "field", "problem"),
    [
        (Inner, {}, "someSize", "is missing"),
        (list[Inner], [{"someSize": 1}, {"someSize": "x"}], "[1].someSize", "expected an integer, got a string"),
        (dict[str, Inner], {"a": {"someSize": 1}, "b": {}}, "b.someSize", "is missing"),
        (int, "x", "", "expected an integer, got a string"),
    ],
)
def test_what_cannot_be_read_has_its_path(annotation: Any, value: Any, field: str, problem: str) -> None:
    with pytest.raises(WireMismatch) as caught:
        decode_as(annotation, value)
    assert (caught.value.field, caught.value.problem) == (field, problem)
    assert isinstance(caught.value, ValueError)


@attrs.frozen
class CallArgs:
    project_id: str
    maybe_name: str | None = None
    must_be_said: str | None = "x"
    at: datetime.datetime | None = None
    count: int = 1
    computed: int = attrs.field(init=False, default=9)


def test_args_leave_out_none_where_it_means_nothing() -> None:
    assert encode_args(CallArgs("p")) == {"projectId": "p", "mustBeSaid": "x", "count": 1}
    assert encode_args(CallArgs("p", "n", None, NOON)) == {
        "projectId": "p",
        "maybeName": "n",
        "mustBeSaid": None,
        "at": NOON_TEXT,
        "count": 1,
    }


def test_args_may_be_a_mapping_that_has_the_names_of_the_wire() -> None:
    given = {"projectId": "p", "x": None}
    assert encode_args(given) == given
    assert encode_args(given) is not given
    with pytest.raises(TypeError, match="not int"):
        encode_args(3)
    with pytest.raises(WireMismatch, match=r"^at: "):
        encode_args(CallArgs("p", at=NOON.replace(tzinfo=None)))


def test_a_spec_encodes_and_decodes() -> None:
    spec = CommandSpec("x", CallArgs, list[Inner], item=Inner)
    assert spec.encode_args(CallArgs("p"))["projectId"] == "p"
    assert spec.decode_result([{"someSize": 1}]) == [Inner(1)]
    assert spec.decode_item({"someSize": 1}) == Inner(1)
    assert spec.result_model is spec.result_model
    untyped = CommandSpec("x", NoArgs, int)
    assert (untyped.streaming, untyped.decode_item({"a": 1})) == (False, {"a": 1})


def test_an_event_encodes_and_decodes() -> None:
    event = EventDeclaration("a.b", Inner)
    assert event.encode(Inner(3)) == INNER_3
    assert event.decode({"someSize": 3, "more": 1}) == Inner(3)
    untyped = EventDeclaration[Any]("a.b")
    assert untyped.encode(Inner(3)) == INNER_3
    assert untyped.decode({"some_size": 3}) == {"some_size": 3}
