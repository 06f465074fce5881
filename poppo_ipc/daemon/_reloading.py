"""What clients are told of settings that were read again: the keys and what is wrong, and no paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from poppo_ipc.daemon._config import Changes, ConfigError, ConfigProblem
from poppo_ipc.daemon._config_model import keys
from poppo_ipc.errors import Conflict

__all__ = ["refusal_of", "shown_changes"]

_LINE: Final = re.compile(r":(\d+)$")


def refusal_of(error: ConfigError) -> Conflict:
    """The answer to a `daemon.reload` whose settings cannot be used."""
    problems = [_told(problem) for problem in error.problems]
    said = "; ".join(
        f"{each['key']}: {each['problem']}" if each["key"] else f"{each['source']}: {each['problem']}"
        for each in problems
    )
    return Conflict(f"The configuration was not reloaded: {said}", {"problems": problems})


def _told(problem: ConfigProblem) -> dict[str, Any]:
    key = keys().get(problem.key)
    holds_path = key is not None and (key.type is Path or key.name == "socket")
    return {
        "key": problem.key,
        "problem": "cannot be used; the daemon's log says why" if holds_path else problem.problem,
        "source": _source(problem.source),
    }


def _source(source: str) -> str:
    """A variable or a flag by its name, a file by the line in it."""
    if "/" not in source and "\\" not in source and (source.startswith("--") or source.isupper()):
        return source
    line = _LINE.search(source)
    return "the configuration file" if line is None else f"line {line[1]} of the configuration file"


def shown_changes(changes: Changes, port: int | None) -> dict[str, Any]:
    """The `config` of the answer: what holds now, what of it is new, and what waits for a restart."""
    config = changes.config
    return {
        "maxProcesses": config.workers,
        "logLevel": config.log_level,
        "port": port,
        "changed": [change.key for change in changes.applied],
        "needsRestart": [change.key for change in changes.restart],
    }
