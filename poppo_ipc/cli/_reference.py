"""A daemon's description for people: the help of one command, the list of all, a page of Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from poppo_ipc.cli._arguments import flag_of, properties
from poppo_ipc.cli._described import Description, Schema, type_text
from poppo_ipc.cli._plain import Style, table
from poppo_ipc.cli._safe import safe

__all__ = ["command_help", "command_list", "event_list", "markdown", "undescribed_help"]


def command_help(entry: dict[str, Any], style: Style) -> str:
    """One command: what it does, its flags, and what it answers."""
    name, args = safe(str(entry["name"])), _schema(entry.get("args"))
    lines = [f"{style.strong('Usage:')} poppo-ipc call {name}{''.join(_usage(args))}", ""]
    lines += [f"  {safe(str(entry.get('summary') or 'The daemon says nothing of it.'))}", ""]
    rows = list(_rows(args))
    if rows:
        lines += [style.strong("Arguments:"), *table(rows, ["", "", ""], Style(), 10_000, "  ")[1:], ""]
    for heading, key in (("Items", "item"), ("Answer", "result")):
        fields = properties(_schema(entry.get(key)))
        if fields:
            lines.append(style.strong(f"{heading}:"))
            lines += table(([safe(n), type_text(f)] for n, f in fields.items()), ["", ""], Style(), 10_000, "  ")[1:]
            lines.append("")
    notes = [note for key, note in _NOTES.items() if entry.get(key) is True]
    if notes:
        lines += [" ".join(notes), ""]
    return "\n".join(lines)


_COLUMNS = ("command", "arguments", "what it does")
_NOTES = {
    "streaming": "It answers with a stream of items.",
    "idempotent": "Asking twice does no harm.",
}


def undescribed_help(name: str) -> str:
    """What can be said of a command where the daemon tells nothing of it."""
    return (
        f"Usage: poppo-ipc call {safe(name)} [--NAME VALUE]...\n\n"
        "  This daemon does not describe its commands, so arguments are taken as they are given:\n"
        "  JSON where it parses, else text.\n"
    )


def command_list(description: Description, style: Style, width: int) -> str:
    """All commands with their arguments and what they do."""
    rows = [
        [safe(name), safe(" ".join(_names(_schema(entry.get("args"))))) or "-", safe(str(entry.get("summary") or ""))]
        for name, entry in sorted(description.commands.items())
    ]
    return "\n".join(table(rows, _COLUMNS, style, width, "", (_COLUMNS[0], _COLUMNS[2])))


def event_list(description: Description, style: Style, width: int) -> str:
    """All events."""
    rows = [[safe(name), safe(str(e.get("summary") or ""))] for name, e in sorted(description.events.items())]
    return "\n".join(table(rows, ["event", "what happened"], style, width))


def markdown(description: Description) -> str:
    """A page of reference: every command with its arguments, its items and its answer, and every event."""
    server = description.server
    title = f"{_md(str(server.get('name') or 'daemon'))} {_md(str(server.get('version') or ''))}".strip()
    lines = [f"# {title}", "", "## Commands", ""]
    lines += ["| command | what it does |", "| --- | --- |"]
    for name, entry in sorted(description.commands.items()):
        lines.append(f"| [`{_md(name)}`](#{_anchor(name)}) | {_md(str(entry.get('summary') or ''))} |")
    for name, entry in sorted(description.commands.items()):
        lines += ["", f"### {_md(name)}", "", _md(str(entry.get("summary") or "")), ""]
        notes = [note for key, note in _NOTES.items() if entry.get(key) is True]
        if entry.get("scope"):
            notes.append(f"Scope: `{_md(str(entry['scope']))}`.")
        lines += [" ".join(notes), ""] if notes else []
        for heading, key in (("Arguments", "args"), ("Items", "item"), ("Answer", "result")):
            lines += _md_section(heading, entry.get(key))
        lines.pop()
    lines += ["", "## Events", ""]
    for name, entry in sorted(description.events.items()):
        lines += [
            f"### {_md(name)}",
            "",
            _md(str(entry.get("summary") or "")),
            "",
            *_md_section("Data", entry.get("data")),
        ]
    return "\n".join(lines).rstrip() + "\n"


def _md_section(heading: str, schema: Any) -> list[str]:
    schema = _schema(schema)
    fields = properties(schema)
    if not schema:
        return []
    if not fields:
        empty = schema.get("type") == "object" and schema.get("additionalProperties") is False
        return [f"{heading}: {'none' if empty else _md(type_text(schema))}.", ""]
    lines = [f"{heading}:", "", "| field | type | required | default | what it is |", "| --- | --- | --- | --- | --- |"]
    required = schema.get("required", [])
    for name, field in _flat(schema):
        default = f"`{_md(json.dumps(field['default'], ensure_ascii=False))}`" if "default" in field else ""
        needed = "yes" if name in required else ""
        about = _md(str(field.get("description") or ""))
        lines.append(f"| `{_md(name)}` | {_md(type_text(field))} | {needed} | {default} | {about} |")
    return [*lines, ""]


def _flat(schema: Schema, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Schema]]:
    """The fields, and those of objects in them: `system.memory`; `tasks[].id` for those in lists."""
    for name, field in properties(schema).items():
        yield prefix + name, field
        inner, mark = field, "."
        if field.get("type") == "array" and isinstance(field.get("items"), dict):
            inner, mark = field["items"], "[]."
        if depth < 3:
            yield from _flat(inner, f"{prefix}{name}{mark}", depth + 1)


def _usage(schema: Schema) -> Iterator[str]:
    required = schema.get("required", [])
    for name, field in properties(schema).items():
        value = "" if field.get("type") == "boolean" else f" {_metavar(field)}"
        text = safe(f"{flag_of([name])}{value}")
        yield f" {text}" if name in required else f" [{text}]"


def _rows(schema: Schema, prefix: tuple[str, ...] = ()) -> Iterator[list[str]]:
    required = schema.get("required", [])
    for name, field in properties(schema).items():
        notes = [str(field["description"])] if field.get("description") else []
        if name in required:
            notes.append("Required.")
        elif field.get("default") is not None:
            notes.append(f"Default: {json.dumps(field['default'], ensure_ascii=False)}.")
        yield [safe(flag_of([*prefix, name])), safe(type_text(field)), safe(" ".join(notes))]
        yield from _rows(field, (*prefix, name))


def _names(schema: Schema) -> Iterator[str]:
    required = schema.get("required", [])
    for name in properties(schema):
        yield flag_of([name]) if name in required else f"[{flag_of([name])}]"


def _metavar(field: Schema) -> str:
    text = type_text(field)
    return text.removeprefix("one of ").replace(", ", "|") if text.startswith("one of") else text.split()[0].upper()


def _schema(value: Any) -> Schema:
    return value if isinstance(value, dict) else {}


def _md(text: str) -> str:
    """Text that means nothing to Markdown: of the daemon's, and so nobody's own."""
    text = " ".join(safe(text.replace("\n", " ")).split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")


def _anchor(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum() or character in "-_")
