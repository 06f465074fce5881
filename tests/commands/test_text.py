"""Every form of text in which msgspec says that a value does not fit, through msgspec itself, in plain words."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest
from msgspec import Meta

from poppo_ipc.commands._text import ANY_KEY, Kind, clip, field_path, read_complaint


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Inner(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    my_name: str
    n: int = 0


class Cat(msgspec.Struct, tag=True):
    a: int


class Dog(msgspec.Struct, tag=True):
    b: int


class Pair(NamedTuple):
    a: int
    b: int


class Typed(TypedDict):
    a: int


def complain(wanted: Any, value: Any) -> Any:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, wanted)
    return read_complaint(str(caught.value))


WRONG: list[tuple[Any, Any, str, str]] = [
    (int, "x", "", "expected an integer, got a string"),
    (int, 1.5, "", "expected an integer, got a decimal number"),
    (int, True, "", "expected an integer, got a boolean"),
    (int, None, "", "expected an integer, got null"),
    (int, [], "", "expected an integer, got a list"),
    (int, {}, "", "expected an integer, got an object"),
    (str, 1, "", "expected a string, got an integer"),
    (str, b"x", "", "expected a string, got bytes"),
    (float, "x", "", "expected a number, got a string"),
    (bool, 1, "", "expected a boolean, got an integer"),
    (None, 1, "", "expected null, got an integer"),
    (list[int], {}, "", "expected a list, got an object"),
    (dict[str, int], [], "", "expected an object, got a list"),
    (bytes, 1, "", "expected a base64 string, got an integer"),
    (datetime.datetime, 1, "", "expected a date and time, got an integer"),
    (datetime.date, 1, "", "expected a date, got an integer"),
    (datetime.time, 1, "", "expected a time of day, got an integer"),
    (datetime.timedelta, [], "", "expected a duration, got a list"),
    (uuid.UUID, 1, "", "expected a UUID, got an integer"),
    (decimal.Decimal, [], "", "expected a decimal number, got a list"),
    (msgspec.Raw, 1, "", "expected another value, got an integer"),
    (int | str | None, [], "", "expected an integer, a string or null, got a list"),
    (int | None, "x", "", "expected an integer or null, got a string"),
    (list[int] | dict[str, int], "x", "", "expected an object or a list, got a string"),
    (Literal[1, "a", None], 2.0, "", "expected an integer, a string or null, got a decimal number"),
    (list[int], [1, "x"], "[1]", "expected an integer, got a string"),
    (tuple[int, str], [1, 2], "[1]", "expected a string, got an integer"),
    (set[int], ["x"], "[0]", "expected an integer, got a string"),
    (dict[str, int], {"k": "x"}, "*", "expected an integer, got a string"),
    (Inner, {"myName": 1}, "myName", "expected a string, got an integer"),
    (dict[str, list[Inner]], {"k": [{"myName": 1}]}, "*[0].myName", "expected a string, got an integer"),
    (Annotated[int, Meta(ge=0)], -1, "", "must be at least 0"),
    (Annotated[int, Meta(gt=0)], 0, "", "must be at least 1"),
    (Annotated[int, Meta(le=5)], 9, "", "must be at most 5"),
    (Annotated[int, Meta(lt=5)], 9, "", "must be at most 4"),
    (Annotated[int, Meta(multiple_of=5)], 9, "", "must be a multiple of 5"),
    (Annotated[float, Meta(ge=0)], -1.0, "", "must be at least 0"),
    (Annotated[float, Meta(gt=0.5)], 0.0, "", "must be over 0.5"),
    (Annotated[float, Meta(le=0.5)], 1.0, "", "must be at most 0.5"),
    (Annotated[float, Meta(lt=0.5)], 1.0, "", "must be under 0.5"),
    (Annotated[float, Meta(multiple_of=0.5)], 0.3, "", "must be a multiple of 0.5"),
    (Annotated[str, Meta(min_length=1)], "", "", "must have at least 1 character"),
    (Annotated[str, Meta(max_length=2)], "xxx", "", "must have at most 2 characters"),
    (Annotated[str, Meta(pattern=r"^\d'$")], "b", "", r"must match the pattern ^\d'$"),
    (Annotated[list[int], Meta(min_length=1)], [], "", "must have at least 1 item"),
    (Annotated[list[int], Meta(max_length=1)], [1, 2], "", "must have at most 1 item"),
    (Annotated[dict[str, int], Meta(min_length=2)], {}, "", "must have at least 2 entries"),
    (Annotated[dict[str, int], Meta(max_length=0)], {"a": 1}, "", "must have at most 0 entries"),
    (Annotated[bytes, Meta(min_length=3)], "AA==", "", "must have at least 3 bytes"),
    (Annotated[bytes, Meta(max_length=0)], "AA==", "", "must have at most 0 bytes"),
    (Annotated[tuple[int, ...], Meta(min_length=2)], [1], "", "must have at least 2 items"),
    (tuple[int, str], [1], "", "must have exactly 2 items, got 1"),
    (Pair, [1, 2, 3], "", "must have exactly 2 items, got 3"),
    (datetime.datetime, "x", "", "expected a date and time such as 2030-01-31T12:00:00Z"),
    (datetime.datetime, "2020-13-01T00:00:00Z", "", "expected a date and time such as 2030-01-31T12:00:00Z"),
    (datetime.date, "x", "", "expected a date such as 2030-01-31"),
    (datetime.time, "x", "", "expected a time of day such as 12:00:00"),
    (datetime.timedelta, "x", "", "expected a duration such as PT90S"),
    (datetime.timedelta, "P1Y", "", "expected a duration in days, hours, minutes or seconds, such as PT90S"),
    (datetime.timedelta, "PT99999999999999999S", "", "is out of range"),
    (uuid.UUID, "x", "", "expected a UUID"),
    (decimal.Decimal, "x", "", "expected a decimal number"),
    (bytes, "***", "", "expected a base64 string"),
    (float, 10**400, "", "is out of range"),
    (
        Annotated[datetime.datetime, Meta(tz=True)],
        "2020-01-01T00:00:00",
        "",
        "expected a date and time with a time zone",
    ),
    (
        Annotated[datetime.datetime, Meta(tz=False)],
        "2020-01-01T00:00:00Z",
        "",
        "expected a date and time without a time zone",
    ),
    (Annotated[datetime.time, Meta(tz=True)], "00:00:00", "", "expected a time of day with a time zone"),
    (complex, "x", "", "expected another value, got a string"),
]


@pytest.mark.parametrize(("wanted", "value", "field", "problem"), WRONG)
def test_a_wrong_value_is_told_in_plain_words(wanted: Any, value: Any, field: str, problem: str) -> None:
    complaint = complain(wanted, value)
    assert (complaint.kind, field_path(complaint.path), complaint.problem) == (Kind.WRONG, field, problem)
    assert not complaint.choice


@pytest.mark.parametrize(
    ("wanted", "value", "problem"),
    [
        (Colour, "blue", "blue is not one of those allowed"),
        (Level, 5, "5 is not one of those allowed"),
        (Literal["a", "b"], "c", "c is not one of those allowed"),
        (Literal[1, 2], 3, "3 is not one of those allowed"),
        (Cat | Dog, {"type": "Cow"}, "Cow is not one of those allowed"),
    ],
)
def test_a_value_that_is_none_of_the_choices_says_so(wanted: Any, value: Any, problem: str) -> None:
    complaint = complain(wanted, value)
    assert (complaint.choice, complaint.problem) == (True, problem)


@pytest.mark.parametrize(
    ("wanted", "value", "path"),
    [
        (Inner, {}, ("myName",)),
        (list[Inner], [{}], (0, "myName")),
        (dict[str, Inner], {"k": {}}, ("...", "myName")),
        (Typed, {}, ("a",)),
        (Cat | Dog, {}, ("type",)),
    ],
)
def test_a_missing_field_is_the_end_of_the_path(wanted: Any, value: Any, path: tuple[Any, ...]) -> None:
    complaint = complain(wanted, value)
    assert (complaint.kind, complaint.path) == (Kind.MISSING, path)


@pytest.mark.parametrize("name", ["nme", "a`b", "a b.c", "line\nbreak", ""])
def test_an_unknown_field_is_the_end_of_the_path_whatever_its_name(name: str) -> None:
    complaint = complain(Inner, {"myName": "x", name: 1})
    assert (complaint.kind, complaint.path) == (Kind.UNKNOWN, (name,))
    complaint = complain(list[Inner], [{"myName": "x", name: 1}])
    assert (complaint.kind, complaint.path) == (Kind.UNKNOWN, (0, name))


@pytest.mark.parametrize(
    ("wanted", "value", "path", "problem"),
    [
        (dict[int, int], {"x": 1}, (), "expected an integer, got a string"),
        (dict[str, dict[uuid.UUID, int]], {"k": {"x": 1}}, ("...",), "expected a UUID"),
        (dict[Annotated[str, Meta(min_length=2)], int], {"x": 1}, (), "must have at least 2 characters"),
        (dict[str, int], {1: 1}, (), "expected a string, got an integer"),
        (Inner, {1: 1}, (), "expected a string"),
    ],
)
def test_a_wrong_key_is_told_apart_from_a_wrong_value(wanted: Any, value: Any, path: Any, problem: str) -> None:
    complaint = complain(wanted, value)
    assert (complaint.key, complaint.path, complaint.problem) == (True, path, problem)


@pytest.mark.parametrize(
    "text", ["", "Something new about `builtins.int`", "Expected `int` but at `$.x`", " - at `$.x`"]
)
def test_a_form_that_is_not_known_gives_nothing_away(text: str) -> None:
    assert read_complaint(text).problem == "is not valid"


def test_the_path_of_a_form_that_is_not_known_is_kept() -> None:
    assert read_complaint("Something new - at `$.a[2].b`").path == ("a", 2, "b")


def test_a_long_value_of_the_peer_is_cut() -> None:
    complaint = complain(Literal["a"], "x" * 10_000)
    assert len(complaint.problem) < 200
    assert clip("x" * 80) == "x" * 80
    assert clip("x" * 81) == "x" * 79 + "…"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("config", "retries", 2), "config.retries[2]"),
        ((0, "a"), "[0].a"),
        (("a", "b c"), 'a["b c"]'),
        (("a", 'say "x"\\'), 'a["say \\"x\\"\\\\"]'),
        ((ANY_KEY, "a"), "*.a"),
        (("...", "a"), '["..."].a'),
        (("x" * 200,), "x" * 79 + "…"),
    ],
)
def test_paths_are_written_as_on_the_wire(path: Any, text: str) -> None:
    assert field_path(path) == text
