"""Frames on their way to the server, and which calls they belong to."""

from __future__ import annotations

from collections import deque
from typing import Final

from poppo_ipc.client._call import Call

__all__ = ["Outbox"]

_CHUNK: Final = 256 * 1024
"""Bytes that are joined for one write. Over it a write costs more in copying than it saves in calls to the system."""


class Outbox:
    """A queue of whole frames that knows how much of it was handed over.

    A call counts as handed over from the first byte of its frame on: whether the rest arrives, this side cannot tell.
    """

    __slots__ = ("_entries", "_offset")

    def __init__(self) -> None:
        self._entries: deque[tuple[bytes, Call | None]] = deque()
        self._offset = 0  # bytes of the first entry that are gone

    def __bool__(self) -> bool:
        return bool(self._entries)

    def put(self, frame: bytes, call: Call | None = None) -> None:
        """Queue a frame; `call` is told when it is handed over."""
        self._entries.append((frame, call))

    def put_first(self, frame: bytes) -> None:
        """Queue a frame before all that is not being written yet."""
        self._entries.insert(1 if self._offset else 0, (frame, None))

    def withdraw(self, call: Call) -> bool:
        """Take the call's frame back; False where some of it is gone already."""
        for index, (_, owner) in enumerate(self._entries):
            if owner is call:
                if call.handed:
                    return False
                del self._entries[index]
                return True
        return False

    def chunk(self) -> memoryview | bytes:
        """The bytes to hand over next, not empty unless the outbox is; then tell `sent`."""
        entries = self._entries
        if not entries:
            return b""
        first = entries[0][0]
        if self._offset or len(entries) == 1 or len(first) >= _CHUNK:
            return memoryview(first)[self._offset :] if self._offset else first
        frames, size = [], 0
        for frame, _ in entries:
            frames.append(frame)
            size += len(frame)
            if size >= _CHUNK:
                break
        return b"".join(frames)

    def sent(self, count: int) -> None:
        """`count` bytes of the last chunk were handed over."""
        entries = self._entries
        if len(entries) == 1 and not self._offset and count == len(entries[0][0]):  # a lone call, as a rule
            call = entries.popleft()[1]
            if call is not None:
                call.handed = True
            return
        while count > 0:
            frame, call = entries[0]
            if call is not None:
                call.handed = True
            left = len(frame) - self._offset
            if count < left:
                self._offset += count
                return
            count -= left
            self._offset = 0
            entries.popleft()
