"""What an argument may be expected to be, and in what a value differs from that, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

__all__ = ["ABSENT", "ANY", "MISSING", "Partial", "differences", "is_plain", "partial", "shown"]

_SHOWN_CHARS: Final = 200


class _Any:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # how Python has it for what has no hash

    def __repr__(self) -> str:
        return "ANY"


class _Named:
    """A value that is only itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: Fits every value of an argument that was given.
ANY: Final[Any] = _Any()
#: Fits an argument that was not given, or given with its default.
ABSENT: Final[Any] = _Named("ABSENT")
#: Stands for the value of an argument that was not given.
MISSING: Final[Any] = _Named("MISSING")


class Partial:
    """An object of which only some entries are looked at; each may be a matcher in turn."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self.entries = dict(entries)

    def __repr__(self) -> str:
        return f"partial({self.entries!r})"


def partial(entries: Mapping[str, Any] | None = None, /, **named: Any) -> Any:
    """Fits an object that has these entries, whatever else it has: `config=partial(retries=3)`."""
    return Partial({**(entries or {}), **named})


def differences(expected: Any, got: Any, path: str = "") -> list[str]:
    """In what `got` differs from `expected`, a line for each place; empty where it fits.

    `expected` is a plain value, `ANY`, `ABSENT`, `partial(...)`, a compiled pattern (searched for in a text), a type
    (the value is an instance), a function (true for the value), or a dict or list with any of these inside. A path
    fits its text.
    """
    return list(_differences(expected, got, path))


def is_plain(expected: Any) -> bool:
    """Whether it is a value, and none of the matchers."""
    matcher = expected is ANY or expected is ABSENT or expected is MISSING
    return not (matcher or isinstance(expected, Partial | re.Pattern) or callable(expected))


def shown(value: Any) -> str:
    """A value for people: its repr, cut where it is long."""
    if isinstance(value, re.Pattern):
        text = f"re.compile({value.pattern!r})"
    elif isinstance(value, type):
        text = value.__name__
    elif callable(value):
        text = f"{getattr(value, '__name__', value)}(value)"
    else:
        text = repr(str(value) if isinstance(value, PurePath) else value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _differences(expected: Any, got: Any, path: str) -> Iterator[str]:
    if got is MISSING or expected is MISSING:
        yield from _presence(expected, got, path)
    elif expected is ABSENT:
        yield f"{path}: expected not to be given, got {shown(got)}"
    elif isinstance(expected, Partial):
        yield from _entries(expected.entries, got, path, exact=False)
    elif isinstance(expected, Mapping):
        yield from _entries(expected, got, path, exact=True)
    elif isinstance(expected, list | tuple):
        yield from _items(expected, got, path)
    elif not _fits(expected, got):
        yield f"{path or 'value'}: expected {shown(expected)}, got {shown(got)}"


def _presence(expected: Any, got: Any, path: str) -> Iterator[str]:
    if expected is MISSING:
        if got is not MISSING:
            yield f"{path}: not expected, got {shown(got)}"
    elif expected is not ABSENT:
        yield f"{path}: expected {shown(expected)}, was not given"


def _fits(expected: Any, got: Any) -> bool:
    if isinstance(expected, re.Pattern):
        return isinstance(got, str) and expected.search(got) is not None
    if isinstance(expected, type):
        # A boolean is an int for Python and none for JSON.
        return isinstance(got, expected) and not (isinstance(got, bool) and expected in (int, float))
    if isinstance(expected, PurePath):
        return bool(str(expected) == got)
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got or (not isinstance(expected, int | float) and _ask(expected, got))
    return _ask(expected, got)


def _ask(expected: Any, got: Any) -> bool:
    # By its equality first: `unittest.mock.ANY` and other matchers of that kind may be callable too.
    if expected == got:
        return True
    return _is_predicate(expected) and bool(expected(got))


def _is_predicate(expected: Any) -> bool:
    function: Callable[..., Any] | Any = expected
    return callable(function)


def _entries(expected: Mapping[str, Any], got: Any, path: str, *, exact: bool) -> Iterator[str]:
    if not isinstance(got, Mapping):
        yield f"{path or 'value'}: expected {shown(dict(expected))}, got {shown(got)}"
        return
    names = [*expected, *(name for name in got if exact and name not in expected)]
    for name in names:
        inner = f"{path}.{name}" if path else str(name)
        yield from _differences(expected.get(name, MISSING), got.get(name, MISSING), inner)


def _items(expected: list[Any] | tuple[Any, ...], got: Any, path: str) -> Iterator[str]:
    if not isinstance(got, list | tuple):
        yield f"{path or 'value'}: expected {shown(expected)}, got {shown(got)}"
        return
    for index in range(max(len(expected), len(got))):
        yield from _differences(
            expected[index] if index < len(expected) else MISSING,
            got[index] if index < len(got) else MISSING,
            f"{path}[{index}]",
        )
