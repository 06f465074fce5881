"""A daemon's description for clients in TypeScript: interfaces of arguments, items and answers, a map of all events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from poppo_ipc.cli._arguments import properties
from poppo_ipc.cli._described import Description, Schema
from poppo_ipc.cli._safe import safe

__all__ = ["typescript"]

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SCALARS: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_HEAD: Final = """\
// Written by `poppo-ipc describe --typescript`; do not edit.
// Server: {server}

"""
_CALL: Final = """\
/** The names of all commands and of all events. */
export type CommandName = keyof Commands;
export type EventName = keyof Events;

/** The arguments of a command, as a parameter: to be left out where none of them is required. */
export type ArgsOf<N extends CommandName> =
  {} extends Commands[N]["args"] ? [args?: Commands[N]["args"]] : [args: Commands[N]["args"]];

/** What a typed client looks like. */
export interface TypedClient {
  call<N extends CommandName>(command: N, ...args: ArgsOf<N>): Promise<Commands[N]["result"]>;
  stream<N extends CommandName>(command: N, ...args: ArgsOf<N>): AsyncIterable<Commands[N]["item"]>;
  on<N extends EventName>(event: N, listener: (data: Events[N]) => void): unknown;
}
"""


def typescript(description: Description) -> str:
    """A module of declarations alone: nothing in it runs."""
    server = description.server
    parts = [_HEAD.format(server=safe(f"{server.get('name', '')} {server.get('version', '')}").strip())]
    names = _Names()
    commands, events = [], []
    for name, entry in sorted(description.commands.items()):
        made: dict[str, str] = {}
        for key, ending in (("args", "Args"), ("item", "Item"), ("result", "Result")):
            made[key] = _declared(parts, names.of(name, ending), entry.get(key), answer=key != "args")
        item = made["item"] if entry.get("streaming") else "never"
        commands += [
            _comment(entry.get("summary"), "  "),
            f"  {_key(name)}: {{ args: {made['args']}; item: {item}; result: {made['result']} }};\n",
        ]
    for name, entry in sorted(description.events.items()):
        data = _declared(parts, names.of(name, "Event"), entry.get("data"), answer=True)
        events += [_comment(entry.get("summary"), "  "), f"  {_key(name)}: {data};\n"]
    parts.append(f"/** All commands by their names. */\nexport interface Commands {{\n{''.join(commands)}}}\n\n")
    parts.append(f"/** All events by their names. */\nexport interface Events {{\n{''.join(events)}}}\n\n")
    return "".join([*parts, _CALL])


class _Names:
    """Names of interfaces, none given twice."""

    def __init__(self) -> None:
        self._taken = {"Commands", "Events", "CommandName", "EventName", "ArgsOf", "TypedClient"}

    def of(self, name: str, ending: str) -> str:
        words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
        made = "".join(word[0].upper() + word[1:] for word in words) + ending
        if made[:1].isdigit():
            made = f"_{made}"
        found, count = made, 1
        while found in self._taken:
            count += 1
            found = f"{made}{count}"
        self._taken.add(found)
        return found


def _declared(parts: list[str], name: str, schema: Any, *, answer: bool) -> str:
    """Add an interface where the schema is one of fields; gives the type's name or text."""
    if not isinstance(schema, dict) or not schema:
        return "unknown"
    if not properties(schema):
        return _type(schema, answer, "")
    parts.append(f"{_comment(schema.get('description'), '')}export interface {name} {_fields(schema, answer, '')}\n\n")
    return name


def _type(schema: Any, answer: bool, indent: str) -> str:
    if not isinstance(schema, dict):
        return "unknown"
    if "const" in schema:
        return json.dumps(schema["const"])
    if isinstance(schema.get("enum"), list):
        return " | ".join(json.dumps(value) for value in schema["enum"]) or "never"
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list):
        return " | ".join(dict.fromkeys(_type(option, answer, indent) for option in options)) or "never"
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(dict.fromkeys(_type({**schema, "type": each}, answer, indent) for each in kind)) or "never"
    if kind == "array":
        if isinstance(schema.get("prefixItems"), list):
            return f"[{', '.join(_type(each, answer, indent) for each in schema['prefixItems'])}]"
        return f"Array<{_type(schema.get('items'), answer, indent)}>"
    if kind == "object":
        if properties(schema):
            return _fields(schema, answer, indent)
        extra = schema.get("additionalProperties", True)
        if extra is False:
            return "Record<string, never>"
        return f"Record<string, {_type(extra, answer, indent) if isinstance(extra, dict) else 'unknown'}>"
    return _SCALARS.get(kind, "unknown") if isinstance(kind, str) else "unknown"


def _fields(schema: Schema, answer: bool, indent: str) -> str:
    return "{\n" + "".join(_field_lines(schema, answer, indent + "  ")) + indent + "}"


def _field_lines(schema: Schema, answer: bool, indent: str) -> Iterator[str]:
    required = schema.get("required", [])
    for name, field in properties(schema).items():
        yield _comment(field.get("description") if isinstance(field, dict) else None, indent)
        # Answers have all of their fields, and may have more than these.
        yield f"{indent}{_key(name)}{'' if name in required or answer else '?'}: {_type(field, answer, indent)};\n"


def _comment(text: Any, indent: str) -> str:
    if not isinstance(text, str) or not text.strip():
        return ""
    words = " ".join(safe(text.replace("\n", " ")).split()).replace("*/", "*\\/")
    return f"{indent}/** {words} */\n"


def _key(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)
