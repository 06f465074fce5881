"""One change of the state, in the store's thread: rows, the events that tell of them, the answer; all or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from attrs import frozen

__all__ = ["KeptAnswer", "Row", "StoredEvent", "Transaction"]

Row: TypeAlias = sqlite3.Row
EncodeEvent: TypeAlias = Callable[[str, Any, int], bytes]


@frozen(eq=False)
class StoredEvent:
    """An event that is on disk: `frame` is what every client gets."""

    seq: int
    name: str
    frame: bytes


@frozen(eq=False)
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

    __slots__ = ("_connection", "_encode", "events", "execute", "executemany", "seq")

    def __init__(self, connection: sqlite3.Connection, seq: int, encode: EncodeEvent) -> None:
        self._connection = connection
        self._encode = encode
        #: Run one statement: `execute(sql, parameters)`, as `sqlite3.Connection.execute`.
        self.execute = connection.execute
        self.executemany = connection.executemany
        #: The number of the last event.
        self.seq = seq
        self.events: list[StoredEvent] = []

    def one(self, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        row: Row | None = self.execute(sql, tuple(parameters)).fetchone()
        return row

    def publish(self, name: str, data: Any) -> int:
        """Store an event with the change; it is sent once the change is on disk. Gives its number.

        Raises FrameTooLarge, TypeError or ValueError where `data` does not fit, which undoes the change.
        """
        seq = self.seq + 1
        event = StoredEvent(seq, name, self._encode(name, data, seq))
        self.execute("INSERT INTO events (seq, name, frame) VALUES (?, ?, ?)", (seq, name, event.frame))
        self.seq = seq
        self.events.append(event)
        return seq

    def keep_answer(self, answer: KeptAnswer) -> None:
        """Store the answer to an idempotency key with the change that it answers."""
        self.execute(
            "INSERT OR REPLACE INTO answers (principal, key, command, fingerprint, result, error, expires_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                answer.principal,
                answer.key,
                answer.command,
                answer.fingerprint,
                answer.result,
                answer.error,
                answer.expires_ms,
            ),
        )
