"""All checks of a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from poppo_ipc.testing.conformance._client_checks import CLIENT
from poppo_ipc.testing.conformance._findings import Check, Finding, Report
from poppo_ipc.testing.conformance._program import Program
from poppo_ipc.testing.conformance._running import run_checks

__all__ = ["check_client", "client_checks"]


def client_checks(*only: str) -> list[Check[Program]]:
    """The checks whose names contain one of `only`; all where none is named. Raises LookupError for an unknown one."""
    return CLIENT.chosen(only)


def check_client(
    command: Sequence[str],
    *,
    only: tuple[str, ...] = (),
    patience: float = 30.0,
    result: Any = None,
    environment: Mapping[str, str] | None = None,
    told: Callable[[Finding], None] = lambda finding: None,
) -> Report:
    """Check a client program, in any language, against the wire contract. Blocks until that is done.

    It is run once for each check, with `POPPO_SOCKET` and `POPPO_TOKEN` leading to a server that behaves in one way.
    It has to ask a command of any name, and to end: with exit code 0 where that was answered well, and another where it
    was not. Whatever it has started ends with it.

    Args:
        command: the program and its arguments.
        only: parts of the names of the checks to make; all where it is empty.
        patience: seconds that are waited for what has to come.
        result: what its command is answered, `{}` by default.
        environment: variables besides those that lead to the server.
        told: gets each finding as soon as it is there.

    Raises LookupError for a name in `only` that no check has.
    """
    program = Program(command, result={} if result is None else result, patience=patience, environment=environment)
    return run_checks(client_checks(*only), program, told)
