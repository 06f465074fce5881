"""One thing that the doctor looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Check"]


class Check(NamedTuple):
    """What was looked at, how it is, and what to do where it is not well."""

    name: str
    ok: bool | None
    """None: it could not be told, or does not apply."""
    what: str
    todo: str = ""
    facts: Mapping[str, Any] | None = None
    """For programs."""

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        return {"name": self.name, "ok": self.ok, "what": self.what, "todo": self.todo or None, **(self.facts or {})}
