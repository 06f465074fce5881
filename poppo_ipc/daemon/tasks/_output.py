"""What tasks print: decoded, bounded, kept in order, and handed to who follows.

Each piece has its place: how many characters the task had printed before it, all attempts together. Who reads along
gets pieces as they come and, from the store, rows of many of them, and tells by the place what it has had. How much is
kept is counted in bytes of UTF-8, as it takes room on the disk and on the wire.
"""

from __future__ import annotations

import codecs
import sqlite3
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

import trio
from attrs import define, field, frozen

from poppo_ipc.daemon.store import Transaction

__all__ = ["Follower", "OutputPart", "TaskPrint", "Unsaved", "stored_output"]

StreamName = Literal["stdout", "stderr"]
_FOLLOWER_PARTS: Final = 1000
# A row takes more until it has so many characters.
_ROW: Final = 8192
# Parts that are kept: one for so many of the bytes that may be, and a few. It bounds what a task costs that writes to
# its two streams in turns.
_BYTES_A_PART: Final = 16
_FEW_PARTS: Final = 64
_decoder = codecs.getincrementaldecoder("utf-8")


@frozen
class OutputPart:
    """A piece of what a task printed. `stream` is `stdout`, `stderr`, or `truncated`, whose text says how much more."""

    start: int
    attempt: int
    stream: str
    text: str

    @property
    def end(self) -> int:
        """The place of what comes next."""
        return self.start + len(self.text)


@frozen(eq=False)
class Unsaved:
    """What is about to be stored of an attempt's output: `kept` is how many bytes are kept with it."""

    task_id: str
    parts: list[OutputPart]
    kept: int

    def store(self, transaction: Transaction) -> int:
        """Store it; what this returns is for `TaskPrint.saved`."""
        if not self.parts:
            return 0
        transaction.executemany(
            "INSERT OR REPLACE INTO output (task_id, part, attempt, stream, text) VALUES (?, ?, ?, ?, ?)",
            [(self.task_id, part.start, part.attempt, part.stream, part.text) for part in self.parts],
        )
        end = self.parts[-1].end
        transaction.execute(
            "UPDATE tasks SET output_bytes = ?, output_end = ? WHERE id = ?", (self.kept, end, self.task_id)
        )
        return end


@define(eq=False)
class Follower:
    """Someone who reads along. What it is too slow for it reads from the store: `behind` is set then."""

    parts: deque[OutputPart] = field(factory=deque)
    behind: bool = False
    ended: bool = False
    _came: trio.Event = field(factory=trio.Event)

    def put(self, part: OutputPart) -> None:
        """One more part, or word that there is one."""
        if self.behind or len(self.parts) >= _FOLLOWER_PARTS:
            self.behind = True
        else:
            self.parts.append(part)
        self._came.set()

    def end(self) -> None:
        """The task has ended."""
        self.ended = True
        self._came.set()

    async def wait(self) -> None:
        """Wait until there is something to look at."""
        await self._came.wait()
        self._came = trio.Event()


class TaskPrint:
    """What one attempt at a task prints.

    `limit` bounds the bytes of UTF-8 kept of all its attempts; `end` (a place) and `kept` (bytes) are what earlier ones
    have used. `followers` is the task's own list, which outlives the attempt.
    """

    def __init__(
        self, task_id: str, attempt: int, limit: int, followers: Sequence[Follower], *, end: int = 0, kept: int = 0
    ) -> None:
        self._task_id = task_id
        self._attempt = attempt
        self._limit = limit
        self._end = self._saved = end
        self.kept = kept
        self._cut = 0
        self._room_parts = _FEW_PARTS + limit // _BYTES_A_PART
        self._parts: list[OutputPart] = []  # not saved, and before them the last that was, which may still grow
        self._decoders = {"stdout": _decoder("replace"), "stderr": _decoder("replace")}
        self._followers = followers

    @property
    def pending(self) -> int:
        """Characters that are not on the disk yet."""
        return self._end - self._saved

    def write(self, stream: StreamName, data: bytes, *, final: bool = False) -> None:
        """Take what the task printed; bytes that end in the middle of a character wait for the rest of it.

        Once a character did not fit nothing more is kept, small as it may be: the output has no holes.
        """
        text = self._decoders[stream].decode(data, final)
        if not text:
            return
        encoded = text.encode()
        size = len(encoded)
        room = max(0, self._limit - self.kept) if self._room_parts and not self._cut else 0
        if size > room:
            # Of a character that the limit goes through nothing is kept.
            text = encoded[:room].decode(errors="ignore")
            size = len(text.encode())
            self._cut += len(encoded) - size
        if text:
            self.kept += size
            self._add(stream, text)

    def finish(self) -> None:
        """The attempt has ended: nothing more comes, and what was cut is marked. A second time it does nothing."""
        for stream in ("stdout", "stderr"):
            self.write(stream, b"", final=True)
        if self._cut:
            self._add("truncated", f"{self._cut} more bytes were not kept")
            self._cut = 0

    def _add(self, stream: str, text: str) -> None:
        part = OutputPart(self._end, self._attempt, stream, text)
        self._end = part.end
        last = self._parts[-1] if self._parts else None
        if last is not None and last.stream == stream and len(last.text) < _ROW:
            # One row for many short writes.
            self._parts[-1] = OutputPart(last.start, last.attempt, stream, last.text + text)
        else:
            self._parts.append(part)
            self._room_parts -= 1 if self._room_parts else 0
        for follower in self._followers:
            follower.put(part)

    def unsaved(self) -> Unsaved:
        """What is to be stored; the first of it may have been in part."""
        return Unsaved(self._task_id, [part for part in self._parts if part.end > self._saved], self.kept)

    def saved(self, end: int) -> None:
        """All up to this place is on the disk."""
        self._saved = max(self._saved, end)
        self._parts = [part for part in self._parts[:-1] if part.end > self._saved] + self._parts[-1:]


def stored_output(connection: sqlite3.Connection, task_id: str, after: int) -> list[OutputPart]:
    """What is stored of a task's output from a place on; the first part may begin before it."""
    found = connection.execute(
        "SELECT part, attempt, stream, text FROM output WHERE task_id = ? AND part >= coalesce("
        "(SELECT max(part) FROM output WHERE task_id = ? AND part <= ?), 0) ORDER BY part",
        (task_id, task_id, after),
    )
    return [part for part in (OutputPart(*row) for row in found) if part.end > after]
