"""The answer to `ipc.describe` (WIRE.md section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from poppo_ipc.commands._command import Command, EventDeclaration
from poppo_ipc.commands._router import Router

__all__ = ["describe"]


def describe(router: Router, server: Mapping[str, Any], allowed: Callable[[str], bool] | None = None) -> dict[str, Any]:
    """All that can be asked of a server, and all that it may tell, sorted by name.

    Args:
        router: the declarations.
        server: its `name` and `version`.
        allowed: whether a scope is allowed to whom this is for (`principal.allows`); None for every scope.
    """
    commands = sorted(router.commands.values(), key=lambda command: command.name)
    events = sorted(router.events.values(), key=lambda event: event.name)
    shown = [command for command in commands if not command.hidden and (allowed is None or allowed(command.scope))]
    return {
        "server": dict(server),
        "commands": [_command(command) for command in shown],
        "events": [_event(event) for event in events],
    }


def _command(command: Command) -> dict[str, Any]:
    described = {
        "name": command.name,
        "summary": command.summary,
        "args": command.args_model.schema(),
        "result": None if command.result_model is None else command.result_model.schema(),
        "streaming": command.streaming,
        "idempotent": command.idempotent,
        "scope": command.scope,
    }
    if command.streaming:
        described["item"] = None if command.item_model is None else command.item_model.schema()
    return described


def _event(event: EventDeclaration[Any]) -> dict[str, Any]:
    data = None if event.model is None else event.model.schema()
    return {"name": event.name, "summary": event.summary, "data": data}
