"""Clients that say nothing for long: asked whether they are there, and let go where they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from poppo_ipc.protocol import PING, State

if TYPE_CHECKING:
    from poppo_ipc.server._session import Session

__all__ = ["watch_idle"]


def watch_idle(session: Session) -> None:
    """Look after a session as `Limits.idle_seconds` says, by the server's timers."""
    if session.watched:
        _look_after(session, session.server.limits.idle_seconds, pinged_at=None)


def _look_after(session: Session, seconds: float, pinged_at: float | None) -> None:
    def look() -> None:
        if session.over:
            return
        now = trio.current_time()
        heard = session.last_heard
        if session.running or heard + seconds > now:
            _look_after(session, seconds, pinged_at=None)
        elif pinged_at is not None and heard < pinged_at:
            session.disconnect("it has been silent, and did not answer a ping")
        elif PING in session.connection.capabilities and session.connection.state is State.READY:
            session.ping()
            _look_after(session, seconds, pinged_at=now)
        else:
            session.disconnect("it has been silent")

    now = trio.current_time()
    due = now + seconds if session.running or pinged_at is not None else max(now, session.last_heard) + seconds
    session.server.timers.at(due, look)
