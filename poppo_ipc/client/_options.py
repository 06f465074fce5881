"""The options of a client, with units and reasons."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any

from attrs import field, frozen, validators

from poppo_ipc.client._backoff import Backoff
from poppo_ipc.protocol import ALL_CAPABILITIES

__all__ = ["DEFAULT", "Default", "Options", "random_number"]

_positive = validators.gt(0.0)
_limit: Any = validators.optional(_positive)


class Default:
    """The type of `DEFAULT`, which stands for "as the client is set", since None means "no limit"."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT = Default()


def random_number() -> float:
    """Any number from 0 to 1."""
    # Eight bytes of the system, not the module `random`: a short-lived program need not import that for one number.
    return int.from_bytes(os.urandom(7), "big") / (1 << 56)


@frozen(kw_only=True)
class Options:
    """How a client behaves. Raises ValueError for values that make no sense."""

    timeout: float | None = field(default=30.0, validator=_limit)
    """Seconds that a call may take, waiting for a connection included; None for no limit."""

    timeout_grace: float = field(default=0.25, validator=validators.ge(0.0))
    """Seconds that the client's own clock waits after that for the server's `TIMEOUT`, which says more."""

    handshake_seconds: float = field(default=10.0, validator=_positive)
    """Seconds from the connect to the settled session."""

    close_seconds: float = field(default=1.0, validator=_positive)
    """Seconds that closing may take to send what is queued."""

    ping_seconds: float = field(default=15.0, validator=_positive)
    """Seconds without a byte from the server after which it is pinged; after two unanswered ones the connection
    counts as lost. One late pong kills good connections, so it takes two."""

    good_seconds: float = field(default=5.0, validator=validators.ge(0.0))
    """A session that lasted so long, or in which a call was answered, was good: the backoff begins anew after it."""

    reconnect: bool = True
    """Whether a lost connection is made again."""

    retry_initial: bool = False
    """Whether the first connection is tried for as long as `backoff` says, even where nobody listens."""

    backoff: Backoff = field(factory=Backoff)
    """The waits between tries to connect again."""

    initial: Backoff = field(factory=lambda: Backoff(attempts=5))
    """The waits between first tries where `retry_initial` is off: for a server that is there, but busy."""

    event_buffer: int = field(default=1024, validator=validators.ge(1))
    """Events that a subscription holds for a slow consumer; over it the oldest are dropped, and a `Gap` tells."""

    stream_credit: int = field(default=64, validator=validators.ge(1))
    """Items that a server may send ahead of the consumer of a stream."""

    frame_bytes: int = field(default=16 * 1024 * 1024, validator=validators.ge(1024))
    """Bytes of one frame's payload, either way."""

    capabilities: tuple[str, ...] = ALL_CAPABILITIES
    """The extensions to use where the server has them."""

    trusted_uids: Collection[int | str] | Default | None = DEFAULT
    """The users who may run the server, on Windows their SIDs, None for anyone; by default our own and root."""

    client_name: str = "poppo_ipc"
    """What the server is told of this program."""

    restart_hint: str = "restart the daemon (poppo-ipc stop, then poppo-ipc start)"
    """What a user does about a daemon of another version, for the error that tells of it."""

    random: Callable[[], float] = random_number
    """Gives numbers from 0 to 1, for the backoff."""
