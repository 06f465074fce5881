"""Payload to message and back: JSON by msgspec, strict on UTF-8, nesting and types.

Anything that is wrong with a payload is a `BadMessage` or a `VersionMismatch`; nothing else comes out of `decode`.
"""

from __future__ import annotations

import functools
import json
from itertools import accumulate
from typing import Any, Final

import msgspec
from msgspec import DecodeError

from poppo_ipc.errors import BadMessage, FrameTooLarge, VersionMismatch
from poppo_ipc.protocol._frames import MAGIC, pack_header
from poppo_ipc.protocol._messages import MAX_ID_CHARS, FromClient, FromServer, Message
from poppo_ipc.protocol._version_rule import PROTOCOL_VERSION, compatible, mismatch_text

__all__ = ["Codec", "codec_for", "encode", "nesting_depth"]

_encode = msgspec.json.Encoder().encode

_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def nesting_depth(payload: bytes | bytearray) -> int:
    """How deep arrays and objects stand inside one another in a JSON text, found without decoding it.

    A decoder would have to recurse to find out, and how deep it can depends on the stack it is called on.
    """
    # Without escapes every second piece between quotes is a string's inside. A regex takes 44 bytes of memory for each
    # byte of a hostile payload; this is linear too, and takes half of that at the worst.
    unescaped = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = unescaped.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    brackets = b"".join(structure.split(b'"')[::2])
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def encode(message: Message, limit: int) -> bytes:
    """The whole frame of `message`.

    Raises FrameTooLarge where its payload is over `limit` bytes, and TypeError, ValueError, UnicodeEncodeError or
    RecursionError where a value in it is not JSON.
    """
    payload = _encode(message)
    length = len(payload)
    if length > limit:
        raise FrameTooLarge(f"Message of {length} bytes is over the limit of {limit} bytes")
    # A copy of each large payload, and a third less time for the small ones than to encode behind room for the header.
    return pack_header(MAGIC, length) + payload


class Codec:
    """Decodes what one side may receive: `peer` is `client` or `server`, the side that it comes from."""

    __slots__ = ("_decode", "_nesting", "_peer", "_short", "_types")

    def __init__(self, peer: str, nesting: int) -> None:
        union: Any = FromClient if peer == "client" else FromServer
        self._decode = msgspec.json.Decoder(union).decode
        self._types = frozenset(cls.__struct_config__.tag for cls in union.__args__)
        self._peer = peer
        self._nesting = nesting
        self._short = 2 * nesting

    def decode(self, payload: bytes | bytearray) -> Message:
        """The message in `payload`. Raises BadMessage or VersionMismatch, with the message's id where known."""
        try:
            if not payload.isascii():
                # msgspec does not look into the strings of fields that it skips; UTF-8 is a rule for the whole.
                payload.decode()
            # Each level takes two bytes; most payloads are too short to nest too deep.
            if len(payload) > self._short and payload.count(b"[") + payload.count(b"{") > self._nesting:
                self._check_nesting(payload)
            message: Message = self._decode(payload)
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._diagnose(payload, error) from None
        if message.version != PROTOCOL_VERSION and not compatible(message.version):
            raise self._mismatch(message.version, getattr(message, "id", None))
        return message

    def _check_nesting(self, payload: bytes | bytearray) -> None:
        if nesting_depth(payload) > self._nesting:
            raise BadMessage(f"Payload nests deeper than {self._nesting} levels", undecodable=True)

    def _mismatch(self, version: str, message_id: str | None) -> VersionMismatch:
        text = mismatch_text(self._peer, version)
        return VersionMismatch(text, ours=PROTOCOL_VERSION, theirs=version, message_id=message_id)

    def _diagnose(self, payload: bytes | bytearray, error: Exception) -> BadMessage | VersionMismatch:
        """Say what is wrong with a payload that is no message: the slow way, on the way to an error only."""
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return BadMessage("Payload is not UTF-8", undecodable=True)
        reason = str(error)
        try:
            fields = msgspec.json.decode(text)
        except (DecodeError, RecursionError):
            fields = _grammatical(text)
            reason = "half of a surrogate pair in a string, or a number that no float can hold"
            if fields is None:
                return BadMessage("Payload is not JSON", undecodable=True)
        if not isinstance(fields, dict):
            return BadMessage("Payload is not a JSON object", undecodable=True)
        message_id = fields.get("id")
        if not isinstance(message_id, str) or len(message_id) > MAX_ID_CHARS or message_id != _sendable(message_id):
            message_id = None
        kind = fields.get("type")
        if not isinstance(kind, str):
            return BadMessage("Message has no type", message_id=message_id, undecodable=True)
        version = fields.get("version", PROTOCOL_VERSION)
        if isinstance(version, str) and not compatible(version):
            return self._mismatch(_sendable(version), message_id)
        if kind not in self._types:
            return BadMessage(f"Unknown message type: {_sendable(kind[:MAX_ID_CHARS])}", message_id=message_id)
        return BadMessage(f"Malformed {kind} message: {reason}", message_id=message_id, kind=kind)


def _grammatical(text: str) -> Any:
    """What JSON's grammar allows and msgspec takes for none; None where the grammar does not allow it either.

    `JSON.stringify` cuts an emoji in two where a program cut the string (RFC 8259 section 8.2 has nothing against it),
    and its author waits for an answer with the id.
    """
    try:
        # Python refuses whole numbers of more than some thousand digits, and nobody is to see those.
        return json.loads(text, parse_int=float, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _sendable(text: str) -> str:
    """The text, with a question mark for each half of a surrogate pair."""
    return text.encode(errors="replace").decode()


@functools.lru_cache(maxsize=16)
def codec_for(peer: str, nesting: int) -> Codec:
    """The same codec for all connections that would have equal ones: it keeps nothing of what it decodes."""
    return Codec(peer, nesting)
