"""From an args object to what the handler gets, or to an error that names the field."""

from __future__ import annotations

import datetime
import enum
import pathlib
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from unittest.mock import ANY

import attrs
import pytest
from msgspec import Meta

from poppo_ipc.commands import Arg
from poppo_ipc.commands._fields import camel
from poppo_ipc.errors import DeclarationError

from .helpers import bind, refuse


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@attrs.frozen
class Config:
    retries: list[Annotated[int, Meta(ge=0)]] = attrs.field(factory=list)
    name: str = "x"
    by_name: dict[str, int] = attrs.Factory(dict)
    nested: dict[str, Config2] = attrs.Factory(dict)


@attrs.frozen
class Config2:
    size: int = attrs.field(default=1, validator=attrs.validators.ge(1))


@attrs.frozen
class AddArgs:
    project_path: Annotated[str, Meta(min_length=1), Arg(message="Project path required")]
    name: str | None = None
    config: Config | None = None


def test_an_object_becomes_an_instance_of_the_attrs_class() -> None:
    args = {"projectPath": "/p", "config": {"retries": [1], "byName": {"a": 1}, "nested": {"n": {"size": 3}}}}
    config = Config(retries=[1], by_name={"a": 1}, nested={"n": Config2(3)})
    assert bind(AddArgs, args) == AddArgs("/p", None, config)


@pytest.mark.parametrize(
    ("args", "message", "field", "problem"),
    [
        ({}, "Project path required", "projectPath", "is missing"),
        ({"projectPath": 1}, "Project path required", "projectPath", "expected a string, got an integer"),
        ({"projectPath": ""}, "Project path required", "projectPath", "must have at least 1 character"),
        (
            {"projectPath": "p", "config": {"retries": [1, 2, "x"]}},
            "Invalid argument 'config.retries[2]': expected an integer, got a string",
            "config.retries[2]",
            "expected an integer, got a string",
        ),
        (
            {"projectPath": "p", "nme": 1},
            "Unknown argument 'nme'; did you mean 'name'?",
            "nme",
            "is unknown; did you mean 'name'?",
        ),
        (
            {"projectPath": "p", "config": {"by_name": {}}},
            "Unknown argument 'config.by_name'; did you mean 'config.byName'?",
            "config.by_name",
            "is unknown; did you mean 'config.byName'?",
        ),
        ({"PROJECTPATH": "p"}, "Unknown argument 'PROJECTPATH'; did you mean 'projectPath'?", "PROJECTPATH", ANY),
        ({"projectPath": "p", "zzzzzz": 1}, "Unknown argument 'zzzzzz'", "zzzzzz", "is unknown"),
        (
            {"projectPath": "p", "config": {"byName": {"a": 1, "b c": "x", "d": "y"}}},
            "Invalid argument 'config.byName[\"b c\"]': expected an integer, got a string",
            'config.byName["b c"]',
            "expected an integer, got a string",
        ),
        (
            {"projectPath": "p", "config": {"nested": {"a": {}, "b": {"sise": 1}}}},
            "Unknown argument 'config.nested.b.sise'; did you mean 'config.nested.b.size'?",
            "config.nested.b.sise",
            "is unknown; did you mean 'config.nested.b.size'?",
        ),
        (
            {"projectPath": "p", "config": {"nested": {"a": {}, "b": {"size": 0}}}},
            "Invalid argument 'config.nested.b.size': must be at least 1",
            "config.nested.b.size",
            "must be at least 1",
        ),
    ],
)
def test_what_does_not_fit_is_named(args: Any, message: str, field: str, problem: str) -> None:
    assert refuse(AddArgs, args) == (message, field, problem)


def test_the_guilty_key_is_found_in_a_large_object() -> None:
    entries: dict[str, Any] = {f"k{i}": i for i in range(20_000)}
    for guilty in ("k0", "k12345", "k19999"):
        _, field, _ = refuse(AddArgs, {"projectPath": "p", "config": {"byName": {**entries, guilty: "x"}}})
        assert field == f"config.byName.{guilty}"


@attrs.frozen
class Wide:
    colour: Colour = Colour.RED
    mode: Literal["fast", "safe"] = "fast"
    at: datetime.datetime | None = None
    key: uuid.UUID | None = None
    path: pathlib.Path | None = None
    paths: tuple[pathlib.Path, ...] = ()
    blob: bytes = b""
    pair: tuple[int, Config2] | None = None
    tags: frozenset[str] = frozenset()
    sizes: set[Config2] = attrs.Factory(set)
    by_number: dict[int, str] = attrs.Factory(dict)
    either: Config2 | int | None = None
    anything: Any = None
    from_: str = ""


def test_types_of_msgspec_and_paths_are_read() -> None:
    args = {
        "colour": "green",
        "mode": "safe",
        "at": "2030-01-01T00:00:00Z",
        "key": "12345678-1234-5678-1234-567812345678",
        "path": "/a",
        "paths": ["/b", "c"],
        "blob": "AAE=",
        "pair": [1, {"size": 2}],
        "tags": ["a", "a"],
        "sizes": [{"size": 2}, {"size": 2}],
        "byNumber": {"1": "one"},
        "either": {"size": 3},
        "anything": {"snake_case": [1]},
        "from": "here",
    }
    assert bind(Wide, args) == Wide(
        colour=Colour.GREEN,
        mode="safe",
        at=datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
        key=uuid.UUID("12345678-1234-5678-1234-567812345678"),
        path=pathlib.Path("/a"),
        paths=(pathlib.Path("/b"), pathlib.Path("c")),
        blob=b"\0\1",
        pair=(1, Config2(2)),
        tags=frozenset({"a"}),
        sizes={Config2(2)},
        by_number={1: "one"},
        either=Config2(3),
        anything={"snake_case": [1]},
        from_="here",
    )
    assert bind(Wide, {"either": 4}).either == 4
    assert bind(Wide, {}) == Wide()


@pytest.mark.parametrize(
    ("args", "field", "problem"),
    [
        ({"colour": "blue"}, "colour", "expected one of red, green"),
        ({"mode": "slow"}, "mode", "expected one of fast, safe"),
        ({"path": 1}, "path", "expected a string or null, got an integer"),
        ({"pair": [1, {"size": 0}]}, "pair[1].size", "must be at least 1"),
        ({"sizes": [{"size": 1}, {"size": 0}]}, "sizes[1].size", "must be at least 1"),
        ({"byNumber": {"1": "a", "x": "b"}}, "byNumber.x", "its name is not valid: expected an integer, got a string"),
        ({"either": {"size": 0}}, "either.size", "must be at least 1"),
        ({"either": "x"}, "either", "expected an integer, an object or null, got a string"),
    ],
)
def test_problems_inside_other_types_are_named(args: Any, field: str, problem: str) -> None:
    assert refuse(Wide, args)[1:] == (field, problem)


@attrs.frozen
class Numbered:
    by_number: dict[int, str]
    colour: Colour = Colour.RED


@dataclass
class Plain:
    by_number: dict[int, str]


@attrs.frozen
class Deeper:
    many: list[tuple[int, Numbered | None]] = attrs.Factory(list)
    said: Annotated[int, Arg(message="Bad number")] | None = None


@attrs.frozen
class Plainer:
    plain: Plain


def test_keys_that_are_numbers_are_read_from_text_however_deep() -> None:
    assert bind(Numbered, {"byNumber": {"1": "a"}}) == Numbered({1: "a"})
    assert bind(Plainer, {"plain": {"by_number": {"1": "a"}}}) == Plainer(Plain({1: "a"}))
    assert bind(Deeper, {"many": [[1, {"byNumber": {"2": "b"}}]]}) == Deeper([(1, Numbered({2: "b"}))])


def test_a_text_may_be_said_inside_an_optional_type() -> None:
    assert refuse(Deeper, {"said": "x"})[0] == "Bad number"


@attrs.define
class Made:
    given: list[str]
    made: list[str] = attrs.field(factory=lambda: ["made"])
    same: list[str] = attrs.Factory(lambda self: list(self.given), takes_self=True)
    named: int = attrs.field(default=5, kw_only=True)
    _hidden: int = 6
    computed: int = attrs.field(init=False, default=9)


def test_defaults_that_only_the_class_can_make_are_made_by_it() -> None:
    first, second = bind(Made, {"given": ["a"]}), bind(Made, {"given": ["a"]})
    assert first == Made(["a"])
    assert first.made is not second.made
    assert bind(Made, {"given": ["a"], "same": [], "named": 1, "hidden": 2}) == Made(["a"], same=[], named=1, hidden=2)
    every = {"given": ["a"], "made": ["b"], "same": ["c"], "named": 1, "hidden": 2}
    assert bind(Made, every) == Made(["a"], ["b"], ["c"], 2, named=1)
    assert refuse(Made, {"given": [], "computed": 1})[0] == "Unknown argument 'computed'"


@pytest.mark.parametrize("args", [None, 1, "x", [], [1]])
def test_args_that_are_no_object_are_refused(args: Any) -> None:
    assert refuse(AddArgs, args) == ("Invalid arguments: expected an object", "", "expected an object")


def test_text_that_is_no_unicode_is_refused() -> None:
    assert refuse(AddArgs, {"\ud800": 1})[2] == "holds a value that cannot be used here"


def test_a_list_in_a_set_is_refused() -> None:
    @attrs.frozen
    class Loose:
        values: set[Any] = attrs.Factory(set)

    assert refuse(Loose, {"values": [[1]]})[2] == "holds a value that cannot be used here"


@attrs.frozen
class Outer:
    config: Annotated[Config2 | None, Arg(message="Bad config", name="cfg")] = None


def test_the_text_of_a_field_holds_for_all_inside_it_and_its_name_can_be_said() -> None:
    assert refuse(Outer, {"cfg": {"size": 0}}) == ("Bad config", "cfg.size", "must be at least 1")
    assert refuse(Outer, {"cfg": {"size": "x"}})[0] == "Bad config"
    assert refuse(Outer, {"config": None})[1] == "config"


@attrs.frozen
class Itself:
    children: list[Itself]


@attrs.frozen
class Impossible:
    value: complex


@attrs.frozen
class TwoClasses:
    value: Config2 | AddArgs


@attrs.frozen
class Unhashable:
    values: list[int]


@attrs.define
class InSet:
    values: set[Made]


@attrs.frozen
class Unresolved:
    value: Nowhere  # type: ignore[name-defined]  # noqa: F821


@attrs.frozen
class SameName:
    a_b: int
    aB: int


@attrs.frozen
class Contradiction:
    value: Annotated[int, Meta(min_length=1)]


@attrs.frozen
class PathKeys:
    value: dict[pathlib.Path, int]


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Itself, "'children' of Itself: Itself contains itself"),
        (Impossible, "'value' of Impossible: JSON cannot carry a complex"),
        (TwoClasses, "TwoClasses: .*multiple Struct types"),
        (InSet, "'values' of InSet: Made is not hashable"),
        (Unresolved, "Unresolved: its annotations cannot be resolved"),
        (SameName, "SameName: two fields have the same name on the wire"),
        (Contradiction, "'value' of Contradiction: .*min_length"),
        (PathKeys, "'value' of PathKeys: the keys of a dict"),
        (list, "its args must be an attrs class or dict"),
    ],
)
def test_a_class_that_cannot_work_is_refused_where_it_is_declared(cls: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        bind(cls, {})


@pytest.mark.parametrize(
    ("python", "wire"),
    [("project_id", "projectId"), ("id", "id"), ("p50_ms", "p50Ms"), ("from_", "from"), ("_a_b", "aB"), ("aB", "aB")],
)
def test_names_are_in_camel_case_on_the_wire(python: str, wire: str) -> None:
    assert camel(python) == wire


def test_a_class_is_compiled_once_and_not_its_subclass_with_it() -> None:
    @attrs.frozen
    class Base:
        a: int = 1

    @attrs.frozen
    class Derived(Base):
        b: int = 2

    assert bind(Base, {"a": 5}) == Base(5)
    assert bind(Derived, {"a": 5, "b": 6}) == Derived(5, 6)
