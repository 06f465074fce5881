"""Commands that do something and say so in a sentence."""

from __future__ import annotations

from typing import Any

from poppo_ipc.cli._asking import ask
from poppo_ipc.cli._connection import Invocation
from poppo_ipc.cli._plain import Style, cell

__all__ = ["do", "message"]


def do(invocation: Invocation, command: str, args: dict[str, Any] | None = None) -> None:
    """Ask for it, and show the daemon's sentence."""
    invocation.output.show(ask(invocation, command, args), text=message)


def message(value: Any, style: Style, width: int) -> str:
    """The sentence of an answer, whatever else it holds."""
    return cell(value.get("message", value) if isinstance(value, dict) else value)
