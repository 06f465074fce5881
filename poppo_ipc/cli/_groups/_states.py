"""The states of a task, as a choice."""

from __future__ import annotations

from typing import Final

import click

__all__ = ["STATES"]

#: COMMANDS.md; written out, since the declarations of the commands take longer to load than a question to answer.
STATES: Final = click.Choice(["pending", "running", "completed", "failed", "cancelled"])
