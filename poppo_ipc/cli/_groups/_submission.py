"""The arguments of `task.submit` from a command line of one's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click

from poppo_ipc.cli._failures import ExitCode, Failure

__all__ = ["submission", "submission_options"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--queue", metavar="QUEUE", help="The queue that it waits in."),
    click.option("--cwd", type=click.Path(), help="Where it runs; this directory, or that of its project."),
    click.option(
        "--env", multiple=True, metavar="NAME[=VALUE]", help="A variable for it; without VALUE, as it is here."
    ),
    click.option("--priority", type=int, help="A greater number runs first."),
    click.option("--attempts", type=click.IntRange(min=1), help="How often to try it."),
    click.option("--time-limit", type=float, metavar="SECONDS", help="How long one attempt may take."),
    click.option("--key", metavar="KEY", help="Submitting again with the same key adds no task."),
)


def submission_options(function: F) -> F:
    """Add the options that both ways to submit have."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def submission(argv: Sequence[str], project: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments. Raises Failure for a variable that is not there."""
    cwd, limit = options["cwd"], options["time_limit"]
    payload: dict[str, Any] = {"argv": list(argv)}
    if cwd is not None or project is None:
        payload["cwd"] = os.path.abspath(os.path.expanduser(cwd or "."))
    environment = dict(_variable(text) for text in options["env"])
    if environment:
        payload["env"] = environment
    args = {
        "type": "command",
        "payload": payload,
        "projectId": project,
        "queue": options["queue"],
        "priority": options["priority"],
        "maxAttempts": options["attempts"],
        "timeoutMs": None if limit is None else max(1, round(limit * 1000)),
        "idempotencyKey": options["key"],
    }
    return {name: value for name, value in args.items() if value is not None}


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if equals:
        return name, value
    if name not in os.environ:
        raise Failure(f"There is no variable {name} here", "Write --env NAME=VALUE", ExitCode.USAGE)
    return name, os.environ[name]
