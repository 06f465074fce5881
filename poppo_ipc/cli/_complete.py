"""What a daemon knows, for completion: names of commands, their flags, and ids.

Asked within a bound that nobody notices. A daemon that is down, slow or wants another token gives no completions, and
no word of it: whoever presses TAB did not ask for news.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from poppo_ipc.cli._connection import Invocation

if TYPE_CHECKING:
    from poppo_ipc.client import SyncClient

__all__ = ["command_names", "flags_of_command", "project_ids", "task_ids", "values_of_argument", "worker_ids"]

#: Seconds that the daemon has, by default and by a variable for slow machines.
_PATIENCE: Final = 0.1
_PATIENCE_VARIABLE: Final = "POPPO_COMPLETION_SECONDS"
_CLOSE_SECONDS: Final = 0.02
#: Ids that are offered at most: the latest ones.
_MOST: Final = 50

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def command_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The daemon's commands."""
    described = _describe(ctx)
    return [
        CompletionItem(name, help=str(entry.get("summary") or ""))
        for name, entry in sorted(described.items())
        if name.startswith(incomplete)
    ]


def flags_of_command(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """The flags of the daemon's command that `call` was given."""
    from poppo_ipc.cli._arguments import flag_of, properties

    if not incomplete.startswith("-") or not ctx.params.get("name"):
        return []
    fields = properties(_describe(ctx).get(ctx.params["name"], {}).get("args"))
    return [
        CompletionItem(flag_of([name]), help=str(field.get("description") or ""))
        for name, field in fields.items()
        if flag_of([name]).startswith(incomplete)
    ]


def values_of_argument(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the flag before the cursor takes: one of its values, or an id where its name says so."""
    from poppo_ipc.cli._arguments import choices_of, properties

    given = ctx.params.get("arguments") or ()
    if not given or not given[-1].startswith("--"):
        return []
    plain = given[-1][2:].replace("-", "").lower()
    ids = {"projectid": project_ids, "taskid": task_ids, "workerid": worker_ids}.get(plain)
    if ids is not None:
        return ids(ctx, param, incomplete)
    fields = properties(_describe(ctx).get(ctx.params.get("name") or "", {}).get("args"))
    field = next((field for name, field in fields.items() if name.lower() == plain), {})
    return [CompletionItem(text) for text in map(str, choices_of(field) or ()) if text.startswith(incomplete)]


def _ids(command: str, kind: str, about: Callable[[dict[str, Any]], str], **args: Any) -> Completer:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        answer = _ask(ctx, command, args)
        entries = answer.get(kind) if isinstance(answer, dict) else None
        return [
            CompletionItem(str(entry["id"]), help=about(entry))
            for entry in (entries if isinstance(entries, list) else ())
            if isinstance(entry, dict) and str(entry.get("id", "")).startswith(incomplete)
        ][:_MOST]

    return complete


project_ids = _ids("project.list", "projects", lambda entry: f"{entry.get('name')}, {entry.get('status')}")
task_ids = _ids("task.list", "tasks", lambda entry: f"{entry.get('type')}, {entry.get('status')}", limit=_MOST)
worker_ids = _ids("worker.status", "workers", lambda entry: str(entry.get("state")))


def _describe(ctx: click.Context) -> dict[str, dict[str, Any]]:
    """The daemon's commands by name; none where it tells none."""
    from poppo_ipc.cli._described import describe

    described = _with_client(ctx, describe)
    return {} if described is None else described.commands


def _ask(ctx: click.Context, command: str, args: dict[str, Any]) -> Any:
    return _with_client(ctx, lambda client: client.call(command, args, idempotent=True))


def _with_client(ctx: click.Context, use: Callable[[SyncClient], Any]) -> Any:
    # Loaded before the time begins to run: that is the daemon's alone.
    from poppo_ipc.client import SyncClient as SyncClient
    from poppo_ipc.errors import PoppoError

    invocation = ctx.ensure_object(Invocation)
    found: list[Any] = []

    def ask() -> None:
        with (
            suppress(PoppoError, click.ClickException, OSError),
            invocation.client(close_seconds=_CLOSE_SECONDS) as client,
        ):
            found.append(use(client))

    # Whatever it hangs in, it is left there when the time is over: the program is about to end, and it with it.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_patience())
    return found[0] if found else None


def _patience() -> float:
    try:
        return max(0.001, float(os.environ[_PATIENCE_VARIABLE]))
    except (KeyError, ValueError):
        return _PATIENCE
