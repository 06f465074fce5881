"""A client that stays: for commands that go on while the daemon is restarted."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

from poppo_ipc.cli._connection import CALL_SECONDS, Invocation

if TYPE_CHECKING:
    from poppo_ipc.client import Client

__all__ = ["lasting_client"]

#: Somebody looks at the screen while the daemon is away, so no wait between two tries is long.
_LONGEST_WAIT: Final = 2.0
_HANDSHAKE_SECONDS: Final = 5.0


def lasting_client(invocation: Invocation, **changes: Any) -> AbstractAsyncContextManager[Client]:
    """A client on the event loop that runs, Trio's or asyncio's. `changes` are fields of `Options`.

    Entering raises at once where no daemon listens, as `Invocation.client` does; a connection that is lost later is
    made again for as long as it takes.
    """
    from poppo_ipc.client import Backoff, connect

    patience = min(invocation.timeout or _HANDSHAKE_SECONDS, _HANDSHAKE_SECONDS)
    options: dict[str, Any] = {
        "client_name": "poppo-ipc",
        "timeout": invocation.timeout or CALL_SECONDS,
        "handshake_seconds": patience,
        "initial": Backoff(attempts=3, total=min(patience, 1.0)),
        "backoff": Backoff(cap=_LONGEST_WAIT),
        **changes,
    }
    return connect(invocation.address(), token=invocation.token(), **options)
