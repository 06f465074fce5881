"""From `welcome` to a settled session, with no I/O."""

from __future__ import annotations

import os
from typing import Final

from poppo_ipc._version import __version__
from poppo_ipc.client._options import Options
from poppo_ipc.client._session import ServerInfo, Session
from poppo_ipc.errors import (
    AddressError,
    AuthenticationError,
    CommandError,
    ConnectFailed,
    ConnectionLost,
    PoppoError,
    ProtocolError,
    TransportUnsupported,
    VersionMismatch,
)
from poppo_ipc.protocol import (
    PROTOCOL_VERSION,
    AuthSuccess,
    ClientConnection,
    ErrorBody,
    ErrorMessage,
    PeerInfo,
    Received,
    Refusal,
    Welcome,
)

__all__ = ["Handshake", "final", "wire_error"]

_AUTH_ID: Final = "auth"
_TRY_AGAIN: Final = frozenset({"BUSY", "SHUTTING_DOWN", "TIMEOUT", "INTERNAL"})


def final(error: Exception) -> bool:
    """Whether no further try to connect can end otherwise."""
    if isinstance(error, ConnectFailed):
        return not error.retryable
    return isinstance(error, AuthenticationError | ProtocolError | AddressError | TransportUnsupported)


def wire_error(body: ErrorBody) -> CommandError:
    """The error of an `error` message, as an exception."""
    details = body.details if isinstance(body.details, dict) else None
    return CommandError.from_wire(body.code, body.message, details)


class Handshake:
    """Drives a `ClientConnection` until `session` is set.

    `pid` is the server's process where it is known. What came behind the last message of the handshake is in `rest`.
    """

    def __init__(self, connection: ClientConnection, options: Options, token: str | None, pid: int | None) -> None:
        self.session: Session | None = None
        self.rest: list[Received] = []
        self._connection = connection
        self._options = options
        self._token = token
        self._pid = pid

    def receive(self, received: list[Received]) -> bytes | None:
        """Take what came; gives the frame to send next, where there is one.

        Raises the error that ends the handshake; `final` tells whether another try makes sense.
        """
        reply: bytes | None = None
        for index, message in enumerate(received):
            if self.session is not None:
                self.rest = received[index:]
                break
            if isinstance(message, Welcome):
                reply = self._welcomed()
            elif isinstance(message, AuthSuccess):
                self._settle(message)
            elif isinstance(message, ErrorMessage):
                raise self._refused(message)
            elif isinstance(message, Refusal) and message.fatal:
                raise self._explained(message.error)
        return reply

    def eof(self) -> PoppoError:
        """The error for a connection that ends before the session is settled."""
        torn = self._connection.receive_eof()
        if self._connection.welcome is None and torn is None:
            return ConnectionLost(
                "The server closed the connection without a word: it may serve other users only, or be stopping"
            )
        return torn or ConnectionLost("The server closed the connection during the handshake", remedy="try again")

    def _welcomed(self) -> bytes | None:
        connection = self._connection
        me = PeerInfo(name=self._options.client_name, version=__version__, pid=os.getpid())
        frame = connection.authenticate(_AUTH_ID, self._token, capabilities=self._options.capabilities, client=me)
        if frame is None:
            self._settle(None)
        return frame

    def _settle(self, success: AuthSuccess | None) -> None:
        connection = self._connection
        assert connection.welcome is not None
        server = connection.welcome.server
        name, version = (server.name, server.version) if isinstance(server, PeerInfo) else ("", "")
        session_id = getattr(success, "session_id", "")
        epoch, seq = getattr(success, "epoch", None), getattr(success, "seq", None)
        self.session = Session(
            id=session_id if isinstance(session_id, str) else "",
            capabilities=connection.capabilities,
            server=ServerInfo(name, version, self._pid),
            epoch=epoch if isinstance(epoch, str) else None,
            seq=seq if isinstance(seq, int) else None,
            keys_durable=getattr(success, "keys_durable", None) is True,
            original=connection.is_original,
        )

    def _refused(self, message: ErrorMessage) -> PoppoError:
        error = wire_error(message.error)
        if error.code == "VERSION_MISMATCH":
            return self._explained(VersionMismatch(error.message, ours=PROTOCOL_VERSION))
        if error.code in ("AUTH_FAILED", "AUTH_REQUIRED"):
            return AuthenticationError(f"The server did not accept the token: {error.message}")
        # Originals have one code for everything; what answers the `auth` there can only be about the token.
        if message.id == self._connection.auth_id and error.code not in _TRY_AGAIN:
            return AuthenticationError(f"The server did not accept the token: {error.message}")
        if error.code in ("BAD_FRAME", "FRAME_TOO_LARGE", "BAD_MESSAGE"):
            return ProtocolError(f"The server does not understand this client: {error.message}")
        return error

    def _explained(self, error: PoppoError) -> PoppoError:
        if not isinstance(error, VersionMismatch):
            return error
        daemon = "unknown" if self._pid is None else str(self._pid)
        theirs = f"speaks version {error.theirs[:32]}" if error.theirs else f"says: {error.message}"
        text = (
            f"Protocol version mismatch: this program (pid {os.getpid()}) speaks version {PROTOCOL_VERSION}, "
            f"the daemon (pid {daemon}) {theirs}; upgrade the older one and {self._options.restart_hint}"
        )
        return VersionMismatch(text, ours=PROTOCOL_VERSION, theirs=error.theirs, message_id=error.message_id)
