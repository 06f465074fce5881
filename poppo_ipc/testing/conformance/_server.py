"""All checks of a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from poppo_ipc.testing.conformance._findings import Check, Checks, Finding, Report
from poppo_ipc.testing.conformance._running import run_checks
from poppo_ipc.testing.conformance._server_events import EVENTS
from poppo_ipc.testing.conformance._server_extensions import EXTENSIONS
from poppo_ipc.testing.conformance._server_frames import FRAMES
from poppo_ipc.testing.conformance._server_talk import TALK
from poppo_ipc.testing.conformance._target import Settings, Target
from poppo_ipc.transport import Address, AddressKind

__all__ = ["check_server", "server_checks", "settings_of"]


def server_checks(*only: str) -> list[Check[Target]]:
    """The checks whose names contain one of `only`; all where none is named. Raises LookupError for an unknown one."""
    together = [*FRAMES.all, *TALK.all, *EXTENSIONS.all, *EVENTS.all]
    return Checks(together).chosen(only)


def settings_of(address: Address | str, **changes: Any) -> Settings:
    """The settings for the server at `address`; `changes` are those of `Settings`.

    Raises ValueError for an address in the memory of one process.
    """
    parsed = Address.parse(address)
    if parsed.kind is AddressKind.MEMORY:
        raise ValueError(f"only Unix sockets and named pipes can be checked, not {parsed}")
    return Settings(address=parsed, **changes)


def check_server(
    address: Address | str,
    *,
    token: str | None = None,
    only: tuple[str, ...] = (),
    patience: float = 10.0,
    auth_seconds: float = 5.0,
    auth_tries: int = 3,
    roles: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
    told: Callable[[Finding], None] = lambda finding: None,
) -> Report:
    """Check a server, in any language, against the wire contract, by raw bytes. Blocks until that is done.

    What it does not offer, and what needs a command that it does not have, is told as "not offered". The commands that
    are needed are those of `conformance_router`, or such as `roles` names.

    Args:
        address: its Unix socket or named pipe.
        token: the token that it takes; None where it takes none.
        only: parts of the names of the checks to make; all where it is empty.
        patience: seconds that are waited for what has to come.
        auth_seconds, auth_tries: how it is set, where these differ from the contract's.
        roles: commands with args for `echo`, `wait`, `count` and `emit`.
        told: gets each finding as soon as it is there.

    Raises LookupError for a name in `only` that no check has, and ValueError for an address in memory.
    """
    settings = settings_of(
        address,
        token=token,
        patience=patience,
        auth_seconds=auth_seconds,
        auth_tries=auth_tries,
        roles=roles or {},
    )
    return run_checks(server_checks(*only), Target(settings), told)
