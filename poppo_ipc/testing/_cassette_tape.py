"""What a cassette holds: the connections of a test, message by message, in a file that people can read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from attrs import define, field

__all__ = ["CassetteError", "Entry", "Message", "Tape", "Track"]

Message = dict[str, Any]

_FORMAT: Final = 1
#: Stands in the file for the end of the connection by the server.
_CLOSED: Final = "closed"


class CassetteError(AssertionError):
    """A program did not do what its cassette has, or there is no such cassette. The text says in what they differ."""


@define
class Entry:
    """One message, or the end of the connection by the server."""

    side: str
    """`client` or `server`: who sent it."""

    message: Message | None
    """None where the server closed."""

    @property
    def kind(self) -> str:
        """The type of the message."""
        return "" if self.message is None else str(self.message.get("type"))

    @property
    def request_id(self) -> str | None:
        """The id of the message."""
        found = None if self.message is None else self.message.get("id")
        return found if isinstance(found, str) else None


@define(eq=False)
class Track:
    """One connection."""

    entries: list[Entry] = field(factory=list)
    client_ended: bool = False
    """Whether the client ended it first, while it was recorded."""

    def first(self, kind: str) -> Message | None:
        """The first message of a type."""
        return next((entry.message for entry in self.entries if entry.kind == kind), None)


@define(eq=False)
class Tape:
    """All connections, in the order in which they were made."""

    tracks: list[Track] = field(factory=list)

    def save(self, path: Path) -> None:
        """Write it, each message on a line of its own. The file is there whole, or as it was."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f'{{"cassette": {_FORMAT}, "connections": [']
        for number, track in enumerate(self.tracks):
            lines.append("[")
            rows = [json.dumps({entry.side: entry.message or _CLOSED}, ensure_ascii=False) for entry in track.entries]
            lines += [f"  {row}{',' if index < len(rows) else ''}" for index, row in enumerate(rows, 1)]
            lines.append("]," if number < len(self.tracks) - 1 else "]")
        text = "\n".join([*lines, "]}", ""])
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Tape:
        """Read it. Raises CassetteError where the file is none, FileNotFoundError where there is none."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["cassette"] != _FORMAT:
                raise CassetteError(f"{path} is a cassette of another format; record it again with --poppo-record=all")
            tracks = [Track([_entry(row) for row in rows]) for rows in found["connections"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CassetteError(f"{path} is no cassette: {error!r}") from error
        return cls(tracks)


def _entry(row: dict[str, Message | str]) -> Entry:
    ((side, message),) = row.items()
    if side not in ("client", "server") or not (isinstance(message, dict) or message == _CLOSED):
        raise ValueError(f"a message {row!r}")
    return Entry(side, message if isinstance(message, dict) else None)
