"""What the daemon says that it can be asked: its own `ipc.describe`, where it has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._suggest import did_you_mean

if TYPE_CHECKING:
    from poppo_ipc.client import SyncClient

__all__ = ["Description", "describe", "type_text"]

Schema = dict[str, Any]


class Description:
    """The commands and events of a daemon, by name, as it describes them."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        """As it came."""
        self.server: dict[str, Any] = _object(answer.get("server"))
        self.commands = _by_name(answer.get("commands"))
        self.events = _by_name(answer.get("events"))

    def command(self, name: str) -> dict[str, Any]:
        """One command. Raises Failure, with what may have been meant, where there is none."""
        found = self.commands.get(name)
        if found is None:
            hint = did_you_mean(name, self.commands)
            raise Failure(f"The daemon has no command {name!r}", f"{hint}See poppo-ipc commands", ExitCode.USAGE)
        return found


def describe(client: SyncClient) -> Description | None:
    """The daemon's description; None where it has none: an original server, or one that does not tell this client."""
    from poppo_ipc.errors import Forbidden, UnknownCommand

    if client.session is not None and client.session.original:
        return None
    try:
        answer = client.call("ipc.describe", idempotent=True)
    except (UnknownCommand, Forbidden):
        return None
    return Description(answer) if isinstance(answer, dict) else None


def type_text(schema: Schema) -> str:
    """The type of a value, in few words: `text`, `integer`, `one of a, b`, `list of text`."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    options = schema.get("anyOf")
    if isinstance(options, list):
        texts = [type_text(option) for option in options if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(texts)) or "null"
    kind = schema.get("type")
    if kind == "string":
        return "time" if schema.get("format") == "date-time" else "text"
    if kind == "array":
        return f"list of {type_text(_object(schema.get('items')))}"
    if isinstance(kind, list):
        return " or ".join(type_text({**schema, "type": each}) for each in kind if each != "null")
    return {"boolean": "yes/no", None: "anything"}.get(kind, str(kind))


def _by_name(entries: Any) -> dict[str, dict[str, Any]]:
    found = entries if isinstance(entries, list) else []
    return {each["name"]: each for each in found if isinstance(each, dict) and isinstance(each.get("name"), str)}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
