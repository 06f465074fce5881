"""A connection of raw bytes, which notes all that passes and holds each message against the contract's form."""

from __future__ import annotations

import json
import struct
import time
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from poppo_ipc.testing.conformance._findings import NotOffered, Violation
from poppo_ipc.testing.conformance._wire import Wire

__all__ = ["MAGIC", "Message", "Peer", "frame", "message", "short"]

Message = dict[str, Any]

MAGIC: Final = b"POPPO"
_HEADER: Final = 9
_SHOWN: Final = 300
#: Nothing that a check makes the other side send is near this.
_MOST: Final = 64 * 1024 * 1024


def frame(payload: bytes) -> bytes:
    """The bytes as the payload of a frame."""
    return MAGIC + struct.pack(">I", len(payload)) + payload


def message(**fields: Any) -> Message:
    """A message with what every message has; fields that are None are left out."""
    whole = {"version": "1.0.0", "timestamp": int(time.time() * 1000), **fields}
    return {name: value for name, value in whole.items() if value is not None}


def short(value: Any) -> str:
    """A message or bytes on one line, cut where it is long."""
    text = repr(value) if isinstance(value, bytes | bytearray) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


class Peer:
    """One end of a connection.

    Args:
        wire: connected; closed by `close`.
        other: what the other side is called: `server` or `client`.
        patience: seconds that are waited for what has to come.
        exchange: where what passes is noted.
        label: stands before what is noted, where there are several.
    """

    def __init__(self, wire: Wire, other: str, patience: float, exchange: list[str], label: str = "") -> None:
        self._wire = wire
        self._other = other
        self._label = label
        self._bytes = bytearray()
        self.patience = patience
        self.exchange = exchange
        #: Is not noted.
        self.secret: str | None = None
        #: Events that came while something else was waited for.
        self.events: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it. Idempotent."""
        self._wire.close()

    def end(self) -> None:
        """Send no more, but go on reading. Raises NotOffered where what carries the bytes cannot."""
        if not self._wire.half_closes:
            raise NotOffered("a named pipe is closed in both directions at once")
        self.note(">", "(the end of what is sent)")
        self._wire.end()

    def note(self, sign: str, what: str) -> None:
        """Keep a line of what passed."""
        if self.secret:
            what = what.replace(self.secret, "<token>")
        self.exchange.append(f"{self._label}{sign} {what}")

    # -- sending --------------------------------------------------------------------------------------------------

    def send_bytes(self, data: bytes, said: str = "") -> None:
        """Send bytes as they are. That the other side has closed shows where an answer is waited for."""
        self.note(">", said or short(data))
        try:
            self._wire.send(data, self.patience)
        except (BrokenPipeError, ConnectionResetError):
            self.note("<", f"(the {self._other} has closed)")
        except TimeoutError:
            raise Violation("that it is read", f"nothing was read for {self.patience:g} s") from None

    def send(self, **fields: Any) -> None:
        """Send a message with these fields."""
        whole = message(**fields)
        self.send_bytes(frame(json.dumps(whole).encode()), short(whole))

    def send_each_byte(self, data: bytes, said: str) -> None:
        """Send bytes one by one, each in a piece of its own."""
        self._wire.send_in_small_pieces()
        for index in range(len(data)):
            self.send_bytes(data[index : index + 1], f"{said}, byte by byte" if index == 0 else "")
            if index:
                self.exchange.pop()

    def send_what_fits(self, data: bytes) -> int:
        """Send as much as is taken at once; gives how many bytes that is."""
        return self._wire.send_now(data)

    # -- receiving ------------------------------------------------------------------------------------------------

    def receive(self, expected: str) -> Message | None:
        """The next message, or None at the end of the stream. Raises Violation where nothing comes in time."""
        head = self._take(_HEADER, expected)
        if head is None:
            self.note("<", "(the end of the stream)")
            return None
        if head[:5] != MAGIC:
            self._violated("a frame that begins with POPPO", short(head))
        (length,) = struct.unpack(">I", head[5:])
        if length > _MOST:
            self._violated("a frame of a sensible length", f"one of {length} bytes")
        payload = self._take(length, f"the {length} bytes of a frame")
        if payload is None:
            self._violated(f"the {length} bytes of a frame", "the end of the stream within it")
        return self._checked(payload)

    def _take(self, count: int, expected: str) -> bytes | None:
        """So many bytes; None where the stream ends before the first. Waits at most `patience` for all of them."""
        deadline = time.monotonic() + self.patience
        while len(self._bytes) < count:
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                piece = self._wire.receive(left)
            except TimeoutError:
                raise Violation(expected, f"nothing within {self.patience:g} s") from None
            if not piece:
                if self._bytes:
                    self._violated("whole frames", f"the end of the stream after {short(bytes(self._bytes[:40]))}")
                return None
            self._bytes += piece
        taken = bytes(self._bytes[:count])
        del self._bytes[:count]
        return taken

    def _checked(self, payload: bytes) -> Message:
        try:
            found = json.loads(payload.decode(), parse_constant=_no_json)
        except ValueError as error:
            self._violated("a payload that is JSON in UTF-8", f"{short(payload)} ({error})")
        self.note("<", short(found))
        if not isinstance(found, dict):
            self._violated("a payload that is a JSON object", short(found))
        if not isinstance(found.get("type"), str):
            self._violated("a `type` that is a string in every message", short(found))
        version = found.get("version")
        if not isinstance(version, str):
            self._violated('a `version` in every message ("1.0.0")', short(found))
        stamp = found.get("timestamp")
        # The contract counts milliseconds; this is 2001 in them, and a date far ahead in seconds.
        if type(stamp) is not int or stamp < 10**12:
            self._violated("a `timestamp` in every message: an integer, Unix milliseconds", short(found))
        return found

    def _violated(self, expected: str, got: str) -> NoReturn:
        raise Violation(expected, got)

    def next(self, expected: str) -> Message:
        """The next message that is no event; pings are answered. The end of the stream is a Violation."""
        while True:
            found = self.receive(expected)
            if found is None:
                raise Violation(expected, "the end of the stream")
            if found["type"] == "ping":
                self.send(type="pong", id=found.get("id"))
            elif found["type"] == "event":
                self.events.append(found)
            else:
                return found

    def next_event(self, expected: str) -> Message:
        """The next event, of those that were put aside first; anything else is a Violation."""
        if self.events:
            return self.events.pop(0)
        found = self.receive(expected)
        if found is None or found["type"] != "event":
            raise Violation(expected, "the end of the stream" if found is None else short(found))
        return found

    def expect(self, expected: str, **fields: Any) -> Message:
        """The next message, which has to have these fields."""
        found = self.next(expected)
        for name, value in fields.items():
            if name not in found or found[name] != value or type(found[name]) is not type(value):
                raise Violation(f"{expected}: {name} {short(value)}", short(found))
        return found

    def expect_error(self, code: str, request_id: str | None, text: str | None = None) -> Message:
        """The next message, which has to be this error; `text` has to be in its message. Gives the `error` in it."""
        expected = f"`error` {code} with id {short(request_id)}" + (f" and the text {text!r}" if text else "")
        found = self.expect(expected, type="error")
        error = found.get("error")
        wrong = "id" not in found or found["id"] != request_id
        if wrong or not isinstance(error, dict) or error.get("code") != code:
            raise Violation(expected, short(found))
        if not isinstance(error.get("message"), str) or (text is not None and text not in error["message"]):
            raise Violation(expected, short(found))
        return error

    def expect_closed(self, expected: str) -> list[Message]:
        """The end of the stream; gives what came before it. Raises Violation where it does not come in time."""
        found = []
        while (each := self.receive(expected)) is not None:
            found.append(each)
        return found


def _no_json(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
