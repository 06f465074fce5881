"""JSON values as text for people: tables, trees, and colours where they are on. All text in it is made safe."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from poppo_ipc.cli._safe import safe

__all__ = ["Style", "bytes_text", "cell", "duration_text", "render", "render_item", "table"]

_GOOD: Final = frozenset({"running", "active", "completed", "healthy", "idle", "ok", "ready", "enabled"})
_BAD: Final = frozenset({"failed", "unhealthy", "error", "critical", "dead"})
_WARY: Final = frozenset({"pending", "paused", "degraded", "warning", "stopping", "starting", "inactive", "cancelled"})
_INDENT: Final = "  "
#: The least that a column is cut down to.
_LEAST: Final = 8
#: Characters of a list of plain values that still stands on one line.
_LIST_WIDTH: Final = 60


class Style:
    """Colours, or none: each method gives its text as it is where they are off."""

    __slots__ = ("on",)

    def __init__(self, on: bool = False) -> None:
        self.on = on

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text

    def strong(self, text: str) -> str:
        """A heading."""
        return self._paint("1", text)

    def faint(self, text: str) -> str:
        """What matters less."""
        return self._paint("2", text)

    def good(self, text: str) -> str:
        """All is well."""
        return self._paint("32", text)

    def bad(self, text: str) -> str:
        """Something is wrong."""
        return self._paint("31", text)

    def wary(self, text: str) -> str:
        """Something is to be looked at."""
        return self._paint("33", text)

    def state(self, text: str) -> str:
        """A state by its name; anything else as it is."""
        word = text.strip().lower()
        if word in _GOOD:
            return self.good(text)
        if word in _BAD:
            return self.bad(text)
        return self.wary(text) if word in _WARY else text


def render(value: Any, style: Style, width: int, columns: Sequence[str] = ()) -> str:
    """A result: a message alone as it is, a list of objects as a table, an object as its fields, line by line."""
    return "\n".join(_lines(value, style, width, columns))


def render_item(value: Any, style: Style) -> str:
    """An item of a stream on one line."""
    if isinstance(value, Mapping) and value:
        return "  ".join(f"{style.faint(safe(str(key)) + '=')}{style.state(cell(part))}" for key, part in value.items())
    return cell(value)


def cell(value: Any) -> str:
    """A value in one line."""
    match value:
        case None:
            return "-"
        case True:
            return "yes"
        case False:
            return "no"
        case str():
            return safe(value)
        case float():
            return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"
        case Mapping() | list():
            return safe(json.dumps(value, ensure_ascii=False)) if value else "-"
    return safe(str(value))


def duration_text(seconds: float) -> str:
    """A time as `2d 3h`, `4m 5s`: two units are enough."""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{count}{unit}" for count, unit in parts[:2])


def bytes_text(count: float) -> str:
    """A size as `12.3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def table(
    rows: Iterable[Sequence[str]],
    headings: Sequence[str],
    style: Style,
    width: int,
    indent: str = "",
    whole: Sequence[str] = ("id",),
) -> list[str]:
    """Rows of safe texts below their headings.

    The widest columns are cut where the line would be too long, but for ids and those whose headings are in `whole`.
    """
    cells = [list(row) for row in rows]
    widths = [max([_width(heading), *(_width(row[at]) for row in cells)]) for at, heading in enumerate(headings)]
    room = width - len(indent) - 2 * (len(widths) - 1)
    # An id that is cut is of no use to anybody.
    free = [at for at, heading in enumerate(headings) if heading not in whole and not heading.endswith("Id")]
    while sum(widths) > room and free:
        widest = max(free, key=widths.__getitem__)
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1

    def line(row: Sequence[str], paint: Any) -> str:
        fitted = [_fitted(text, size) for text, size in zip(row, widths, strict=True)]
        fitted[-1] = fitted[-1].rstrip()
        return indent + "  ".join(map(paint, fitted)).rstrip()

    return [line(headings, style.strong), *(line(row, style.state) for row in cells)]


def _lines(value: Any, style: Style, width: int, columns: Sequence[str] = (), indent: str = "") -> list[str]:
    if isinstance(value, Mapping):
        if set(value) == {"message"}:
            return [indent + cell(value["message"])]
        lists = [key for key, part in value.items() if isinstance(part, list)]
        if set(value) == {"count", *lists} and len(lists) == 1:
            return _lines(value[lists[0]], style, width, columns, indent)
        return _fields(value, style, width, indent)
    if isinstance(value, list):
        if not value:
            return [indent + style.faint("(none)")]
        if all(isinstance(each, Mapping) for each in value):
            return _table_of(value, style, width, columns, indent)
        return [indent + cell(each) for each in value]
    return [indent + cell(value)]


def _table_of(
    rows: Sequence[Mapping[str, Any]], style: Style, width: int, columns: Sequence[str], indent: str
) -> list[str]:
    keys = list(columns) or list(dict.fromkeys(key for row in rows for key in row))
    shown = [[_field_text(key, row.get(key)) for key in keys] for row in rows]
    return table(shown, [safe(key) for key in keys], style, width, indent)


def _fields(value: Mapping[str, Any], style: Style, width: int, indent: str) -> list[str]:
    if not value:
        return [indent + style.faint("(nothing)")]
    simple = [key for key, part in value.items() if not _is_tree(part)]
    size = max((_width(safe(key)) for key in simple), default=0)
    lines = []
    for key, part in value.items():
        name = safe(str(key))
        if _is_tree(part):
            lines.append(f"{indent}{style.strong(name)}")
            lines += _lines(part, style, width, (), indent + _INDENT)
        else:
            lines.append(
                f"{indent}{style.faint(name.ljust(size))}  {style.state(_field_text(str(key), part))}".rstrip()
            )
    return lines


def _is_tree(part: Any) -> bool:
    if isinstance(part, list) and not any(isinstance(each, Mapping | list) for each in part):
        return len(cell(part)) > _LIST_WIDTH
    return isinstance(part, Mapping | list) and bool(part)


def _field_text(key: str, value: Any) -> str:
    """The text of a field; with its unit where the protocol says what that is."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        if key == "uptime":
            return duration_text(value)
        if key in ("rss", "vms", "memory"):
            return bytes_text(value)
    return cell(value)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fitted(text: str, size: int) -> str:
    missing = size - _width(text)
    if missing >= 0:
        return text + " " * missing
    kept, used = "", 0
    for character in text:
        if used + _columns_of(character) > size - 1:
            break
        kept, used = kept + character, used + _columns_of(character)
    return f"{kept}…" + " " * (size - used - 1)
