"""What a client gives out besides results: events, gaps between them, and its own state."""

from __future__ import annotations

import enum
from typing import Any

from attrs import frozen
from msgspec import Struct

from poppo_ipc.errors import PoppoError

__all__ = ["ClientState", "Event", "Gap", "GapReason", "Position", "StateChange"]


@frozen
class Position:
    """A place in a server's numbering of events, to go on from: `subscribe(..., since=position)`."""

    epoch: str
    """The numbering."""

    seq: int
    """The last event that was had."""


class Event(Struct, frozen=True, gc=False):
    """Something happened at the server."""

    # No attrs class: one of these is made for each event that comes, and attrs takes five times as long over it. The
    # garbage collector need not look into it: what came as JSON cannot lead back to its event.

    name: str
    """The dotted name, such as `task.completed`."""

    data: Any
    """What the server says of it: any JSON, as a rule an object."""

    seq: int | None = None
    """Its number in the server's epoch; None where the server does not number."""

    timestamp: int = 0
    """When it was sent, in Unix milliseconds by the server's clock."""


class GapReason(enum.Enum):
    """Why events are missing."""

    RESTARTED = "restarted"
    """The daemon started anew: what it sent between the loss of the connection and its end is gone."""
    EXPIRED = "expired"
    """The client was away for so long that the server no longer keeps all that happened."""
    NO_REPLAY = "no-replay"
    """The connection was lost for a time, and the server cannot repeat events."""
    SERVER_DROPPED = "server-dropped"
    """The client read too slowly and the server dropped events. `missed` counts those of all subscriptions."""
    SLOW_CONSUMER = "slow-consumer"
    """The program took events out of this subscription too slowly, and the oldest in its buffer were dropped."""


@frozen
class Gap:
    """Events are missing at this place."""

    missed: int | None
    """How many: at most this many that the subscription asked for; None where nobody knows."""

    reason: GapReason
    """Why."""


class ClientState(enum.Enum):
    """How a client stands with its server."""

    CONNECTING = "connecting"
    """There was no session yet."""
    CONNECTED = "connected"
    """A session is settled; calls go out at once."""
    AWAY = "away"
    """The connection was lost and is being made again; calls wait up to their deadline."""
    FAILED = "failed"
    """There will be no session any more: each call gets the error that was the reason."""
    CLOSED = "closed"
    """This side closed."""


@frozen
class StateChange:
    """A step of a client from one state to the next, or one more failed try to connect."""

    state: ClientState
    """The state from now on."""

    error: PoppoError | None = None
    """What led here, where it was an error."""

    retry_in: float | None = None
    """Seconds until the next try to connect, where there is one."""
