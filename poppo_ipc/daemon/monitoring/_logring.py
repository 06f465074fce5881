"""The last lines of the log in memory, and those who follow them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self

import msgspec
import trio

from poppo_ipc.errors import InvalidArgs

__all__ = ["LEVELS", "Follower", "LogRing", "level_name", "parse_level"]

#: The levels of a log line, the least serious first.
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_NUMBERS: Final = {name: getattr(logging, name.upper()) for name in LEVELS} | {"warn": logging.WARNING}

_LINES: Final = 10_000
# Lines of the usual 300 bytes fill a tenth of it; it is there for those with a traceback of 64 KiB.
_BYTES: Final = 32 * 1024 * 1024
_BUFFER: Final = 1_000

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode

Entry = Mapping[str, Any]


def parse_level(text: str, *, field: str = "level") -> int:
    """The number of a level's name, in capitals or not. Raises InvalidArgs, with `choices` in its details."""
    number = _NUMBERS.get(text.lower())
    if number is None:
        error = InvalidArgs.of(field, f"expected one of {', '.join(LEVELS)}")
        error.details = {**(error.details or {}), "choices": list(LEVELS)}
        raise error
    return int(number)


def level_name(number: int) -> str:
    """The name of the level that a number belongs to: numbers in between belong to the one below."""
    return next((name for name in reversed(LEVELS) if number >= _NUMBERS[name]), LEVELS[0])


class LogRing:
    """Keeps the last entries as JSON, at most `lines` of them and `size` bytes. Safe in any thread."""

    def __init__(self, lines: int = _LINES, size: int = _BYTES) -> None:
        self._lines = lines
        self._size = size
        self._kept: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._followers: set[Follower] = set()
        self._ended = False
        # Lines come from worker threads too; held only while something is moved in memory.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def append(self, level: int, entry: Entry) -> bytes:
        """Keep an entry that is plain already, and pass it on to followers; gives it as JSON.

        Args:
            level: the number of its level.
            entry: `timestamp`, `level`, `logger`, `message` and whatever else it has.
        """
        line = _encode(entry)
        with self._lock:
            self._kept.append((level, line))
            self._bytes += len(line)
            while self._kept and (len(self._kept) > self._lines or self._bytes > self._size):
                self._bytes -= len(self._kept.popleft()[1])
            followers = tuple(self._followers)
            for follower in followers:
                follower.offer(level, line)
        for follower in followers:
            follower.wake()
        return line

    def tail(self, lines: int, level: int = 0, size: int | None = None) -> list[dict[str, Any]]:
        """The last `lines` entries of a level and above, the oldest first; fewer where they are over `size` bytes."""
        with self._lock:
            found = self._tail(lines, level, size)
        return [_decode(line) for line in found]

    def _tail(self, lines: int, level: int, size: int | None) -> list[bytes]:
        found: list[bytes] = []
        room = self._size if size is None else size
        for number, line in reversed(self._kept):
            if len(found) >= lines or room < 0:
                break
            if number >= level:
                room -= len(line)
                if room >= 0:
                    found.append(line)
        found.reverse()
        return found

    @contextmanager
    def follow(self, lines: int = 0, level: int = 0, buffer: int = _BUFFER) -> Iterator[Follower]:
        """Follow inside the block: the last `lines` entries and then each new one, none twice and none left out.

        Args:
            lines: how many of the past.
            level: only entries of this level and above.
            buffer: new entries that may wait to be taken; of more, the oldest are skipped, and the follower is told.

        To be entered in a Trio task; the follower is for that task.
        """
        with self._lock:
            follower = Follower([_decode(line) for line in self._tail(lines, level, None)], level, buffer)
            self._followers.add(follower)
            if self._ended:
                follower.end()
        try:
            yield follower
        finally:
            with self._lock:
                self._followers.discard(follower)

    def end_following(self) -> None:
        """Let all followers come to their end once they have taken what waits for them; later ones end at once.

        For the stopping of the daemon, which should not wait for those who follow its log.
        """
        with self._lock:
            self._ended = True
            for follower in self._followers:
                follower.end()
            followers = tuple(self._followers)
        for follower in followers:
            follower.wake()

    @property
    def followers(self) -> int:
        """How many follow."""
        return len(self._followers)


class Follower:
    """Gives entries one by one: `async for entry in follower`. Made by `LogRing.follow`.

    An entry with `skipped` stands for as many that came while the buffer was full.
    """

    def __init__(self, past: list[dict[str, Any]], level: int, buffer: int) -> None:
        self.past = past
        """The entries that were there at the beginning."""
        self._level = level
        self._buffer: deque[bytes] = deque()
        self._capacity = buffer
        self._skipped = 0
        self._ended = False
        self._lock = threading.Lock()
        self._woken: trio.Event | None = None
        self._token = trio.lowlevel.current_trio_token()

    def offer(self, level: int, line: bytes) -> None:
        """A new line; in any thread."""
        if level < self._level or self._ended:
            return
        with self._lock:
            if len(self._buffer) >= self._capacity:
                self._buffer.popleft()
                self._skipped += 1
            self._buffer.append(line)

    def end(self) -> None:
        """There will be no more lines; in any thread."""
        self._ended = True

    def wake(self) -> None:
        """Let the task that waits look; in any thread."""
        if self._woken is not None:
            try:
                self._token.run_sync_soon(self._wake, idempotent=True)
            except trio.RunFinishedError:
                self._ended = True

    def _wake(self) -> None:
        if self._woken is not None:
            self._woken.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """The next entry; waits for it. Cancelled, none is lost. Raises StopAsyncIteration after `end_following`."""
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()
            # Made before the look: a line that comes right after it wakes us.
            self._woken = trio.Event()
            entry = self._take()
            if entry is not None:
                self._woken = None
                await trio.lowlevel.cancel_shielded_checkpoint()
                return entry
            if self._ended:
                raise StopAsyncIteration
            await self._woken.wait()

    def _take(self) -> dict[str, Any] | None:
        with self._lock:
            if self._skipped:
                skipped, self._skipped = self._skipped, 0
                return {"skipped": skipped}
            return _decode(self._buffer.popleft()) if self._buffer else None
