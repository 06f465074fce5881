"""Where one frame ends and the next begins (WIRE.md section 1): bytes to payloads and back.

A frame is `POPPO`, an unsigned 32-bit big-endian length N, and N bytes of payload. The length is checked against the
bound before a byte of the payload is kept, memory grows with the bytes that came and not with those announced, and
the cost is linear in the bytes for any split of them.
"""

from __future__ import annotations

import struct
from typing import Final

from poppo_ipc.errors import BadFrame, FrameTooLarge

__all__ = ["HEADER_BYTES", "MAGIC", "FrameDecoder", "frame"]

MAGIC: Final = b"POPPO"
_HEADER: Final = struct.Struct(">5sI")
HEADER_BYTES: Final = _HEADER.size
_unpack_from = _HEADER.unpack_from
pack_header = _HEADER.pack


def frame(payload: bytes | bytearray) -> bytes:
    """One whole frame around `payload`."""
    return _HEADER.pack(MAGIC, len(payload)) + payload


class FrameDecoder:
    """Cuts a byte stream into payloads.

    `feed` takes what arrived, `drain` gives the payloads that are whole. After a violation `error` is set, and no
    more comes out: the stream has lost its step and cannot find it again.
    """

    __slots__ = ("_body", "_chunk", "_head", "_missing", "_position", "error")

    def __init__(self) -> None:
        self._chunk = b""
        self._position = 0
        self._head = bytearray()
        self._body: bytearray | None = None
        self._missing = 0
        self.error: BadFrame | FrameTooLarge | None = None

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun that is not whole."""
        return bool(self._head) or self._body is not None or self._position < len(self._chunk)

    @property
    def buffered_bytes(self) -> int:
        """Bytes held that no payload was made of yet."""
        return len(self._chunk) - self._position + len(self._head) + len(self._body or b"")

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream, any number of them. Drain before feeding again: it is cheaper."""
        if self.error is not None:
            return
        if self._position < len(self._chunk):
            data = self._chunk[self._position :] + data
        self._chunk = data
        self._position = 0

    def drain(self, limit: int, at_most: int = 0) -> list[bytes | bytearray]:
        """The payloads that are whole, in order; `at_most` so many where it is over 0, leaving the rest for later.

        A frame that announces more than `limit` bytes, or does not begin with the magic, sets `error` and ends the
        list: the payloads before it are good.
        """
        payloads: list[bytes | bytearray] = []
        if self.error is not None:
            return payloads
        chunk, position, end = self._chunk, self._position, len(self._chunk)
        while position < end or self._body is not None:
            if self._body is None and not self._head and end - position >= HEADER_BYTES:
                magic, length = _unpack_from(chunk, position)
                if magic != MAGIC or length > limit:
                    self._refuse(magic, length, limit)
                    break
                start = position + HEADER_BYTES
                stop = start + length
                if stop <= end:
                    payloads.append(chunk[start:stop])
                    position = stop
                else:
                    self._body = bytearray(memoryview(chunk)[start:])
                    self._missing = stop - end
                    position = end
                    break
            else:
                position, payload = self._assemble(chunk, position, limit)
                if payload is None:
                    break
                payloads.append(payload)
            if len(payloads) == at_most:
                break
        if position == end or self.error is not None:
            self._chunk = b""
            self._position = 0
        else:
            self._position = position
        return payloads

    def _assemble(self, chunk: bytes, position: int, limit: int) -> tuple[int, bytearray | None]:
        """Go on with a frame that began in an earlier piece, or that ends in a later one."""
        if self._body is None:
            head = self._head
            taken = chunk[position : position + HEADER_BYTES - len(head)]
            head += taken
            position += len(taken)
            if not MAGIC.startswith(head[:5]):
                self._refuse(bytes(head[:5]), 0, limit)
                return position, None
            if len(head) < HEADER_BYTES:
                return position, None
            magic, length = _unpack_from(head, 0)
            if length > limit:
                self._refuse(magic, length, limit)
                return position, None
            head.clear()
            self._body = bytearray()
            self._missing = length
        taken_bytes = min(self._missing, len(chunk) - position)
        self._body += memoryview(chunk)[position : position + taken_bytes]
        position += taken_bytes
        self._missing -= taken_bytes
        if self._missing:
            return position, None
        payload, self._body = self._body, None
        return position, payload

    def _refuse(self, magic: bytes, length: int, limit: int) -> None:
        if magic != MAGIC:
            self.error = BadFrame("Not a POPPO frame: check that both sides speak this protocol")
        else:
            self.error = FrameTooLarge(f"Frame of {length} bytes is over the limit of {limit} bytes")
        self._head.clear()
        self._body = None
