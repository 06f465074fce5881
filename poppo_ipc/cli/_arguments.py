"""The arguments of a command from what was typed: `--name value`, by the command's schema or as they are given."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from poppo_ipc.cli._described import Schema, type_text
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._suggest import did_you_mean

__all__ = ["choices_of", "flag_of", "given_args", "parse_args", "properties"]

_NOTHING = object()


def parse_args(command: str, tokens: Sequence[str], schema: Schema | None, base: dict[str, Any]) -> dict[str, Any]:
    """The arguments that `tokens` give, laid over `base`.

    With a schema names and types are checked, and what is required has to be there; without one values are JSON where
    they parse as that, else text. `--a.b 3` sets a field of an object; a list takes JSON, or its flag several times;
    `--flag` alone is true, `--no-flag` false.

    Raises Failure with the flag that is meant where a name is not known.
    """
    args = dict(base)
    if schema is None:
        for path, text in _pairs(command, tokens):
            _put(args, path, _guessed(text))
        return args
    for path, text in _pairs(command, tokens, schema):
        names, field, denied = _find(command, path, schema)
        if denied:
            value: Any = False
        else:
            value = _value(command, flag_of(names), text, field)
        if _is(field, "array") and isinstance(_at(args, names), list) and (text or "")[:1] != "[":
            _at(args, names).extend(value)
        else:
            _put(args, names, value)
    missing = [name for name in schema.get("required", []) if name not in args]
    if missing:
        raise _wrong(command, f"{command} needs {' and '.join(flag_of([name]) for name in missing)}")
    return args


def given_args(text: str, flag: str = "--args") -> dict[str, Any]:
    """The JSON object that `flag` was given. Raises Failure for anything else."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _no_object(flag, f"{flag} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise _no_object(flag, f"{flag} has to be a JSON object")
    return value


def _no_object(flag: str, what: str) -> Failure:
    return Failure(what, f"Write it as {flag} '{{\"retries\": 3}}'", ExitCode.USAGE)


def flag_of(names: Sequence[str]) -> str:
    """The flag that is shown for an argument: `--project-id` for projectId."""
    return "--" + ".".join(_kebab(name) for name in names)


def properties(schema: Schema | None) -> dict[str, Schema]:
    """The fields of an object's schema."""
    found = (schema or {}).get("properties")
    return found if isinstance(found, dict) else {}


# -- what was typed -------------------------------------------------------------------------------------------------


def _pairs(command: str, tokens: Sequence[str], schema: Schema | None = None) -> Iterator[tuple[list[str], str | None]]:
    """Names and their values; None for a flag without one."""
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        if not token.startswith("--") or len(token) < 3:
            raise _wrong(command, f"{token!r} stands alone, and arguments are given by name", "Write --NAME VALUE.")
        name, equals, text = token[2:].partition("=")
        path = name.split(".")
        if not all(path):
            raise _wrong(command, f"{token} names no argument", "Write --NAME VALUE.")
        if equals:
            yield path, text
        elif rest and not rest[0].startswith("--") and not (schema and _takes_none(path, rest[0], schema)):
            yield path, rest.pop(0)
        else:
            yield path, None


def _takes_none(path: list[str], following: str, schema: Schema) -> bool:
    """Whether it is a yes/no flag, and what follows is no answer to it."""
    found = _lookup(path, schema)
    return found is not None and _kinds(found[1]) == {"boolean"} and following.lower() not in _ANSWERS


def _find(command: str, path: list[str], schema: Schema) -> tuple[list[str], Schema, bool]:
    """The names on the wire, the schema of the value, and whether `--no-NAME` denies it."""
    found = _lookup(path, schema)
    if found is not None:
        return *found, False
    if path[0].startswith("no-"):
        found = _lookup([path[0][3:], *path[1:]], schema)
        if found is not None and "boolean" in _kinds(found[1]):
            return *found, True
    typed = flag_of(path)
    known = [flag_of([name]) for name in properties(schema)]
    known += [flag_of([name, inner]) for name, field in properties(schema).items() for inner in properties(field)]
    hint = did_you_mean(typed, known)
    raise _wrong(command, f"{command} has no argument {typed}", hint.strip())


def _lookup(path: list[str], schema: Schema) -> tuple[list[str], Schema] | None:
    names: list[str] = []
    for part in path:
        fields = properties(schema)
        match = next((name for name in fields if _plain(name) == _plain(part)), None)
        if match is not None:
            names, schema = [*names, match], fields[match]
            continue
        extra = schema.get("additionalProperties", not fields)
        if extra is False or (not names and fields) or not ({"object", None} & _kinds(schema)):
            inner = [option for option in schema.get("anyOf", []) if option.get("type") == "object"]
            found = _lookup([part], inner[0]) if inner else None
            if found is None:
                return None
            names, schema = [*names, *found[0]], found[1]
        else:
            names, schema = [*names, part], extra if isinstance(extra, dict) else {}
    return names, schema


# -- values ---------------------------------------------------------------------------------------------------------

_ANSWERS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _value(command: str, flag: str, text: str | None, schema: Schema) -> Any:
    kinds = _kinds(schema)
    if text is None:
        if "boolean" in kinds or None in kinds:
            return True
        raise _wrong(command, f"{flag} needs a value ({type_text(schema)})")
    choices = choices_of(schema)
    if choices is not None:
        for choice in choices:
            if str(choice) == text:
                return choice
        hint = did_you_mean(text, map(str, choices))
        raise _wrong(command, f"{flag} is one of {', '.join(map(str, choices))}, not {text!r}", hint.strip())
    if None in kinds:
        return _guessed(text)
    for kind in ("boolean", "integer", "number", "object", "array", "string"):
        if kind in kinds:
            value = _as(kind, text, schema)
            if value is not _NOTHING:
                return value
    raise _wrong(command, f"{flag} takes {type_text(schema)}, not {text!r}")


def _as(kind: str, text: str, schema: Schema) -> Any:
    """The text as a value of a kind; `_NOTHING` where it is none."""
    if kind == "string":
        return text
    if kind == "boolean":
        return _ANSWERS.get(text.lower(), _NOTHING)
    if kind == "array" and not text.startswith("["):
        item = next((each for each in _options(schema) if each.get("type") == "array"), {}).get("items")
        inner = item if isinstance(item, dict) else {}
        if None in _kinds(inner):
            return [_guessed(text)]
        for each in ("integer", "number", "object", "string"):
            if each in _kinds(inner):
                value = _as(each, text, inner)
                if value is not _NOTHING:
                    return [value]
        return _NOTHING
    try:
        value = json.loads(text)
    except ValueError:
        return _NOTHING
    fits = {
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
    }
    return value if fits[kind] else _NOTHING


def _guessed(text: str | None) -> Any:
    if text is None:
        return True
    try:
        return json.loads(text)
    except ValueError:
        return text


def _options(schema: Schema) -> list[Schema]:
    return [inner for option in schema["anyOf"] for inner in _options(option)] if "anyOf" in schema else [schema]


def _kinds(schema: Schema) -> set[str | None]:
    """The types that a value may have; None among them for any."""
    found: set[str | None] = set()
    for option in _options(schema):
        kind = option.get("type")
        if kind is None and "enum" in option:
            kind = "string"
        found |= set(kind) if isinstance(kind, list) else {kind}
    return found - {"null"} or {None}


def _is(schema: Schema, kind: str) -> bool:
    return kind in _kinds(schema)


def choices_of(schema: Schema) -> list[Any] | None:
    """The values that it may have, where it may have no others."""
    options = [option for option in _options(schema) if option.get("type") != "null"]
    if not options or not all("enum" in option for option in options):
        return None
    return [choice for option in options for choice in option["enum"]]


def _put(args: dict[str, Any], names: Sequence[str], value: Any) -> None:
    *way, last = names
    for name in way:
        inner = args.get(name)
        args[name] = args = dict(inner) if isinstance(inner, dict) else {}
    args[last] = value


def _at(args: Any, names: Sequence[str]) -> Any:
    for name in names:
        args = args.get(name) if isinstance(args, dict) else None
    return args


def _wrong(command: str, what: str, todo: str = "") -> Failure:
    return Failure(what, f"{todo + ' ' if todo else ''}See poppo-ipc call {command} --help", ExitCode.USAGE)


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def _kebab(name: str) -> str:
    return "".join(f"-{character.lower()}" if character.isupper() else character for character in name).lstrip("-")
