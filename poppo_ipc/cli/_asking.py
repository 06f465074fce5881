"""One question and what comes of it: the result shown, or the items one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from poppo_ipc.cli._connection import Invocation
from poppo_ipc.cli._failures import failure_of
from poppo_ipc.cli._plain import Style
from poppo_ipc.cli._progress import Bar, progress_of

if TYPE_CHECKING:
    from poppo_ipc.client import SyncClient

__all__ = ["ask", "show_stream"]


def ask(
    invocation: Invocation, command: str, args: dict[str, Any] | None = None, *, idempotent: bool | None = None
) -> Any:
    """Connect, ask, and give the answer. `idempotent`: whether asking twice does no harm.

    Raises what `SyncClient.call` raises; a `Failure` in its place for an error that the command was answered with.
    """
    from poppo_ipc.errors import CommandError

    with invocation.client() as client:
        try:
            return client.call(command, without_none(args), idempotent=idempotent)
        except CommandError as error:
            raise failure_of(error, command) from error


def show_stream(
    invocation: Invocation,
    client: SyncClient,
    command: str,
    args: dict[str, Any] | None = None,
    *,
    text: Callable[[Any, Style], str] | None = None,
    idempotent: bool | None = None,
) -> Any:
    """Ask for a stream and show its items as they come, its progress as a bar on a terminal; gives the closing result.

    To a program the items of progress are items like any other. Ctrl-C cancels the command. Raises as `ask`.
    """
    from poppo_ipc.errors import CommandError

    output, bar = invocation.output, Bar()
    try:
        with client.stream(command, without_none(args), timeout=invocation.timeout, idempotent=idempotent) as items:
            for item in items:
                progress = progress_of(item) if output.for_person else None
                if progress is not None:
                    bar.update(progress)
                    continue
                bar.close()
                output.item(item, text=text)
            return items.result
    except CommandError as error:
        raise failure_of(error, command) from error
    finally:
        bar.close()


def without_none(args: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments that were given."""
    return {name: value for name, value in (args or {}).items() if value is not None}
