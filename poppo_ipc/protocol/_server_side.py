"""The server's side of a connection."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from msgspec import UNSET

from poppo_ipc.errors import (
    AuthFailed,
    AuthRequired,
    BadMessage,
    CommandError,
    DuplicateId,
    FrameTooLarge,
    InvalidArgs,
    LocalProtocolError,
    PoppoError,
)
from poppo_ipc.protocol._capabilities import (
    ALL_CAPABILITIES,
    CHALLENGE,
    DEADLINE,
    IDEMPOTENCY,
    REPLAY,
    STREAM,
    agreed,
)
from poppo_ipc.protocol._challenge import new_nonce
from poppo_ipc.protocol._codec import encode
from poppo_ipc.protocol._connection import Connection, Received, Refusal, int_over_zero
from poppo_ipc.protocol._messages import (
    MAX_ID_CHARS,
    Auth,
    AuthSuccess,
    Cancel,
    Command,
    Credit,
    ErrorMessage,
    Item,
    Message,
    PeerInfo,
    Ping,
    Pong,
    Response,
    Welcome,
)
from poppo_ipc.protocol._states import Role, State

__all__ = ["ServerConnection"]

# A name of its own: to look a member up in its Enum takes as long as half a check.
_READY: Final = State.READY


class ServerConnection(Connection):
    """The server's side: `welcome`, then `accept` or `reject` each `auth`, then answers.

    `auth_required`, `auth_tries` wrong tokens that end it, `capabilities` to offer, and the `name` and `version` of
    the server that the client is told.
    """

    role: ClassVar[Role] = Role.SERVER

    def __init__(
        self,
        *,
        auth_required: bool,
        auth_tries: int = 3,
        capabilities: tuple[str, ...] = ALL_CAPABILITIES,
        name: str = "poppo_ipc",
        version: str = "",
        **bounds: Any,
    ) -> None:
        super().__init__(**bounds)
        self.auth_required = auth_required
        self.nonce = new_nonce() if auth_required and CHALLENGE in capabilities else ""
        self._offered = [each for each in capabilities if each != CHALLENGE or self.nonce]
        self._auth_tries = auth_tries
        self._authenticated = False
        self._let_in = False
        self._pending_auth: Auth | None = None
        self._server = PeerInfo(name=name, version=version)

    @property
    def authenticated(self) -> bool:
        """Whether an `auth` of the client was accepted."""
        return self._authenticated

    @property
    def pending_auth(self) -> Auth:
        """The `auth` that waits for `accept` or `reject`. Raises LocalProtocolError where none does."""
        if self._pending_auth is None:
            raise LocalProtocolError("No auth waits for an answer")
        return self._pending_auth

    # -- receiving ----------------------------------------------------------------------------------------------

    def _admit(self, message: Message) -> Received | None:
        if type(message) is Command and self.state is _READY:
            return self._admit_command(message)
        if self.state is State.AUTHENTICATING and not isinstance(message, Auth):
            return self._refuse(AuthRequired("Authentication required"), message_id=getattr(message, "id", None))
        if not self._allowed(Role.CLIENT, message):
            kind = message.__struct_config__.tag
            return self._refuse(BadMessage(f"Unknown message type: {kind}"), message_id=getattr(message, "id", None))
        return self._admit_other(message)

    def _admit_other(self, message: Message) -> Received | None:
        match message:
            case Auth():
                if self.auth_required and self._authenticated:
                    return self._refuse(BadMessage("Already authenticated"), message_id=message.id)
                self._paused = True
                self._pending_auth = message
            case Cancel() if message.id not in self._open:
                return None
            case Credit():
                if not int_over_zero(message.credit):
                    return self._refuse(BadMessage("credit has to be an integer over 0"), message_id=message.id)
                if message.id not in self._open:
                    return None
        return message

    def _admit_command(self, command: Command) -> Command | Refusal:
        message_id = command.id
        if message_id in self._open:
            error = DuplicateId("A command with this id is still running; use another id")
            return self._refuse(error, message_id=message_id)
        if command.args is None:
            command.args = {}
        elif type(command.args) is not dict:
            return self._refuse(InvalidArgs.of("args", "expected an object"), message_id=message_id)
        if command.timeout_ms is not UNSET or command.credit is not UNSET or command.idempotency_key is not UNSET:
            problem = self._check_extensions(command)
            if problem:
                return self._refuse(BadMessage(problem), message_id=message_id)
        self._open[message_id] = None
        return command

    def _check_extensions(self, command: Command) -> str | None:
        """Unknown fields are ignored, and so are those of a capability that was not agreed."""
        agreed_on = self.capabilities
        if DEADLINE not in agreed_on or command.timeout_ms is None:
            command.timeout_ms = UNSET
        elif command.timeout_ms is not UNSET and not int_over_zero(command.timeout_ms):
            return "timeoutMs has to be an integer over 0"
        if STREAM not in agreed_on or command.credit is None:
            command.credit = UNSET
        elif command.credit is not UNSET and not int_over_zero(command.credit):
            return "credit has to be an integer over 0"
        key = command.idempotency_key
        if IDEMPOTENCY not in agreed_on or key is None:
            command.idempotency_key = UNSET
        elif key is not UNSET and not (isinstance(key, str) and len(key) <= MAX_ID_CHARS):
            return f"idempotencyKey has to be a string of up to {MAX_ID_CHARS} characters"
        return None

    def _bad_message(self, error: BadMessage) -> Refusal:
        if self.state is State.AUTHENTICATING and not error.undecodable:
            # A message of a type that is none is still "anything but auth".
            return self._refuse(AuthRequired("Authentication required"), message_id=error.message_id)
        return super()._bad_message(error)

    def _error_reply(self, error: PoppoError, message_id: str | None) -> bytes | None:
        message = self._error_message(error, message_id)
        message.timestamp = self._clock()
        try:
            return encode(message, self._send_bytes)
        except FrameTooLarge:
            return None

    def _allowed(self, sender: Role, message: Message) -> bool:
        # CLOSING follows every state; a client that was never let in hears no more than why.
        if self.state is State.CLOSING and not self._let_in and type(message) is not ErrorMessage:
            return False
        return super()._allowed(sender, message)

    # -- sending ------------------------------------------------------------------------------------------------

    def welcome(self) -> bytes:
        """The first frame. Without authentication the client may send commands from here on."""
        message = Welcome(
            auth_required=self.auth_required,
            capabilities=self._offered,
            server=self._server,
            max_frame_bytes=self._frame_bytes,
            nonce=self.nonce or UNSET,
        )
        data = self.send(message)
        self._let_in = not self.auth_required
        return data

    def accept(
        self,
        auth: Auth,
        *,
        session_id: str,
        proof: str | None = None,
        epoch: str = "",
        seq: int = 0,
        keys_durable: bool = False,
    ) -> bytes:
        """The `auth-success` for `auth`; the capabilities that both sides have are in use from here on.

        `proof` is the server's, where the client gave one. A client that sent no `capabilities` is an original and
        gets none of the extensions' fields.
        """
        self._check_paused(auth)
        message = AuthSuccess(id=auth.id)
        capabilities = self.capabilities
        if not self._authenticated:
            capabilities = agreed(frozenset(self._offered), auth.capabilities)
        if isinstance(auth.capabilities, list):
            message.session_id = session_id
            message.capabilities = [each for each in self._offered if each in capabilities]
            if proof is not None:
                message.proof = proof
            if REPLAY in capabilities:
                message.epoch = epoch
                message.seq = seq
            if IDEMPOTENCY in capabilities:
                message.keys_durable = keys_durable
        data = self.send(message)
        self.capabilities = capabilities
        self._paused = False
        self._pending_auth = None
        self._authenticated = self._let_in = True
        # Without authentication any further `auth` is accepted too, and pauses again.
        self._settled = self.auth_required
        return data

    def reject(self, auth: Auth) -> bytes:
        """The `AUTH_FAILED` for `auth`. The state is CLOSING when the client has had all its tries."""
        self._check_paused(auth)
        data = self.send(self._error_message(AuthFailed("Invalid authentication token"), auth.id))
        self._paused = False
        self._pending_auth = None
        self._auth_tries -= 1
        if self._auth_tries <= 0:
            self.state = State.CLOSING
        return data

    def _check_paused(self, auth: Auth) -> None:
        if not self._paused:
            raise LocalProtocolError(f"No auth waits for an answer, so {auth.id[:16]!r} cannot be answered")

    def respond(self, message_id: str, result: Any) -> bytes:
        """The answer to the open command `message_id`. Where it cannot be encoded, the command is still open."""
        if message_id not in self._open:
            self._check_open(message_id)
        response = Response(id=message_id, result=result, timestamp=self._clock())
        # The table allows it in READY and changes no state: not looked up for each answer.
        data = encode(response, self._send_bytes) if self.state is _READY else self.send(response)
        self._open.pop(message_id, None)
        return data

    def fail(self, message_id: str, error: CommandError) -> bytes:
        """The error that answers the open command `message_id`."""
        self._check_open(message_id)
        data = self.send(self._error_message(error, message_id))
        self._open.pop(message_id, None)
        return data

    def item(self, message_id: str, data: Any) -> bytes:
        """One more item of the open command `message_id`."""
        self._check_open(message_id)
        return self.send(Item(id=message_id, data=data))

    def ping(self, message_id: str) -> bytes:
        """Ask whether the client is there."""
        return self.send(Ping(id=message_id))

    def pong(self, ping: Ping) -> bytes:
        """The answer to the client's `ping`."""
        return self.send(Pong(id=ping.id))

    def end(self, error: CommandError | None = None) -> bytes | None:
        """End the connection, with an error that tells why where one is given; the state is CLOSING."""
        if self.state is State.CLOSING or self.state is State.CLOSED:
            return None
        reply = None if error is None else self.send(self._error_message(error, None))
        self.state = State.CLOSING
        return reply

    def _check_open(self, message_id: str) -> None:
        if message_id not in self._open:
            raise LocalProtocolError(f"No command {message_id[:16]!r} is open on this connection")
