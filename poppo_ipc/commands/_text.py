"""What msgspec says about a value, in plain words.

This is the one place that reads the text of `msgspec.ValidationError`: that text is the only account it gives of what
is wrong and where. A form that is not known here becomes "is not valid", never msgspec's own words, since those name
Python types.
"""

from __future__ import annotations

import ast
import enum
import re
from typing import Final

import attrs

__all__ = ["ANY_KEY", "Complaint", "Kind", "Segment", "clip", "field_path", "read_complaint"]

#: A step on the way to a value: the name of a field or entry, or the index of an item.
Segment = str | int


class _AnyKey(str):
    __slots__ = ()


#: What stands in msgspec's paths for an entry of a dict, whose key it does not tell. Known by identity, since a key may
#: well be three dots.
ANY_KEY: Final = _AnyKey("...")

#: Characters of a peer's own text that are echoed: enough to recognise it, too few to fill a log with.
_ECHO = 80

_EXPECTED: Final = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "bytes": "a base64 string",
    "datetime": "a date and time",
    "date": "a date",
    "time": "a time of day",
    "duration": "a duration",
    "uuid": "a UUID",
    "decimal": "a decimal number",
}
_GOT: Final = {**_EXPECTED, "float": "a decimal number", "bytes": "bytes"}
_UNITS: Final = {"str": "character", "array": "item", "object": "entry", "bytes": "byte"}
_BOUNDS: Final = {">=": "at least", "<=": "at most", ">": "over", "<": "under"}
_FIXED: Final = {
    "Invalid RFC3339 encoded datetime": "expected a date and time such as 2030-01-31T12:00:00Z",
    "Invalid RFC3339 encoded date": "expected a date such as 2030-01-31",
    "Invalid RFC3339 encoded time": "expected a time of day such as 12:00:00",
    "Invalid ISO8601 duration": "expected a duration such as PT90S",
    "Only units 'D', 'H', 'M', and 'S' are supported when parsing ISO8601 durations": (
        "expected a duration in days, hours, minutes or seconds, such as PT90S"
    ),
    "Duration is out of range": "is out of range",
    "Number out of range": "is out of range",
    "Integer value out of range": "is out of range",
    "Invalid UUID": "expected a UUID",
    "Invalid decimal string": "expected a decimal number",
    "Invalid base64 encoded string": "expected a base64 string",
    "Expected `str`": "expected a string",
}

_KEY_AT = re.compile(r"(?P<said>.*) - at `key` in `(?P<path>\$[^`]*)`\Z", re.DOTALL)
_AT = re.compile(r"(?P<said>.*) - at `(?P<path>\$[^`]*)`\Z", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`\Z")
_BOUND = re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (\S+)\Z")
_MULTIPLE = re.compile(r"Expected `(?:int|float)` that's a multiple of (\S+)\Z")
_LENGTH = re.compile(r"Expected `(str|array|object|bytes)` of length (>=|<=|==)? ?(\d+)(?:, got (\d+))?\Z")
_PATTERN = re.compile(r"Expected `str` matching regex (.*)\Z", re.DOTALL)
_ZONE = re.compile(r"Expected `(datetime|time)` with (a|no) timezone component\Z")
_CHOICE = re.compile(r"Invalid (?:enum )?value (.*)\Z", re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


class Kind(enum.Enum):
    """In what way a value does not fit."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    WRONG = "wrong"


@attrs.frozen
class Complaint:
    """One thing that is wrong: at `path`, which ends in the name that is missing or unknown where that is the kind.

    `problem` is a phrase in plain words. `choice` is true where the value is none of those allowed, and a list of
    these would help; `key` where the name of an entry is wrong, and not its value.
    """

    kind: Kind
    path: tuple[Segment, ...]
    problem: str
    choice: bool = False
    key: bool = False


def clip(text: str) -> str:
    """`text`, cut where it is too long to echo."""
    return text if len(text) <= _ECHO else text[: _ECHO - 1] + "…"


def field_path(path: tuple[Segment, ...]) -> str:
    """The path as the wire has it: `config.retries[2]`; an entry with an odd name is quoted: `config["a b"]`."""
    text = ""
    for segment in path:
        if isinstance(segment, int):
            text += f"[{segment}]"
        elif _PLAIN_KEY.match(segment) or segment is ANY_KEY:
            name = "*" if segment is ANY_KEY else clip(segment)
            text += f".{name}" if text else name
        else:
            text += '["' + clip(segment).replace("\\", "\\\\").replace('"', '\\"') + '"]'
    return text


def read_complaint(text: str) -> Complaint:
    """Read the text of a `msgspec.ValidationError`."""
    for pattern, key in ((_KEY_AT, True), (_AT, False)):
        match = pattern.match(text)
        if match:
            return _complaint(match["said"], _segments(match["path"]), key)
    return _complaint(text, (), False)


def _segments(path: str) -> tuple[Segment, ...]:
    return tuple(name or (ANY_KEY if index == ANY_KEY else int(index)) for name, index in _STEP.findall(path))


def _complaint(said: str, path: tuple[Segment, ...], key: bool) -> Complaint:
    if match := _MISSING.match(said):
        return Complaint(Kind.MISSING, (*path, match[1]), "is missing")
    if match := _UNKNOWN.match(said):
        return Complaint(Kind.UNKNOWN, (*path, match[1]), "is unknown")
    if match := _CHOICE.match(said):
        problem = f"{clip(_literal(match[1]))} is not one of those allowed"
        return Complaint(Kind.WRONG, path, problem, choice=True, key=key)
    return Complaint(Kind.WRONG, path, _problem(said), key=key)


def _problem(said: str) -> str:
    if said in _FIXED:
        return _FIXED[said]
    if match := _WRONG_TYPE.match(said):
        return f"expected {_expected(match[1])}, got {_GOT.get(match[2], 'something else')}"
    if match := _BOUND.match(said):
        return f"must be {_BOUNDS[match[1]]} {_number(match[2])}"
    if match := _MULTIPLE.match(said):
        return f"must be a multiple of {_number(match[1])}"
    if match := _LENGTH.match(said):
        return _length(match[1], match[2] or "==", int(match[3]), match[4])
    if match := _PATTERN.match(said):
        return f"must match the pattern {_literal(match[1])}"
    if match := _ZONE.match(said):
        return f"expected {_EXPECTED[match[1]]} {'with a' if match[2] == 'a' else 'without a'} time zone"
    return "is not valid"


def _expected(names: str) -> str:
    words = [_EXPECTED.get(name, "another value") for name in names.split(" | ")]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _length(kind: str, relation: str, length: int, got: str | None) -> str:
    unit = _UNITS[kind]
    units = unit if length == 1 else "entries" if unit == "entry" else unit + "s"
    amount = {">=": "at least", "<=": "at most", "==": "exactly"}[relation]
    return f"must have {amount} {length} {units}" + (f", got {got}" if got else "")


def _number(text: str) -> str:
    # msgspec writes 0.0 for a float's bound of 0, which reads as a demand for a decimal number.
    return text.removesuffix(".0")


def _literal(text: str) -> str:
    # The text holds a Python repr: undone where it is one, so that neither quotes nor doubled backslashes get out.
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text
