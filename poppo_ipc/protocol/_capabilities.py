"""The extensions, by name (WIRE.md section 4): the server offers, the client takes, both use only what both have."""

from __future__ import annotations

import functools
from typing import Any, Final

__all__ = [
    "ALL_CAPABILITIES",
    "CANCEL",
    "CHALLENGE",
    "DEADLINE",
    "IDEMPOTENCY",
    "PING",
    "REPLAY",
    "STREAM",
    "SUBSCRIBE",
    "agreed",
]

CHALLENGE: Final = "challenge"
CANCEL: Final = "cancel"
DEADLINE: Final = "deadline"
STREAM: Final = "stream"
SUBSCRIBE: Final = "subscribe"
REPLAY: Final = "replay"
IDEMPOTENCY: Final = "idempotency"
PING: Final = "ping"

ALL_CAPABILITIES: Final = (CHALLENGE, CANCEL, DEADLINE, STREAM, SUBSCRIBE, REPLAY, IDEMPOTENCY, PING)


def agreed(offered: frozenset[str], wanted: Any) -> frozenset[str]:
    """Those that are offered and wanted; a `wanted` from the peer that is no list of strings wants nothing."""
    if not isinstance(wanted, list):
        return frozenset()
    return _shared(offered.intersection(name for name in wanted if isinstance(name, str)))


@functools.lru_cache(maxsize=256)
def _shared(capabilities: frozenset[str]) -> frozenset[str]:
    """The same object for all connections that agreed on the same."""
    return capabilities
