"""Which field of an attrs class refused its value, and why, in words that a peer may read.

attrs says neither: its `__init__` lets whatever a converter or validator raises through. So when one has raised, the
converters and validators are run again one by one. They must be free of side effects for that, as they should be.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any

import attrs

from poppo_ipc.commands._misfit import Misfit
from poppo_ipc.commands._text import clip

__all__ = ["misfit_of"]

_VAGUE = "is not valid"
#: Text with a class or an object in it is Python's own, or attrs', and tells a peer nothing.
_PYTHON = re.compile(r"<(class|function|enum|built-in|[\w.]+ object)\b|object at 0x|\battrib|__\w+__|\w\(\)")
#: How the number and length validators of attrs end: with the value that was given.
_GIVEN = re.compile(r"(must be (?:[<>]=?|==|=>|=<) [^:]+): .*\Z", re.DOTALL)
_OPERATORS = {">=": "at least", "=>": "at least", "<=": "at most", "=<": "at most", ">": "over", "<": "under"}
_OPERATOR = re.compile(r"must be (>=|=>|<=|=<|>|<) ")


def misfit_of(error: Exception, cls: type, values: Mapping[str, Any], wires: Mapping[str, str]) -> Misfit:
    """Explain `error`, which `cls` raised when it was made of `values`.

    Args:
        error: a ValueError or TypeError.
        cls: the attrs class.
        values: what it was called with, by parameter name.
        wires: the wire's names of its attributes.
    """
    for attribute, found, own_words in _refusals(cls, values):
        if type(found) is type(error):
            name = wires.get(attribute.name, attribute.name)
            return Misfit(_words(found, attribute) if own_words else _VAGUE, (name,))
    # Neither a converter nor a validator: `__attrs_post_init__`, where the author looks at the fields together.
    return Misfit(_words(error, None))


def _refusals(cls: type, values: Mapping[str, Any]) -> Any:
    """Each refusal in the order in which attrs meets them: all converters come before the first validator."""
    instance: Any = object.__new__(cls)
    checked = []
    for attribute in attrs.fields(cls):
        if attribute.alias not in values:
            continue
        value, convert = values[attribute.alias], attribute.converter
        if convert is not None and not isinstance(convert, attrs.Converter):
            try:
                value = convert(value)
            except (ValueError, TypeError) as error:
                # int() and the like speak of literals and bases; a function of the author's speaks for the author.
                yield attribute, error, isinstance(convert, types.FunctionType)
        object.__setattr__(instance, attribute.name, value)
        checked.append((attribute, value))
    for attribute, value in checked:
        if attribute.validator is not None:
            try:
                attribute.validator(instance, attribute, value)
            except (ValueError, TypeError) as error:
                yield attribute, error, True


def _words(error: Exception, attribute: Any) -> str:
    # attrs' own instance_of, in_ and matches_re raise with the attribute beside a text that is full of reprs, and a
    # TypeError is as a rule Python's own: its text is for the author.
    if isinstance(error, TypeError) or not error.args or not isinstance(error.args[0], str) or len(error.args) > 1:
        return _VAGUE
    text = error.args[0].strip()
    if attribute is not None:
        text = text.removeprefix(f"'{attribute.name}' ")
    text = _GIVEN.sub(r"\1", text)
    text = _OPERATOR.sub(lambda match: f"must be {_OPERATORS[match[1]]} ", text)
    return _VAGUE if not text or _PYTHON.search(text) else clip(text)
