"""Idempotency keys on disk: an answer is stored with the change that it answers, so neither is there alone."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
import trio

from poppo_ipc.commands import Context
from poppo_ipc.daemon.store._database import StoreError
from poppo_ipc.daemon.store._failures import StoreUnavailable, answer_not_stored
from poppo_ipc.daemon.store._store import Store
from poppo_ipc.daemon.store._transaction import KeptAnswer, Transaction
from poppo_ipc.errors import CommandError
from poppo_ipc.server import Answers, KeyedRun, Outcome, answer_json, keyed_run

__all__ = ["StoredAnswers", "error_json"]

T = TypeVar("T")

# Rows deleted with one change.
_PIECE: Final = 1000
_FORGET_EXPIRED: Final = (
    "DELETE FROM answers WHERE (principal, key) IN"
    " (SELECT principal, key FROM answers WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?)"
)
_FORGET_EXCESS: Final = (
    "DELETE FROM answers WHERE (principal, key) IN"
    " (SELECT principal, key FROM answers ORDER BY expires_ms DESC LIMIT ? OFFSET ?)"
)


def _now_ms() -> int:
    return int(time.time() * 1000)


class StoredAnswers(Answers):
    """The kept answers of a server whose keys outlive it; the bounds are those of `Answers`."""

    durable = True

    def __init__(self, store: Store, count: int, size: int, seconds: float) -> None:
        super().__init__(count, size, seconds)
        self._store = store
        self._count = count
        self._stored: dict[KeyedRun, Outcome] = {}  # on disk, of commands that have not returned yet
        self._undone: set[KeyedRun] = set()  # that the disk did not take, of commands that have not returned yet
        self._owed: dict[KeyedRun, Outcome] = {}  # of commands that have ended, and that the disk did not take

    @classmethod
    async def load(cls, store: Store, count: int, size: int, seconds: float) -> StoredAnswers:
        """With what an earlier run has kept. Raises StoreError."""

        def kept(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            rows = connection.execute(
                "SELECT * FROM answers WHERE expires_ms > ? ORDER BY expires_ms DESC LIMIT ?", (_now_ms(), count)
            )
            return rows.fetchall()[::-1]

        answers = cls(store, count, size, seconds)
        now_ms, now = _now_ms(), trio.current_time()
        for row in await store.read(kept):
            run = KeyedRun(row["principal"], row["key"], row["command"], row["fingerprint"], stored=True)
            error = None if row["error"] is None else CommandError.from_wire(**msgspec.json.decode(row["error"]))
            # No longer than a new one, however the clock was set meanwhile.
            left = min((row["expires_ms"] - now_ms) / 1000, seconds)
            answers.restore(run, Outcome(row["result"], error), now + left)
        return answers

    async def store(self, run: KeyedRun, outcome: Outcome) -> None:
        """Put the answer of a run on disk. Raises StoreError.

        Where the disk does not take it the answer is kept in memory, for who asks with the key again, and stored later.
        The error of a disk that failed is no answer: nothing was done, and the key can be used again.
        """
        if run in self._undone or isinstance(outcome.error, StoreError):
            self._undone.add(run)
            return
        try:
            await self._store.write(
                lambda transaction: transaction.keep_answer(self._row(run, outcome)),
                lambda kept: self._was_stored(run, outcome),
            )
        except StoreUnavailable as error:
            self._owed[run] = outcome
            if len(self._owed) > self._count:
                del self._owed[next(iter(self._owed))]
            raise answer_not_stored(error) from error

    async def commit(
        self, ctx: Context | None, change: Callable[[Transaction], T], after: Callable[[T], object] | None = None
    ) -> T:
        """Run `change` and `after` as `Store.write` does; what it returns is stored with it, as the answer to `ctx`.

        Where that command has an idempotency key, a daemon killed at any moment has done both or neither. Where the
        disk fails it has done neither, and the key can be used again.
        """
        run = None if ctx is None else keyed_run(ctx)
        if run is None or ctx is None:
            return await self._store.write(change, after)

        def with_answer(transaction: Transaction) -> tuple[T, Outcome]:
            result = change(transaction)
            outcome = Outcome(answer_json(ctx, result), None)
            transaction.keep_answer(self._row(run, outcome))
            return result, outcome

        def then(done: tuple[T, Outcome]) -> None:
            self._was_stored(run, done[1])
            if after is not None:
                after(done[0])

        try:
            return (await self._store.write(with_answer, then))[0]
        except StoreError:
            self._undone.add(run)
            raise

    def foresee(self, ctx: Context | None, transaction: Transaction, result: Any) -> None:
        """Store with a change the answer that the command is to have should the daemon die before it has ended.

        For a command that waits for something that a dead daemon's successor brings about. Where it comes out
        otherwise, the change that says so has to `correct_answers`; where it comes out as foreseen, `came_true`.
        """
        run = None if ctx is None else keyed_run(ctx)
        if run is not None and ctx is not None:
            transaction.keep_answer_at_once(self._row(run, Outcome(answer_json(ctx, result), None)))

    def came_true(self, ctx: Context | None, result: Any) -> None:
        """The answer that was foreseen is the command's, and on disk already."""
        run = None if ctx is None else keyed_run(ctx)
        if run is not None and ctx is not None:
            self._was_stored(run, Outcome(answer_json(ctx, result), None))

    def _was_stored(self, run: KeyedRun, outcome: Outcome) -> None:
        run.stored = True
        self._stored[run] = outcome
        self._undone.discard(run)

    def finish(self, run: KeyedRun, outcome: Outcome, *, keep: bool = True) -> None:
        """The run has ended. What is on disk is its answer, also where the command was stopped a moment later."""
        owed = self._owed.get(run)
        undone = run in self._undone or (owed is None and isinstance(outcome.error, StoreError))
        self._undone.discard(run)
        kept = owed or self._stored.pop(run, outcome)
        super().finish(run, kept, keep=(keep or run.stored or owed is not None) and not undone)

    def _row(self, run: KeyedRun, outcome: Outcome) -> KeptAnswer:
        error = outcome.error
        return KeptAnswer(
            principal=run.principal,
            key=run.key,
            command=run.command,
            fingerprint=run.fingerprint,
            result=outcome.result,
            error=None if error is None else error_json(error),
            expires_ms=_now_ms() + int(self.seconds * 1000),
        )

    async def forget_expired(self) -> None:
        """Delete from the disk what is no longer kept, whether it is too old or too much; and store before it what the
        disk did not take. Raises StoreError.
        """
        await self._store_owed()

        def forget(transaction: Transaction) -> int:
            expired = transaction.execute(_FORGET_EXPIRED, (_now_ms(), _PIECE)).rowcount
            return max(expired, transaction.execute(_FORGET_EXCESS, (_PIECE, self._count)).rowcount)

        # In pieces: nothing else is committed meanwhile.
        while await self._store.write(forget) == _PIECE:
            pass

    async def _store_owed(self) -> None:
        for run in list(self._owed):
            # Not for one that was let go meanwhile: its key may be another command's by now.
            if run.outcome is not None and self._kept.get((run.principal, run.key)) is not run:
                del self._owed[run]
        owed = list(self._owed.items())

        def change(transaction: Transaction) -> None:
            for run, outcome in owed:
                transaction.keep_answer(self._row(run, outcome))

        if owed:
            await self._store.write(change)
            for run, _ in owed:
                run.stored = True
                self._owed.pop(run, None)


def error_json(error: CommandError) -> str:
    """An error as it is kept."""
    fields: dict[str, Any] = {"code": error.code, "message": error.message, "details": error.details}
    return msgspec.json.encode(fields).decode()
