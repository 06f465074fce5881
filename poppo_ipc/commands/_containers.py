"""Conversions of lists, tuples and dicts, made of the conversion of what they hold.

Each is None where there is nothing to convert inside. The quick way knows no positions: when something does not fit,
it is found again, one by one, to tell where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from poppo_ipc.commands._misfit import Misfit

__all__ = ["build_each", "build_items", "convert_values", "encode_each", "encode_items"]

_Convert = Callable[[Any], Any]


def build_items(convert: _Convert | None, maker: type) -> _Convert | None:
    """Make a list, set or tuple of converted items."""
    if convert is None:
        return None
    items = _items(convert)
    return items if maker is list else lambda values: maker(items(values))


def encode_items(convert: _Convert | None) -> _Convert | None:
    """Make a JSON array of converted items."""
    if convert is None:
        return None
    items = _items(convert)

    def encode(values: Any) -> list[Any]:
        if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
            raise Misfit(f"expected a list, got {type(values).__name__}")
        return items(values)

    return encode


def _items(convert: _Convert) -> Callable[[Any], list[Any]]:
    def items(values: Any) -> list[Any]:
        values = values if isinstance(values, list | tuple) else list(values)
        try:
            return [convert(value) for value in values]
        except Misfit as misfit:
            _blame(misfit, [convert] * len(values), enumerate(values))

    return items


def build_each(converts: list[_Convert | None]) -> _Convert | None:
    """Convert a tuple item by item, each by its own conversion."""
    if not any(converts):
        return None
    each = [convert or _same for convert in converts]

    def build(values: Any) -> tuple[Any, ...]:
        try:
            return tuple(convert(value) for convert, value in zip(each, values, strict=True))
        except Misfit as misfit:
            _blame(misfit, each, enumerate(values))

    return build


def encode_each(converts: list[_Convert | None]) -> _Convert | None:
    """Make a JSON array of a tuple, each item by its own conversion."""
    build = build_each(converts)
    if build is None:
        return None

    def encode(values: Any) -> tuple[Any, ...]:
        if not isinstance(values, tuple | list) or len(values) != len(converts):
            raise Misfit(f"expected a tuple of {len(converts)}")
        converted: tuple[Any, ...] = build(values)
        return converted

    return encode


def convert_values(convert: _Convert | None) -> _Convert | None:
    """Convert the values of a dict."""
    if convert is None:
        return None

    def build(values: Any) -> dict[Any, Any]:
        if not isinstance(values, Mapping):
            raise Misfit(f"expected a dict, got {type(values).__name__}")
        try:
            return {key: convert(value) for key, value in values.items()}
        except Misfit as misfit:
            steps = ((str(key), value) for key, value in values.items())
            _blame(misfit, [convert] * len(values), steps)

    return build


def _same(value: Any) -> Any:
    return value


def _blame(misfit: Misfit, converts: list[_Convert], steps: Any) -> NoReturn:
    for convert, (step, value) in zip(converts, steps, strict=True):
        try:
            convert(value)
        except Misfit as found:
            raise found.under(step) from None
    raise misfit
