"""The engine of either side of a connection: bytes in, messages out, and nothing sent that is not allowed.

No I/O, no clock that waits, no tasks: the owner moves the bytes. `receive_data` gives messages, and a `Refusal` for
each thing the peer should not have sent; `send` gives the bytes of a message, or raises LocalProtocolError where the
state does not allow it. Any other exception out of here is a bug of ours.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

from attrs import frozen

from poppo_ipc.errors import (
    BadMessage,
    CommandError,
    ConnectionLost,
    LocalProtocolError,
    PoppoError,
    VersionMismatch,
)
from poppo_ipc.protocol._codec import codec_for, encode
from poppo_ipc.protocol._frames import FrameDecoder
from poppo_ipc.protocol._messages import ErrorBody, ErrorMessage, Message, Welcome
from poppo_ipc.protocol._states import NEEDS_CAPABILITY, TRANSITIONS, Role, State

__all__ = ["Connection", "Received", "Refusal"]

# Names of their own: to look a member up in its Enum takes as long as half a check.
_READY: Final = State.READY
_CLOSING: Final = State.CLOSING
_CLOSED: Final = State.CLOSED


@frozen
class Refusal:
    """The peer sent what the protocol does not allow here.

    `reply` is the frame that tells it so (None where there is nothing to say, as from a client), `fatal` whether the
    connection ends with it: then send the reply and close.
    """

    error: PoppoError
    reply: bytes | None
    fatal: bool


Received = Message | Refusal


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Connection(abc.ABC):
    """One side of one connection. Use `ServerConnection` or `ClientConnection`.

    `frame_bytes` bounds a payload either way, `unauthenticated_frame_bytes` what is taken before authentication,
    `nesting` the depth of a payload, `bad_messages` the undecodable frames in a row that end the connection; `clock`
    gives Unix milliseconds.
    """

    role: ClassVar[Role]

    def __init__(
        self,
        *,
        frame_bytes: int = 16 * 1024 * 1024,
        unauthenticated_frame_bytes: int = 64 * 1024,
        nesting: int = 128,
        bad_messages: int = 16,
        clock: Callable[[], int] = _now_ms,
    ) -> None:
        self.state = State.CONNECTING
        self.capabilities: frozenset[str] = frozenset()
        self._frame_bytes = frame_bytes
        self._unauthenticated_frame_bytes = unauthenticated_frame_bytes
        self._send_bytes = frame_bytes
        self._bad_messages = bad_messages
        self._bad_in_a_row = 0
        self._clock = clock
        self._decoder = FrameDecoder()
        self._codec = codec_for(self.role.peer.value, nesting)
        # The ids of open requests: as keys, since an empty set is three times the size of an empty dict.
        self._open: dict[str, None] = {}
        self._settled = False
        self._paused = False

    # -- receiving ----------------------------------------------------------------------------------------------

    @property
    def open_requests(self) -> frozenset[str]:
        """The ids of the commands that have no answer yet."""
        return frozenset(self._open)

    @property
    def paused(self) -> bool:
        """Whether the peer's `auth` waits for `accept` or `reject`, and what came behind it for `resume`."""
        return self._paused

    def receive_data(self, data: bytes) -> list[Received]:
        """Take bytes of the peer, in any split, and give what they hold, in order.

        Nothing comes out while `paused`, nor once the state is CLOSING: what the peer still says is thrown away.
        """
        if self._over():
            return []
        self._decoder.feed(data)
        return self.resume()

    def resume(self) -> list[Received]:
        """What was held back while `paused`."""
        received: list[Received] = []
        decode = self._codec.decode
        while not (self._paused or self._over()):
            # One at a time while a message may change the limit, or pause what comes behind it.
            at_most = 0 if self._settled else 1
            payloads = self._decoder.drain(self._limit(), at_most)
            for payload in payloads:
                try:
                    message = decode(payload)
                except (BadMessage, VersionMismatch) as error:
                    outcome: Received | None = self._undecoded(error)
                else:
                    self._bad_in_a_row = 0
                    outcome = self._admit(message)
                if outcome is not None:
                    received.append(outcome)
                    if self.state is not _READY and self._over():
                        return received
            if self._decoder.error is not None:
                received.append(self._refuse(self._decoder.error, fatal=True))
            elif not payloads or not at_most:
                break
        return received

    def receive_eof(self) -> ConnectionLost | None:
        """The peer sends no more. An error where that cuts a frame in two; the state is CLOSED either way."""
        # What is held back while paused may well be whole frames.
        torn = self._decoder.mid_frame and not (self._paused or self._over())
        self.closed()
        return ConnectionLost("The connection ended in the middle of a frame; connect again") if torn else None

    def _over(self) -> bool:
        return self.state is _CLOSING or self.state is _CLOSED

    def _limit(self) -> int:
        return self._frame_bytes if self.state is _READY else self._unauthenticated_frame_bytes

    def _undecoded(self, error: BadMessage | VersionMismatch) -> Refusal:
        if isinstance(error, BadMessage):
            return self._bad_message(error)
        return self._refuse(error, message_id=error.message_id, fatal=True)

    @abc.abstractmethod
    def _admit(self, message: Message) -> Received | None:
        """Check a decoded message of the peer against the state; None where it is to be passed over in silence."""

    def _allowed(self, sender: Role, message: Message) -> bool:
        needed = NEEDS_CAPABILITY.get(type(message))
        return type(message) in TRANSITIONS[self.state][sender] and (needed is None or needed in self.capabilities)

    def _advance(self, sender: Role, message: Message) -> None:
        following = TRANSITIONS[self.state][sender][type(message)]
        if isinstance(message, Welcome) and not message.auth_required:
            following = State.READY
        if following is not None:
            self.state = following

    def _bad_message(self, error: BadMessage) -> Refusal:
        self._bad_in_a_row = self._bad_in_a_row + 1 if error.undecodable else 0
        fatal = error.undecodable and (self.state is not State.READY or self._bad_in_a_row >= self._bad_messages)
        return self._refuse(error, message_id=error.message_id, fatal=fatal)

    def _refuse(self, error: PoppoError, *, message_id: str | None = None, fatal: bool = False) -> Refusal:
        reply = self._error_reply(error, message_id)
        if fatal:
            self.state = State.CLOSING
        return Refusal(error, reply, fatal)

    def _error_reply(self, error: PoppoError, message_id: str | None) -> bytes | None:
        """The frame that tells the peer of an error, where this side may tell it."""
        return None

    # -- sending ------------------------------------------------------------------------------------------------

    def send(self, message: Message) -> bytes:
        """The frame of `message`, with its timestamp set, after which the state is as if it had been sent.

        Raises LocalProtocolError where this side may not send it now, FrameTooLarge over the bound, and what
        `encode` raises for values that are not JSON; nothing has changed then.
        """
        if not self._allowed(self.role, message):
            raise LocalProtocolError(
                f"A {self.role.value} may not send {message.__struct_config__.tag!r} "
                f"in state {self.state.value!r} with {sorted(self.capabilities)} agreed"
            )
        message.timestamp = self._clock()
        data = encode(message, self._send_bytes)
        self._advance(self.role, message)
        return data

    def closed(self) -> None:
        """The owner closed the stream, or a write failed: nothing goes either way any more."""
        self.state = State.CLOSED
        self._open.clear()

    def _error_message(self, error: PoppoError, message_id: str | None) -> ErrorMessage:
        body = ErrorBody(message=str(error), code=error.code)
        if isinstance(error, CommandError) and error.details is not None:
            body.details = error.details
        return ErrorMessage(id=message_id, error=body)


def int_over_zero(value: Any) -> bool:
    """Whether a JSON value is an integer over 0; JSON's true is no integer."""
    return type(value) is int and value > 0
