"""Letting a client in: one `auth`, its answer, and what came right behind it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

from poppo_ipc.protocol import Auth, PeerInfo, Received, State
from poppo_ipc.server._auth import AuthAttempt
from poppo_ipc.server._dispatch import is_failure

if TYPE_CHECKING:
    from poppo_ipc.commands import Principal
    from poppo_ipc.server._session import Session

__all__ = ["authenticate"]

logger = logging.getLogger("poppo_ipc.server.auth")


async def authenticate(session: Session) -> list[Received]:
    """Answer the `auth` that the connection is paused at; gives what was held back behind it."""
    connection = session.connection
    auth = connection.pending_auth
    principal, proof = await _principal(session, auth)
    if session.ending:
        return []
    if principal is None:
        logger.warning("Session %s showed a wrong token", session.id, extra={"session": session.id})
        session.outbox.put(connection.reject(auth))
        if connection.state is State.CLOSING:
            session.end_soon()
    else:
        server = session.server
        frame = connection.accept(
            auth,
            session_id=session.id,
            proof=proof,
            epoch=server.fanout.log.epoch,
            seq=server.fanout.log.seq,
            keys_durable=server.answers.durable,
        )
        # Queued before any event: what is published from here on has a higher `seq` than the frame tells.
        session.outbox.put(frame)
        session.welcome_in(principal)
    session.flush()
    return connection.resume()


async def _principal(session: Session, auth: Auth) -> tuple[Principal | None, str | None]:
    authenticator = session.server.auth
    if authenticator is None:
        return session.principal, None
    attempt = AuthAttempt(
        token=auth.token,
        proof=auth.proof,
        nonce=session.connection.nonce,
        client_nonce=auth.client_nonce,
        peer=session.peer,
        client=_client_info(auth.client),
    )
    principal: Principal | None = None
    with trio.move_on_at(session.since + session.server.limits.auth_seconds):
        try:
            principal = await authenticator.authenticate(attempt)
        except BaseException as error:
            if not is_failure(error):
                raise
            # An authenticator that fails lets nobody in, and is no reason to end the others.
            logger.exception("The authenticator failed; session %s is refused", session.id)
    return principal, attempt.server_proof


def _client_info(client: Any) -> PeerInfo:
    fields = client if isinstance(client, dict) else {}
    name, version, pid = fields.get("name"), fields.get("version"), fields.get("pid")
    info = PeerInfo(
        name=name[:100] if isinstance(name, str) else "", version=version[:100] if isinstance(version, str) else ""
    )
    if type(pid) is int:
        info.pid = pid
    return info
