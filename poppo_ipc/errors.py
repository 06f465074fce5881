"""Every error of the kit: whose fault it is, whether a retry is safe, what to do next.

Each class has a stable `code`. The codes of `CommandError` and its subclasses are those of the wire (WIRE.md
section 6) and travel to the peer with the message and the details, so neither may hold a path, a token or the text
of an unforeseen exception. All other codes stay in this process.
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar, final

__all__ = [
    "AddressError",
    "AddressInUse",
    "AuthFailed",
    "AuthRequired",
    "AuthenticationError",
    "BadFrame",
    "BadMessage",
    "Busy",
    "CallTimeout",
    "CommandCancelled",
    "CommandError",
    "Conflict",
    "ConnectFailed",
    "ConnectionClosed",
    "ConnectionLost",
    "DeclarationError",
    "DuplicateId",
    "Forbidden",
    "FrameTooLarge",
    "InternalError",
    "InvalidArgs",
    "LocalProtocolError",
    "NotFound",
    "OutcomeUnknown",
    "PoppoError",
    "ProtocolError",
    "RemoteProtocolError",
    "ResultTooLarge",
    "ShuttingDown",
    "TransportUnsupported",
    "Unavailable",
    "UnknownCommand",
    "VersionMismatch",
]


def _rebuild(cls: type[PoppoError], args: tuple[Any, ...], state: dict[str, Any]) -> PoppoError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class PoppoError(Exception):
    """The base of every error that this package raises on purpose.

    `code` names the kind of error for programs and stays the same from release to release; `message` is for people
    and says what to do next. Where the two can be told apart, `what` is what happened, `remedy` what to do about it,
    and the message is both; else `what` is the whole message. Survives copy and pickle.
    """

    code: str = "POPPO_ERROR"
    _joint: ClassVar[str] = ": "

    def __init__(self, what: str, *, remedy: str = "") -> None:
        message = f"{what}{self._joint}{remedy}" if remedy else what
        super().__init__(message)
        self.message = message
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


# -- the author's own mistakes ----------------------------------------------------------------------------------


class DeclarationError(PoppoError):
    """A command, an event or an option is declared in a way that cannot work. Raised where it is declared."""

    code = "DECLARATION_ERROR"


# -- addresses and connecting -----------------------------------------------------------------------------------


class AddressError(PoppoError, ValueError):
    """The address names nothing that can be connected to or listened on, as written. Correct it; no retry helps."""

    code = "ADDRESS_INVALID"


class AddressInUse(PoppoError):
    """Another live owner holds the address, so nothing was touched.

    `pid` is the process that holds it, or None where it could not be told.
    """

    code = "ADDRESS_IN_USE"

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class TransportUnsupported(PoppoError):
    """This platform, or this release, has no such transport. Use another kind of address."""

    code = "TRANSPORT_UNSUPPORTED"


class ConnectFailed(PoppoError):
    """No connection could be made: nobody listens, the way is refused, or the peer is not the one expected.

    Nothing was sent. Safe to retry when `retryable` is true; `reason` says which of these it was.
    """

    code = "CONNECT_FAILED"

    class Reason(enum.Enum):
        """Why there is no connection."""

        ABSENT = "absent"
        """Nobody listens at the address."""
        BUSY = "busy"
        """Somebody listens there who takes no connection just now."""
        DENIED = "denied"
        """The system does not let this user connect."""
        UNTRUSTED = "untrusted"
        """Whoever listens there is run by a user who is not trusted."""
        NOT_A_DAEMON = "not_a_daemon"
        """What is at the address is nothing to connect to, or does not greet as a daemon does."""
        OTHER = "other"
        """Something else; the message says what."""

    def __init__(self, what: str, *, remedy: str = "", reason: Reason = Reason.OTHER, retryable: bool = True) -> None:
        super().__init__(what, remedy=remedy)
        self.reason = reason
        self.retryable = retryable


# -- the life of a connection -----------------------------------------------------------------------------------


class ConnectionLost(PoppoError):
    """The connection broke, or the peer ended it. What was asked surely did not run: a retry is safe.

    `timed_out`: whether it came to no session because the peer, though there, took its time.
    """

    code = "CONNECTION_LOST"
    _joint = "; "

    def __init__(self, what: str, *, remedy: str = "", timed_out: bool = False) -> None:
        super().__init__(what, remedy=remedy)
        self.timed_out = timed_out


class OutcomeUnknown(PoppoError):
    """The connection broke after a command went out, and it could not be asked again safely.

    It may have run. Look at the state it would have changed before asking again, or send an idempotency key.
    """

    code = "OUTCOME_UNKNOWN"


class ConnectionClosed(PoppoError):
    """This side closed the connection. Open a new one."""

    code = "CONNECTION_CLOSED"


class ProtocolError(PoppoError):
    """The rules of the wire were broken; the subclass says by which side."""

    code = "PROTOCOL_ERROR"


class LocalProtocolError(ProtocolError):
    """This side tried to send what the protocol does not allow in this state. Nothing was sent."""

    code = "LOCAL_PROTOCOL_ERROR"


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow. `message_id` is the id it carried, where that is known."""

    code = "REMOTE_PROTOCOL_ERROR"

    def __init__(self, message: str, *, message_id: str | None = None) -> None:
        super().__init__(message)
        self.message_id = message_id


class BadFrame(RemoteProtocolError):
    """Bytes arrived where a frame had to begin, and they are none: the stream is lost (WIRE.md section 1)."""

    code = "BAD_FRAME"


class FrameTooLarge(ProtocolError):
    """A frame is over the bound on its bytes: the peer's, and the stream is lost; or ours, and nothing was sent."""

    code = "FRAME_TOO_LARGE"


class BadMessage(RemoteProtocolError):
    """A whole frame arrived that holds no message of the protocol. The stream is still in step."""

    code = "BAD_MESSAGE"

    def __init__(
        self, message: str, *, message_id: str | None = None, undecodable: bool = False, kind: str = ""
    ) -> None:
        super().__init__(message, message_id=message_id)
        #: The type of the message, where that is one of the protocol's.
        self.kind = kind
        #: True where there was not even a type to go by: such frames in a row end a connection.
        self.undecodable = undecodable


class VersionMismatch(ProtocolError):
    """The peer speaks another major version of the protocol. No retry helps: one side has to be upgraded."""

    code = "VERSION_MISMATCH"

    def __init__(self, message: str, *, ours: str = "", theirs: str = "", message_id: str | None = None) -> None:
        super().__init__(message)
        self.ours = ours
        self.theirs = theirs
        self.message_id = message_id


class AuthenticationError(PoppoError):
    """The server did not accept the token, or could not prove that it knows it. No retry helps.

    `token_file` is the file that was to hold the token, where that is what is wrong; else None.
    """

    code = "AUTHENTICATION_FAILED"
    _joint = "; "

    def __init__(self, what: str, *, remedy: str = "", token_file: str | None = None) -> None:
        super().__init__(what, remedy=remedy)
        self.token_file = token_file


# -- commands ---------------------------------------------------------------------------------------------------


class CommandError(PoppoError):
    """A command was answered with an error. Handlers raise it; clients get it rebuilt from the wire.

    `code` is the wire's, `message` a sentence for people, `details` a JSON object or None. Raise a subclass where one
    fits, else `CommandError(code, message, details)` with a code of your own in upper case.
    """

    code = "COMMAND_FAILED"

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    @staticmethod
    def from_wire(code: str, message: str, details: dict[str, Any] | None = None) -> CommandError:
        """The error of the class that stands for `code`, or a plain `CommandError` where none does."""
        cls = _BY_CODE.get(code)
        return CommandError(code, message, details) if cls is None else cls(message, details)


class _CodedError(CommandError):
    """A command error whose class is its code."""

    wire_code: ClassVar[str]

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(type(self).wire_code, message, details)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "wire_code" in cls.__dict__:
            cls.code = cls.wire_code
            _BY_CODE.setdefault(cls.wire_code, cls)


_BY_CODE: dict[str, type[_CodedError]] = {}


class AuthRequired(_CodedError):
    """A command came before authentication."""

    wire_code = "AUTH_REQUIRED"


class AuthFailed(_CodedError):
    """The token or proof is not valid."""

    wire_code = "AUTH_FAILED"


class Forbidden(_CodedError):
    """The principal's scope does not allow the command. Use a token with a wider scope."""

    wire_code = "FORBIDDEN"


class UnknownCommand(_CodedError):
    """The server has no such command; `details["suggestions"]` lists names close to it."""

    wire_code = "UNKNOWN_COMMAND"


class InvalidArgs(_CodedError):
    """The args do not fit the command; `details` holds `field` (a path) and `problem`."""

    wire_code = "INVALID_ARGS"

    @classmethod
    def of(cls, field: str, problem: str, message: str | None = None) -> InvalidArgs:
        """An error about one field: `InvalidArgs.of("config.retries[2]", "expected an integer")`."""
        return cls(message or f"Invalid argument {field!r}: {problem}", {"field": field, "problem": problem})


class NotFound(_CodedError):
    """The thing that was named is not there."""

    wire_code = "NOT_FOUND"


class Conflict(_CodedError):
    """The thing is there already, or its state does not allow the command."""

    wire_code = "CONFLICT"


class Unavailable(_CodedError):
    """The component that the command needs is not part of this daemon, or cannot work now: the message says which.

    In the second case a retry is safe, and `details["reason"]` names the cause.
    """

    wire_code = "UNAVAILABLE"


class Busy(_CodedError):
    """Over a limit, given in `details["limit"]`. Retry when something has finished."""

    wire_code = "BUSY"


class CallTimeout(_CodedError):
    """The command did not finish in its time. It was cancelled, but may have done part of its work."""

    wire_code = "TIMEOUT"


class CommandCancelled(_CodedError):
    """The command was cancelled."""

    wire_code = "CANCELLED"


class ShuttingDown(_CodedError):
    """The server is stopping and takes no new commands, or stopped this one. Retry when it is up again."""

    wire_code = "SHUTTING_DOWN"


class DuplicateId(_CodedError):
    """A command used the id of one that still runs on this connection."""

    wire_code = "DUPLICATE_ID"


class ResultTooLarge(_CodedError):
    """The answer would not fit a frame. The command did run."""

    wire_code = "RESULT_TOO_LARGE"


@final
class InternalError(_CodedError):
    """An unforeseen exception in the server; `details["ref"]` is what its log has with the traceback."""

    wire_code = "INTERNAL"
