"""`ipc.describe` and the JSON Schema in it: valid, and true of what the models take and give."""

from __future__ import annotations

import datetime
import enum
import pathlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import attrs
import jsonschema
import msgspec
import pytest
from msgspec import Meta

from poppo_ipc.commands import Arg, Principal, Router, WireType, describe, schema
from poppo_ipc.commands._fields import fields_of_class


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@attrs.frozen
class Config:
    """Settings.

    Of a project.
    """

    retries: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=3, description="Waits.")] = attrs.field(
        factory=list
    )
    by_name: Annotated[dict[str, int], Meta(min_length=1)] | None = None
    pair: tuple[int, str] = (1, "a")
    path: pathlib.Path | None = None


@attrs.frozen
class AddArgs:
    project_path: Annotated[str, Meta(min_length=1), Arg(doc="Where it is.")]
    colour: Colour = Colour.RED
    mode: Literal["fast", "safe"] = "fast"
    count: int = attrs.field(default=3, metadata={"doc": "How many."})
    config: Config | None = None
    tags: set[str] = attrs.Factory(set)
    at: datetime.datetime | None = None
    anything: Any = None
    first: Config = Config()
    made: list[int] = attrs.Factory(lambda: [1])
    odd: Any = attrs.field(default=object)


@dataclass
class Tree:
    children: list[Tree]


def test_the_schema_has_names_docs_defaults_bounds_and_choices() -> None:
    made = schema(AddArgs, closed=True)
    assert made["title"] == "AddArgs"
    assert made["required"] == ["projectPath"]
    assert made["additionalProperties"] is False
    properties = made["properties"]
    assert properties["projectPath"] == {"type": "string", "minLength": 1, "description": "Where it is."}
    assert properties["count"] == {"type": "integer", "default": 3, "description": "How many."}
    assert (sorted(properties["colour"]["enum"]), properties["colour"]["default"]) == (["green", "red"], "red")
    assert (sorted(properties["mode"]["enum"]), properties["mode"]["default"]) == (["fast", "safe"], "fast")
    assert properties["first"]["default"] == {"retries": [], "byName": None, "pair": [1, "a"], "path": None}
    assert "default" not in properties["made"]
    assert "default" not in properties["odd"]
    assert properties["tags"] == {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "default": []}
    config, null = properties["config"]["anyOf"]
    assert null == {"type": "null"}
    assert config["description"] == "Settings.\n\nOf a project."
    assert config["properties"]["retries"] == {
        "type": "array",
        "items": {"type": "integer", "minimum": 0},
        "maxItems": 3,
        "description": "Waits.",
        "default": [],
    }
    assert config["properties"]["byName"]["anyOf"][0] == {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "minProperties": 1,
    }
    assert "$ref" not in str(made)


SAMPLES: list[tuple[Any, bool]] = [
    ({"projectPath": "p"}, True),
    ({}, False),
    ({"projectPath": ""}, False),
    ({"projectPath": "p", "other": 1}, False),
    ({"projectPath": "p", "colour": "red"}, True),
    ({"projectPath": "p", "colour": "blue"}, False),
    ({"projectPath": "p", "mode": "slow"}, False),
    ({"projectPath": "p", "count": "x"}, False),
    ({"projectPath": "p", "config": None}, True),
    ({"projectPath": "p", "config": {"retries": [1, 2]}}, True),
    ({"projectPath": "p", "config": {"retries": [-1]}}, False),
    ({"projectPath": "p", "config": {"retries": [1, 2, 3, 4]}}, False),
    ({"projectPath": "p", "config": {"byName": {}}}, False),
    ({"projectPath": "p", "config": {"pair": [1, "b"]}}, True),
    ({"projectPath": "p", "config": {"pair": [1]}}, False),
    ({"projectPath": "p", "config": {"pair": [1, "b", 2]}}, False),
    ({"projectPath": "p", "config": {"path": "/p"}}, True),
    ({"projectPath": "p", "config": {"path": 1}}, False),
    ({"projectPath": "p", "anything": [{"a": None}]}, True),
]


@pytest.mark.parametrize(("args", "fits"), SAMPLES)
def test_the_schema_agrees_with_the_model(args: Any, fits: bool) -> None:
    validator = jsonschema.Draft202012Validator(schema(AddArgs, closed=True))
    assert validator.is_valid(args) is fits
    try:
        msgspec.convert(args, fields_of_class(AddArgs).strict)
    except msgspec.ValidationError:
        assert not fits
    else:
        assert fits


def test_what_is_answered_may_hold_more_than_its_schema_names() -> None:
    """A server that grows a field stays true to its own description, and to a client's older one."""
    for grown in ({"retries": [], "new": 1}, {"retries": [], "first": {"more": None}}):
        assert jsonschema.Draft202012Validator(schema(Config)).is_valid(grown)
        assert jsonschema.Draft202012Validator(schema(list[Config])).is_valid([grown])
        assert not jsonschema.Draft202012Validator(schema(Config, closed=True)).is_valid(grown)
    assert not jsonschema.Draft202012Validator(schema(Config)).is_valid({"retries": "x"})


@pytest.mark.parametrize(
    "annotation",
    [
        AddArgs,
        list[AddArgs],
        dict[str, Config],
        AddArgs | None,
        tuple[int, Config],
        set[int],
        frozenset[Colour],
        Colour | None,
        Tree,
        list[Tree],
        datetime.datetime,
        bytes,
        None,
        Any,
        dict[str, Any],
    ],
)
def test_every_schema_is_one_and_whole_in_itself(annotation: Any) -> None:
    made = schema(annotation)
    jsonschema.Draft202012Validator.check_schema(made)
    assert "$ref" not in str(made)
    assert msgspec.json.decode(msgspec.json.encode(made)) == made


def test_a_schema_is_the_callers_own() -> None:
    model = WireType(AddArgs)
    model.schema()["properties"].clear()
    assert model.schema()["properties"]


def router() -> Router:
    made = Router()

    @made.command("b.add", idempotent=True)
    async def add(ctx: Any, args: AddArgs) -> list[Config]:
        """Add it."""
        return []

    @made.command("a")
    def nothing():  # type: ignore[no-untyped-def]
        pass

    @made.command("c.watch", scope="watching")
    async def watch(n: int = 1) -> AsyncIterator[Config]:
        yield Config()

    @made.command("c.send", streaming=True)
    async def send(ctx: Any) -> None: ...

    made.command("secret", hidden=True)(nothing)
    made.event("z.e", Config, summary="E.")
    made.event("a.e")
    return made


def test_describe_has_the_shape_of_the_wire() -> None:
    described = describe(router(), {"name": "s", "version": "1.0"})
    assert described["server"] == {"name": "s", "version": "1.0"}
    assert [command["name"] for command in described["commands"]] == ["a", "b.add", "c.send", "c.watch"]
    nothing, add, send, watch = described["commands"]
    assert nothing == {
        "name": "a",
        "summary": "",
        "args": {"title": "a", "type": "object", "properties": {}, "required": [], "additionalProperties": False},
        "result": None,
        "streaming": False,
        "idempotent": False,
        "scope": "a",
    }
    assert (add["summary"], add["idempotent"], add["args"]) == ("Add it.", True, schema(AddArgs, closed=True))
    assert add["result"] == schema(list[Config])
    assert (watch["streaming"], watch["result"], watch["item"]) == (True, None, schema(Config))
    assert (watch["scope"], watch["args"]["properties"]) == ("watching", {"n": {"type": "integer", "default": 1}})
    assert (send["streaming"], send["result"], send["item"]) == (True, {"type": "null"}, None)
    assert described["events"] == [
        {"name": "a.e", "summary": "", "data": None},
        {"name": "z.e", "summary": "E.", "data": schema(Config)},
    ]
    assert msgspec.json.decode(msgspec.json.encode(described)) == described


def test_describe_leaves_out_what_is_not_allowed() -> None:
    described = describe(router(), {}, Principal("p", ("c.*", "watching")).allows)
    assert [command["name"] for command in described["commands"]] == ["c.send", "c.watch"]
