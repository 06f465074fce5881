"""Who may send what when: the whole legality of the protocol, as data.

The table does not know which side we are: it says what either side may send in each state of a connection, and the
state that follows. `_connection.py` is the engine that walks it. Messages that belong to a capability are legal only
once that capability was agreed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final

from poppo_ipc.protocol._capabilities import CANCEL, PING, STREAM
from poppo_ipc.protocol._messages import (
    Auth,
    AuthSuccess,
    Cancel,
    Command,
    Credit,
    ErrorMessage,
    Event,
    Item,
    Ping,
    Pong,
    Response,
    Welcome,
)

__all__ = ["NEEDS_CAPABILITY", "TRANSITIONS", "Role", "State"]


class Role(enum.Enum):
    """A side of a connection."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def peer(self) -> Role:
        """The other side."""
        return Role.SERVER if self is Role.CLIENT else Role.CLIENT


class State(enum.Enum):
    """How far a connection has come."""

    CONNECTING = "connecting"
    """Nothing was said; the server's `welcome` is next."""
    AUTHENTICATING = "authenticating"
    """The server asked for authentication; the client's `auth` is next."""
    READY = "ready"
    """Commands, answers and events flow."""
    CLOSING = "closing"
    """A side ended it: nothing more is taken from the peer, what is queued still goes out."""
    CLOSED = "closed"
    """Nothing goes either way."""


_STAY: Final = None
Row = Mapping[type[Any], State | None]

# `welcome` leads to READY where it asks for no authentication: the one transition that depends on a field.
TRANSITIONS: Final[Mapping[State, Mapping[Role, Row]]] = {
    State.CONNECTING: {
        Role.SERVER: {Welcome: State.AUTHENTICATING, ErrorMessage: State.CLOSING},
        Role.CLIENT: {},
    },
    State.AUTHENTICATING: {
        Role.SERVER: {AuthSuccess: State.READY, ErrorMessage: _STAY},
        Role.CLIENT: {Auth: _STAY},
    },
    State.READY: {
        Role.SERVER: {
            AuthSuccess: _STAY,
            Response: _STAY,
            Item: _STAY,
            ErrorMessage: _STAY,
            Event: _STAY,
            Ping: _STAY,
            Pong: _STAY,
        },
        Role.CLIENT: {Auth: _STAY, Command: _STAY, Cancel: _STAY, Credit: _STAY, Ping: _STAY, Pong: _STAY},
    },
    State.CLOSING: {
        Role.SERVER: {Response: _STAY, Item: _STAY, ErrorMessage: _STAY, Event: _STAY, Pong: _STAY},
        Role.CLIENT: {},
    },
    State.CLOSED: {Role.SERVER: {}, Role.CLIENT: {}},
}

NEEDS_CAPABILITY: Final[Mapping[type[Any], str]] = {
    Cancel: CANCEL,
    Credit: STREAM,
    Item: STREAM,
    Ping: PING,
    Pong: PING,
}
