"""One change of the state, in the store's thread: rows, the events that tell of them, the answer; all or nothing."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from attrs import define

__all__ = ["KeptAnswer", "Row", "StoredEvent", "Transaction"]

Row: TypeAlias = sqlite3.Row
EncodeEvent: TypeAlias = Callable[[str, Any, int], bytes]

# Each statement hands Python's lock to the event loop and waits to have it back, so that few are better than many.
_ROWS: Final = 16
_ROW: Final = "(?, ?, ?, ?, ?, ?, ?)"
_KEEP: Final = (
    f"INSERT OR REPLACE INTO answers (principal, key, command, fingerprint, result, error, expires_ms) VALUES {_ROW}"
)
_KEEP_ROWS: Final = _KEEP + f", {_ROW}" * (_ROWS - 1)
# By how many rows there are.
_EVENTS: Final = [f"INSERT INTO events (seq, name, frame) VALUES (?, ?, ?){', (?, ?, ?)' * n}" for n in range(_ROWS)]


@define(eq=False)
class StoredEvent:
    """An event that is on disk: `frame` is what every client gets."""

    seq: int
    name: str
    frame: bytes


@define(eq=False)
class KeptAnswer:
    """The answer to an idempotency key: `result` as JSON, or `error` as the JSON of its code, message and details."""

    principal: str
    key: str
    command: str
    fingerprint: bytes
    result: bytes | None
    error: str | None
    expires_ms: int


class Transaction:
    """What a change works with. Valid until the change returns; an exception from it undoes it whole."""

    __slots__ = ("_connection", "_encode", "answers", "events", "execute", "executemany", "seq")

    def __init__(self, connection: sqlite3.Connection, seq: int, encode: EncodeEvent) -> None:
        self._connection = connection
        self._encode = encode
        #: Run one statement: `execute(sql, parameters)`, as `sqlite3.Connection.execute`.
        self.execute = connection.execute
        self.executemany = connection.executemany
        #: The number of the last event.
        self.seq = seq
        #: Both are stored at the end of the commit.
        self.events: list[StoredEvent] = []
        self.answers: list[KeptAnswer] = []

    def one(self, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        row: Row | None = self.execute(sql, tuple(parameters)).fetchone()
        return row

    def publish(self, name: str, data: Any) -> int:
        """Store an event with the change; it is sent once the change is on disk. Gives its number.

        Raises FrameTooLarge, TypeError or ValueError where `data` does not fit, which undoes the change.
        """
        seq = self.seq + 1
        self.events.append(StoredEvent(seq, name, self._encode(name, data, seq)))
        self.seq = seq
        return seq

    def keep_answer(self, answer: KeptAnswer) -> None:
        """Store the answer to an idempotency key with the change that it answers."""
        self.answers.append(answer)

    def keep_answer_at_once(self, answer: KeptAnswer) -> None:
        """The same, before this returns: for one that a change of the same commit may have to correct."""
        self.execute(_KEEP, _fields(answer))

    def correct_answers(self, command: str, result: bytes, error: str) -> None:
        """Turn the answers to a command that were kept with this result into an error, given as JSON.

        Only those stored at once, or by an earlier commit. Looks at all that are kept.
        """
        self.execute(
            "UPDATE answers SET result = NULL, error = ? WHERE command = ? AND result = ?", (error, command, result)
        )

    def store_events(self) -> None:
        """Store the events of all changes of a commit."""
        events = self.events
        for at in range(0, len(events), _ROWS):
            rows = [(event.seq, event.name, event.frame) for event in events[at : at + _ROWS]]
            self.execute(_EVENTS[len(rows) - 1], list(itertools.chain.from_iterable(rows)))

    def store_answers(self) -> None:
        """Store the answers of all changes of a commit: many with one statement."""
        answers = self.answers
        for at in range(0, len(answers), _ROWS):
            rows = [_fields(answer) for answer in answers[at : at + _ROWS]]
            if len(rows) == _ROWS:
                self.execute(_KEEP_ROWS, list(itertools.chain.from_iterable(rows)))
            else:
                self.executemany(_KEEP, rows)


def _fields(answer: KeptAnswer) -> tuple[Any, ...]:
    return (
        answer.principal,
        answer.key,
        answer.command,
        answer.fingerprint,
        answer.result,
        answer.error,
        answer.expires_ms,
    )
