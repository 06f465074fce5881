"""The client's side of a connection."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from msgspec import UNSET

from poppo_ipc.errors import AuthenticationError, BadMessage, LocalProtocolError, RemoteProtocolError
from poppo_ipc.protocol._capabilities import (
    ALL_CAPABILITIES,
    CANCEL,
    CHALLENGE,
    DEADLINE,
    IDEMPOTENCY,
    STREAM,
    agreed,
)
from poppo_ipc.protocol._challenge import client_proof, decode_nonce, new_nonce, proof_matches, server_proof
from poppo_ipc.protocol._codec import encode
from poppo_ipc.protocol._connection import Connection, Received, Refusal
from poppo_ipc.protocol._messages import (
    MAX_ID_CHARS,
    Auth,
    AuthSuccess,
    Cancel,
    Command,
    Credit,
    ErrorBody,
    ErrorMessage,
    Event,
    Item,
    Message,
    PeerInfo,
    Ping,
    Pong,
    Response,
    Welcome,
)
from poppo_ipc.protocol._states import Role, State

__all__ = ["ClientConnection"]

_READY: Final = State.READY  # looked up once: an enumeration's member is not a plain attribute


class ClientConnection(Connection):
    """The client's side: after `welcome`, `authenticate`; when `settled`, commands.

    Against an original server (`is_original`) nothing of an extension is sent, whatever is asked for.
    """

    role: ClassVar[Role] = Role.CLIENT

    def __init__(self, **bounds: Any) -> None:
        super().__init__(**bounds)
        self.welcome: Welcome | None = None
        self.session: AuthSuccess | None = None
        self._wanted: tuple[str, ...] = ()
        self._auth_id: str | None = None
        self._token: str | None = None
        self._client_nonce = b""

    @property
    def is_original(self) -> bool:
        """Whether the server offered no capabilities: then it is an original (WIRE.md section 4)."""
        return self.welcome is not None and self.welcome.capabilities is UNSET

    @property
    def settled(self) -> bool:
        """Whether commands may be sent, with what was agreed in use."""
        return self._settled

    @property
    def auth_id(self) -> str:
        """The id of the `auth` that was sent, which an `error` that refuses it carries; empty before."""
        return self._auth_id or ""

    # -- receiving ----------------------------------------------------------------------------------------------

    def _admit(self, message: Message) -> Received | None:
        if self._settled and self.state is _READY:
            # What nearly all that comes is, ahead of the table, which allows both here without a capability.
            if type(message) is Response:
                return self._admit_answer(message)
            if type(message) is Event:
                return message
        if not self._allowed(Role.SERVER, message):
            kind = message.__struct_config__.tag
            error = RemoteProtocolError(f"The server sent {kind!r} in state {self.state.value!r}")
            return self._refuse(error, fatal=self.state is State.CONNECTING or isinstance(message, Welcome))
        match message:
            case Welcome():
                return self._admit_welcome(message)
            case AuthSuccess():
                return self._admit_success(message)
            case Response() | ErrorMessage():
                return self._admit_answer(message)
            case Item() if message.id not in self._open:
                return None
            case Event() if not self._settled and not self.is_original:
                return None
        return message

    def _admit_welcome(self, message: Welcome) -> Received:
        self.welcome = message
        self._advance(Role.SERVER, message)
        if isinstance(message.max_frame_bytes, int):
            self._send_bytes = max(1, min(self._send_bytes, message.max_frame_bytes))
        self._settled = self.is_original and not message.auth_required
        return message

    def _admit_success(self, message: AuthSuccess) -> Received | None:
        if message.id != self._auth_id or self._settled:
            return None
        if CHALLENGE in self._wanted and not self._server_proved(message):
            error = AuthenticationError("The server could not prove that it knows the token; it may be an impostor")
            return self._refuse(error, fatal=True)
        self.session = message
        self._token = None
        self.capabilities = agreed(frozenset(self._wanted), message.capabilities)
        self._settled = True
        self._advance(Role.SERVER, message)
        return message

    def _server_proved(self, message: AuthSuccess) -> bool:
        assert self.welcome is not None
        nonce = decode_nonce(self.welcome.nonce)
        if nonce is None or self._token is None:
            return False
        return proof_matches(server_proof(self._token, nonce, self._client_nonce), message.proof)

    def _admit_answer(self, message: Response | ErrorMessage) -> Received | None:
        """Originals answer in looser forms; all of them come out of here in the one form of section 3."""
        if isinstance(message, Response):
            if message.id not in self._open:
                return None
            self._open.pop(message.id, None)
            if message.success:
                return message
            return ErrorMessage(id=message.id, error=error_body(message.error))
        message.error = error_body(message.error)
        if message.id in self._open:
            self._open.pop(message.id, None)
            return message
        if message.id is None or message.id == self._auth_id:
            self._advance(Role.SERVER, message)
            return message
        return None

    def _bad_message(self, error: BadMessage) -> Refusal:
        if self.state is State.CONNECTING:
            # As with any other first message that is no welcome: there is nothing to wait for.
            return self._refuse(error, message_id=error.message_id, fatal=True)
        return super()._bad_message(error)

    # -- sending ------------------------------------------------------------------------------------------------

    def authenticate(
        self,
        message_id: str,
        token: str | None,
        *,
        capabilities: tuple[str, ...] = ALL_CAPABILITIES,
        client: PeerInfo | None = None,
    ) -> bytes | None:
        """The `auth` that answers `welcome`, or None where none is needed: an original that asks for no token.

        Where the server offers `challenge`, a proof goes out in place of the token; to a server that asks for no
        authentication, neither. Raises AuthenticationError where a token is needed and none was given, and where the
        server offers the challenge in a form that would have the token sent after all.
        """
        if self.welcome is None:
            raise LocalProtocolError("There is no welcome to answer yet; authenticate when it has come")
        if self.welcome.auth_required and token is None:
            raise AuthenticationError("The server asks for a token and none was given; pass one, or set POPPO_TOKEN")
        auth = Auth(id=message_id)
        if not isinstance(self.welcome.capabilities, list):
            if not self.welcome.auth_required:
                return None
            auth.token = token
            return self._send_auth(auth, token, (), b"")
        if not self.welcome.auth_required:
            token = None
        nonce = decode_nonce(self.welcome.nonce)
        offered = set(self.welcome.capabilities)
        if token is None:
            offered.discard(CHALLENGE)
        elif CHALLENGE in offered and CHALLENGE in capabilities and nonce is None:
            raise AuthenticationError("The server offers a challenge with no nonce; the token was not sent to it")
        wanted = tuple(each for each in capabilities if each in offered)
        client_nonce = b""
        auth.capabilities = list(wanted)
        auth.client = client or UNSET
        if CHALLENGE in wanted and nonce is not None and token is not None:
            auth.client_nonce = new_nonce()
            client_nonce = decode_nonce(auth.client_nonce) or b""
            auth.proof = client_proof(token, nonce, client_nonce)
        elif token is not None:
            auth.token = token
        return self._send_auth(auth, token, wanted, client_nonce)

    def _send_auth(self, auth: Auth, token: str | None, wanted: tuple[str, ...], client_nonce: bytes) -> bytes:
        data = self.send(auth)
        self._auth_id = auth.id
        self._token = token
        self._wanted = wanted
        self._client_nonce = client_nonce
        return data

    def command(
        self,
        message_id: str,
        command: str,
        args: Any,
        *,
        timeout_ms: int | None = None,
        credit: int | None = None,
        idempotency_key: str | None = None,
    ) -> bytes:
        """The frame of a command. What belongs to a capability that was not agreed is left out.

        Raises LocalProtocolError where the id is that of a command still open, or over its bound.
        """
        if message_id in self._open:
            raise LocalProtocolError(f"A command with the id {message_id[:16]!r} is still open; use another id")
        if len(message_id) > MAX_ID_CHARS:
            raise LocalProtocolError(f"An id has at most {MAX_ID_CHARS} characters, not {len(message_id)}")
        capabilities = self.capabilities
        message = Command(
            id=message_id,
            command=command,
            args=args,
            timestamp=self._clock(),
            timeout_ms=UNSET if timeout_ms is None or DEADLINE not in capabilities else timeout_ms,
            credit=UNSET if credit is None or STREAM not in capabilities else credit,
            idempotency_key=UNSET if idempotency_key is None or IDEMPOTENCY not in capabilities else idempotency_key,
        )
        # In READY what `send` would do, less its look at the table: a command is allowed there, and leads nowhere else.
        data = encode(message, self._send_bytes) if self.state is State.READY else self.send(message)
        self._open[message_id] = None
        return data

    def cancel(self, message_id: str) -> bytes | None:
        """The frame that cancels an open command; None where it has its answer, or the server has no `cancel`."""
        if message_id not in self._open or CANCEL not in self.capabilities or self.state is not State.READY:
            return None
        return self.send(Cancel(id=message_id))

    def credit(self, message_id: str, credit: int) -> bytes | None:
        """The frame that gives a stream room for `credit` more items; None where it has ended."""
        if message_id not in self._open or STREAM not in self.capabilities or self.state is not State.READY:
            return None
        return self.send(Credit(id=message_id, credit=credit))

    def ping(self, message_id: str) -> bytes:
        """Ask whether the server is there."""
        return self.send(Ping(id=message_id))

    def pong(self, ping: Ping) -> bytes:
        """The answer to the server's `ping`."""
        return self.send(Pong(id=ping.id))

    def forget(self, message_id: str) -> None:
        """Nobody waits for the answer to this command any more: it is passed over when it comes."""
        self._open.pop(message_id, None)


def error_body(error: Any) -> ErrorBody:
    """An original's `error`, a string or an object of any sort, in the form of section 3."""
    if isinstance(error, str):
        return ErrorBody(message=error, code="UNKNOWN_ERROR")
    fields = error if isinstance(error, dict) else {}
    message, code, details = fields.get("message"), fields.get("code"), fields.get("details")
    body = ErrorBody(
        message=message if isinstance(message, str) else "Unknown error",
        code=code if isinstance(code, str) else "UNKNOWN_ERROR",
    )
    if isinstance(details, dict):
        body.details = details
    return body
