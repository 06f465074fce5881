"""What a server and its clients are doing, as records."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from attrs import frozen

from poppo_ipc.commands import Principal
from poppo_ipc.transport import PeerCredentials

if TYPE_CHECKING:
    from poppo_ipc.server._session import Session

__all__ = ["ServerStatistics", "SessionInfo", "session_info"]


@frozen(kw_only=True)
class SessionInfo:
    """One client, as it stood when it was asked for."""

    id: str
    principal: Principal
    peer: PeerCredentials | None
    since: datetime
    authenticated: bool
    capabilities: frozenset[str]
    running: int
    """Commands that it has running."""
    subscriptions: int
    commands: int
    """Commands that it has sent."""
    errors: int
    """Of these, those answered with an error."""
    events: int
    """Events queued for it."""
    dropped_events: int
    """Events that it lost, as its outbox was full."""
    outbox_bytes: int
    """Bytes that wait for it."""
    bytes_in: int
    bytes_out: int


@frozen(kw_only=True)
class ServerStatistics:
    """What a server is doing."""

    sessions: int
    running: int
    """Commands that run, of all clients and of those that have gone."""
    kept_events: int
    kept_answers: int
    seq: int
    """The number of the last event."""


def session_info(session: Session, since: datetime) -> SessionInfo:
    """A client that has been here since that time."""
    counters = session.counters
    return SessionInfo(
        id=session.id,
        principal=session.principal,
        peer=session.peer,
        since=since,
        authenticated=session.connection.authenticated or not session.connection.auth_required,
        capabilities=session.connection.capabilities,
        running=len(session.running),
        subscriptions=len(session.subscriptions),
        commands=counters.commands,
        errors=counters.errors,
        events=counters.events,
        dropped_events=session.outbox.dropped,
        outbox_bytes=session.outbox.bytes,
        bytes_in=counters.bytes_in,
        bytes_out=session.writer.bytes_out,
    )
