"""`commands` and `describe`: what the daemon tells of itself, as lists, a page, and types."""

from __future__ import annotations

import re
from typing import Any

import pytest

from poppo_ipc.cli._described import Description, type_text
from poppo_ipc.cli._reference import markdown
from poppo_ipc.cli._typescript import typescript
from poppo_ipc.commands.standard import STANDARD_COMMANDS

from .program import Shell

OBJECT = {"type": "object"}


def described(args: dict[str, Any], result: Any = None, **more: Any) -> Description:
    command = {"name": "a.b-c", "summary": "Do | it `now`.\n<b>", "args": args, "result": result, **more}
    event = {"name": "it.happened", "summary": "It */ did.", "data": {**OBJECT, "properties": {"x-y": {}}}}
    return Description({"server": {"name": "s", "version": "1"}, "commands": [command], "events": [event]})


def test_the_list_has_every_command(served: Shell) -> None:
    names = {entry["name"] for entry in served.ask("commands").json}
    assert names >= {spec.name for spec in STANDARD_COMMANDS}
    assert served.ask("commands", "task.status").json["name"] == "task.status"
    assert "did you mean" in served.ask("commands", "task.stats").err.lower()


def test_on_a_terminal_the_list_is_a_table(served: Shell) -> None:
    shown = served.shown("commands", env={"NO_COLOR": "1"})
    assert re.search(r"^project\.add +--path \[--name\] \[--config\] +Add a project\.$", shown, re.MULTILINE)
    assert "A task has started." in served.shown("commands", "--events")


def test_the_page_has_every_command_and_event(served: Shell) -> None:
    page = served.ask("describe", "--markdown").out
    told = served.ask("describe").json
    headings = re.findall(r"^### (.+)$", page, re.MULTILINE)
    assert headings == [each["name"] for each in (*told["commands"], *told["events"])]
    assert "| `taskId` | text | yes |  | The id of the task. |" in page
    assert "| `attempts[].number` | integer |" in page
    links = re.findall(r"\]\(#(.+?)\)", page)
    assert links == [re.sub(r"[^a-z0-9_-]", "", name) for name in headings[: len(links)]]


def test_the_types_have_every_command_and_event(served: Shell) -> None:
    types = served.ask("describe", "--typescript").out
    told = served.ask("describe").json
    for each in (*told["commands"], *told["events"]):
        name = each["name"]
        assert re.search(rf'^  (?:"{re.escape(name)}"|{re.escape(name)}): ', types, re.MULTILINE), name
    used = set(re.findall(r"(?:args|item|result): ([A-Z]\w+)\b", types)) - {"Record", "Array", "Commands", "ArgsOf"}
    assert used <= set(re.findall(r"^export interface (\w+)", types, re.MULTILINE))
    assert types.count("{") == types.count("}")


def test_text_of_the_daemon_means_nothing_to_markdown() -> None:
    page = markdown(described({**OBJECT, "properties": {"a|b": {"type": "string", "description": "x\x1b`y`"}}}))
    assert "Do \\| it 'now'. &lt;b>" in page
    assert "| `a\\|b` | text |  |  | x\\x1b'y' |" in page


def test_types_of_all_kinds() -> None:
    properties = {
        "text": {"type": "string", "description": "One."},
        "choice": {"enum": ["a", 'b"']},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "list-of": {"type": "array", "items": {"type": "boolean"}},
        "pair": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]},
        "map": {"type": "object", "additionalProperties": {"type": "number"}},
        "empty": {"type": "object", "additionalProperties": False},
        "deep": {"type": "object", "properties": {"x": {}}, "required": ["x"]},
        "several": {"type": ["string", "null"]},
    }
    args = {**OBJECT, "description": "All.", "properties": properties, "required": ["text"]}
    types = typescript(described(args, {"type": "array", "items": {"type": "string"}}, streaming=True, item=None))
    assert (
        """/** All. */
export interface ABCArgs {
  /** One. */
  text: string;
  choice?: "a" | "b\\"";
  maybe?: number | null;
  "list-of"?: Array<boolean>;
  pair?: [number, string];
  map?: Record<string, number>;
  empty?: Record<string, never>;
  deep?: {
    x: unknown;
  };
  several?: string | null;
}
"""
        in types
    )
    assert '"a.b-c": { args: ABCArgs; item: unknown; result: Array<string> };' in types
    assert "/** It *\\/ did. */" in types
    assert '"it.happened": ItHappenedEvent;' in types


def test_two_commands_of_one_name_in_camel_case_have_two_interfaces() -> None:
    args = {**OBJECT, "properties": {"x": {}}}
    commands = [{"name": name, "args": args, "result": None} for name in ("a.b", "a-b")]
    types = typescript(Description({"commands": commands}))
    assert re.findall(r"^export interface (ABArgs\d?)", types, re.MULTILINE) == ["ABArgs", "ABArgs2"]


def test_a_description_that_is_not_one_is_empty() -> None:
    description = Description({"commands": [1, {"name": 2}, {"name": "a"}], "events": "x", "server": []})
    assert list(description.commands) == ["a"]
    assert markdown(description).startswith("# daemon\n")
    assert '"args"' not in typescript(description).partition("export interface Commands")[0]


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "format": "date-time"}, "time"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer"),
        ({"enum": ["a", "b"]}, "one of a, b"),
        ({"type": "array", "items": {"type": "boolean"}}, "list of yes/no"),
        ({"type": ["string", "null"]}, "text"),
        ({}, "anything"),
    ],
)
def test_types_in_words(schema: dict[str, Any], text: str) -> None:
    assert type_text(schema) == text


def test_only_one_form_at_a_time(served: Shell) -> None:
    assert served.ask("describe", "--markdown", "--typescript").code == 2
