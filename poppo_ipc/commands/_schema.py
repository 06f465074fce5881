"""JSON Schema (draft 2020-12) of compiled nodes, under the names that the wire has.

Written out in place, without `$defs`: compiled types never contain themselves, and a reader of `ipc.describe` then has
each command whole. msgspec's own generator does the leaves.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from poppo_ipc.commands._fields import Field, FieldSet
from poppo_ipc.commands._misfit import Misfit
from poppo_ipc.commands._nodes import Node

__all__ = ["schema_of", "schema_of_fields"]

_DEFS = "#/$defs/"


def schema_of(node: Node, *, closed: bool = False) -> dict[str, Any]:
    """The schema of a compiled annotation. A new dict each time.

    `closed`: its objects hold the fields that are named and no others. Args are so; what is answered and told may hold
    more (COMMANDS.md), and who reads it passes that over.
    """
    if node.fields is not None:
        schema = schema_of_fields(node.fields, closed=closed)
    elif node.options:
        schema = {"anyOf": [schema_of(option, closed=closed) for option in node.options]}
    elif node.items:
        count = len(node.items)
        prefix = [schema_of(item, closed=closed) for item in node.items]
        schema = {"type": "array", "prefixItems": prefix, "items": False, "minItems": count, "maxItems": count}
    elif node.item is not None:
        inner = schema_of(node.item, closed=closed)
        of_kind: dict[str, Any] = {"type": "object", "additionalProperties": inner}
        schema = of_kind if node.entries else {"type": "array", "items": inner}
        if node.unique:
            schema["uniqueItems"] = True
    else:
        return _leaf(node.strict)
    return _with_metas(schema, node)


def schema_of_fields(fields: FieldSet, *, closed: bool) -> dict[str, Any]:
    """The schema of an object with these fields, and, where it is `closed`, no others."""
    schema: dict[str, Any] = {"title": fields.name, "type": "object"}
    doc = None if fields.cls is None else fields.cls.__doc__
    if doc:
        schema["description"] = inspect.cleandoc(doc)
    shown = fields.by_wire.values()
    schema["properties"] = {field.wire: _property(field, closed) for field in shown}
    schema["required"] = [field.wire for field in shown if field.required]
    if closed:
        schema["additionalProperties"] = False
    return schema


def _property(field: Field, closed: bool) -> dict[str, Any]:
    schema = schema_of(field.node, closed=closed)
    if field.info.doc:
        schema = {"description": field.info.doc, **schema}
    with contextlib.suppress(_NoDefault):
        schema["default"] = _default(field)
    return schema


class _NoDefault(Exception):
    """There is no default that could be told."""


def _default(field: Field) -> Any:
    declared, encode = field.declared, field.node.encode
    factory = getattr(declared, "factory", None)
    if declared is attrs.NOTHING or (factory is not None and factory not in (list, dict, set)):
        raise _NoDefault
    value = declared if factory is None else factory()
    try:
        return msgspec.json.decode(msgspec.json.encode(value if encode is None else encode(value)))
    except (Misfit, TypeError, ValueError):
        # One that the class takes, and JSON does not: a stand-in of the author's own, say.
        raise _NoDefault from None


def _with_metas(schema: dict[str, Any], node: Node) -> dict[str, Any]:
    """Add what `Annotated` says of a type that is made of others."""
    array, counted = node.item is not None and not node.entries, {}
    for meta in node.metas:
        for ours, theirs in (("title", "title"), ("description", "description"), ("examples", "examples")):
            if getattr(meta, ours) is not None:
                schema[theirs] = getattr(meta, ours)
        for bound in ("min", "max"):
            length = getattr(meta, f"{bound}_length")
            if length is not None:
                counted[f"{bound}{'Items' if array else 'Properties'}"] = length
        schema.update(meta.extra_json_schema or {})
    return {**schema, **counted}


def _leaf(annotation: Any) -> dict[str, Any]:
    schema = msgspec.json.schema(annotation)
    definitions = schema.pop("$defs", {})
    return dict(_inlined(schema, definitions, ()))


def _inlined(part: Any, definitions: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    if isinstance(part, list):
        return [_inlined(item, definitions, within) for item in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref", "")
    if not isinstance(reference, str) or not reference.startswith(_DEFS):
        return {key: _inlined(value, definitions, within) for key, value in part.items()}
    name = reference.removeprefix(_DEFS)
    # A Struct or dataclass of the author's may contain itself: from there on anything is allowed.
    target = {} if name in within else _inlined(definitions[name], definitions, (*within, name))
    return {**target, **{key: value for key, value in part.items() if key != "$ref"}}
