"""What tasks print: decoded, bounded, kept in order, and handed to who follows."""

from __future__ import annotations

import codecs
from collections import deque
from typing import Final, Literal

import trio
from attrs import define, field, frozen

from poppo_ipc.daemon.store import Transaction

__all__ = ["Follower", "OutputPart", "TaskPrint"]

StreamName = Literal["stdout", "stderr"]
_FOLLOWER_PARTS: Final = 1000
_decoder = codecs.getincrementaldecoder("utf-8")


@frozen
class OutputPart:
    """A piece of what a task printed. `stream` is `stdout`, `stderr`, or `truncated`, whose text says how much more."""

    number: int
    attempt: int
    stream: str
    text: str


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
            self.parts.clear()
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
    """What one running task prints.

    `limit` bounds the characters kept of all its attempts; `part` and `kept` are what earlier attempts have used.
    `followers` is the task's own list, which outlives the attempt.
    """

    def __init__(
        self, task_id: str, attempt: int, limit: int, followers: list[Follower], *, part: int = 0, kept: int = 0
    ) -> None:
        self._task_id = task_id
        self._attempt = attempt
        self._limit = limit
        self._part = part
        self.kept = kept
        self._cut = 0
        self._pending: list[OutputPart] = []
        self._decoders = {"stdout": _decoder("replace"), "stderr": _decoder("replace")}
        self._followers = followers

    @property
    def pending(self) -> int:
        """Parts that are not on their way to the disk yet."""
        return len(self._pending)

    def write(self, stream: StreamName, data: bytes, *, final: bool = False) -> None:
        """Take what the task printed; bytes that end in the middle of a character wait for the rest of it."""
        text = self._decoders[stream].decode(data, final)
        if not text:
            return
        room = self._limit - self.kept
        if len(text) > room:
            self._cut += len(text) - max(room, 0)
            text = text[: max(room, 0)]
        if text:
            self.kept += len(text)
            self._add(stream, text)

    def finish(self) -> None:
        """The attempt has ended: nothing more comes, and what was cut is marked."""
        for stream in ("stdout", "stderr"):
            self.write(stream, b"", final=True)
        if self._cut:
            self._add("truncated", f"{self._cut} more characters were not kept")
            self._cut = 0

    def _add(self, stream: str, text: str) -> None:
        last = self._pending[-1] if self._pending else None
        self._part += 1
        part = OutputPart(self._part, self._attempt, stream, text)
        if last is not None and last.stream == stream and len(last.text) < 8192 and not self._followers:
            # One row for many short writes; followers have been told of each by its number.
            self._part -= 1
            self._pending[-1] = OutputPart(last.number, last.attempt, stream, last.text + text)
        else:
            self._pending.append(part)
        for follower in self._followers:
            follower.put(part)

    def take(self) -> list[OutputPart]:
        """What is to be stored."""
        taken, self._pending = self._pending, []
        return taken

    def store(self, transaction: Transaction, parts: list[OutputPart]) -> None:
        """Store parts that were taken."""
        if parts:
            transaction.executemany(
                "INSERT INTO output (task_id, part, attempt, stream, text) VALUES (?, ?, ?, ?, ?)",
                [(self._task_id, part.number, part.attempt, part.stream, part.text) for part in parts],
            )
            transaction.execute("UPDATE tasks SET output_bytes = ? WHERE id = ?", (self.kept, self._task_id))
