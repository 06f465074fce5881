"""When to ping a silent server, and when to give it up. Pure."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["Beat", "Heartbeat"]

_MISSES: Final = 2


class Beat(enum.Enum):
    """What is due."""

    NOTHING = "nothing"
    PING = "ping"
    DEAD = "dead"


class Heartbeat:
    """Counts the silence of a server in steps of `interval` seconds.

    Any byte is a sign of life, not the pong alone: a server that sends a long answer is not dead.
    """

    __slots__ = ("_interval", "_pings", "_since", "heard")

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self._pings = 0
        self._since = now  # of the last byte, or the last ping
        self.heard = now

    @property
    def due(self) -> float:
        """When to ask `beat` next."""
        return self._since + self._interval

    def alive(self, now: float) -> None:
        """Bytes came."""
        self.heard = self._since = now
        self._pings = 0

    def beat(self, now: float) -> Beat:
        """What is due now; a PING counts as sent with this."""
        if now < self.due:
            return Beat.NOTHING
        if self._pings >= _MISSES:
            return Beat.DEAD
        self._pings += 1
        # From now, not from when it was due: a program that slept over it has to give the server its time all the same.
        self._since = now
        return Beat.PING
