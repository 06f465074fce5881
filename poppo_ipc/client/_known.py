"""What a client knows of its server."""

from __future__ import annotations

from poppo_ipc.client._session import ServerInfo, Session

__all__ = ["Known"]


class Known:
    """What was agreed on in the present session, or in the latest one; for both clients to inherit."""

    _last_session: Session | None = None

    @property
    def session(self) -> Session | None:
        """All that was agreed on; None before the first session."""
        return self._last_session

    @property
    def server(self) -> ServerInfo:
        """Who the server is, as far as it tells."""
        return self._last_session.server if self._last_session else ServerInfo()

    @property
    def capabilities(self) -> frozenset[str]:
        """The extensions in use."""
        return self._last_session.capabilities if self._last_session else frozenset()

    @property
    def session_id(self) -> str:
        """The server's name for the session; "" where it gives none."""
        return self._last_session.id if self._last_session else ""

    @property
    def epoch(self) -> str | None:
        """The numbering of events that the server is in; None where it does not number."""
        return self._last_session.epoch if self._last_session else None
