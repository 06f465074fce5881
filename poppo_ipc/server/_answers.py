"""Idempotency keys: a command with a key runs once, and its answer is kept (WIRE.md section 4, `idempotency`)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, Protocol

import msgspec
import trio
from attrs import define, field, frozen

from poppo_ipc.errors import CommandError, Conflict

__all__ = ["Answers", "KeyedRun", "Outcome"]

_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode
_SHORT: Final = 64
_OVERHEAD: Final = 200


@frozen(eq=False)
class Outcome:
    """How a command ended: its result as JSON, or its error."""

    result: bytes | None
    error: CommandError | None
    size: int = field(init=False)
    """Bytes, roughly, that keeping it costs."""

    @size.default
    def _measure(self) -> int:
        size = _OVERHEAD + len(self.result or b"")
        if self.error is not None:
            size += len(self.error.message) + _json_size(self.error.details)
        return size


class Joiner(Protocol):
    """Who waits for a run that another request began."""

    def joined_outcome(self, outcome: Outcome) -> None:
        """The run has ended."""


@define(eq=False)
class KeyedRun:
    """A command that was begun with a key: it runs while `outcome` is None."""

    principal: str
    key: str
    command: str
    fingerprint: bytes
    outcome: Outcome | None = None
    stored: bool = False
    """Whether the answer is on disk already, with the change that it answers."""
    expires: float = 0.0
    joiners: list[Joiner] = field(factory=list)


class Answers:
    """The runs and kept answers of a server, by principal and key.

    At most `count` answers and `size` bytes of them are kept, each for `seconds`; the oldest go first. A run that has
    not ended is never let go.
    """

    #: Whether keys and answers outlive the daemon: told to clients as `keysDurable`.
    durable: bool = False

    def __init__(
        self, count: int, size: int, seconds: float, *, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._max_count = count
        self._max_bytes = size
        self.seconds = seconds
        self._clock = clock
        self._running: dict[tuple[str, str], KeyedRun] = {}
        self._kept: OrderedDict[tuple[str, str], KeyedRun] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, principal: str, key: str, command: str, args: dict[str, Any]) -> KeyedRun | None:
        """The run of this key, if there is one. Raises Conflict where it was of another command or other args."""
        place = (principal, key)
        run = self._running.get(place)
        if run is None:
            run = self._kept.get(place)
            if run is None:
                return None
            self._expire(self._clock())
            if place not in self._kept:
                return None
        if run.command != command or run.fingerprint != _fingerprint(args):
            raise Conflict("This idempotency key was used for another command or other args; use a new key")
        return run

    def begin(self, principal: str, key: str, command: str, args: dict[str, Any]) -> KeyedRun:
        """A new run; `find` told that there is none."""
        run = KeyedRun(principal, key, command, _fingerprint(args))
        self._running[principal, key] = run
        return run

    def restore(self, run: KeyedRun, outcome: Outcome, expires: float) -> None:
        """Take in the answer of an earlier daemon; `expires` is in seconds on the clock. The oldest come first."""
        run.outcome = outcome
        run.expires = expires
        self._kept[run.principal, run.key] = run
        self._bytes += outcome.size

    async def store(self, run: KeyedRun, outcome: Outcome) -> None:
        """Put the answer of a run where it outlives the daemon. Only asked of durable answers."""

    def finish(self, run: KeyedRun, outcome: Outcome, *, keep: bool = True) -> None:
        """The run has ended: keep its answer, unless it did not come to one, and give it to who joined."""
        run.outcome = outcome
        now = self._clock()
        run.expires = now + self.seconds
        place = (run.principal, run.key)
        self._running.pop(place, None)
        if keep:
            self._kept[place] = run
            self._bytes += outcome.size
        self._expire(now)
        while self._kept and (len(self._kept) > self._max_count or self._bytes > self._max_bytes):
            self._drop_oldest()
        joiners, run.joiners = run.joiners, []
        for joiner in joiners:
            joiner.joined_outcome(outcome)

    def _expire(self, now: float) -> None:
        while self._kept and next(iter(self._kept.values())).expires <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        run = self._kept.popitem(last=False)[1]
        assert run.outcome is not None
        self._bytes -= run.outcome.size


def _json_size(value: Any) -> int:
    try:
        return 0 if value is None else len(msgspec.json.encode(value))
    except Exception:
        # Not JSON, so it is never sent: its client is told of an internal error.
        return 0


def _fingerprint(args: dict[str, Any]) -> bytes:
    """Equal for equal JSON; as short as a digest, however large the args were."""
    if not args:
        return b""
    text = _encode_sorted(args)
    return text if len(text) <= _SHORT else b"#" + blake2b(text, digest_size=16).digest()
