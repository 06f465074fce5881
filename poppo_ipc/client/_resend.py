"""May a command be sent again after the connection broke? One pure function, for both clients."""

from __future__ import annotations

import enum

from attrs import frozen

from poppo_ipc.client._session import Session

__all__ = ["KEPT_SECONDS", "Asked", "Verdict", "decide"]

KEPT_SECONDS = 600.0
"""How long a server keeps the answer to a key by default (WIRE.md section 4). After that the key protects nothing."""


class Verdict(enum.Enum):
    """What becomes of a command whose connection broke."""

    RESEND = "resend"
    """It goes out again: it never went out, or asking twice does no more than asking once."""
    UNKNOWN = "unknown"
    """It may have run and cannot be asked again safely: `OutcomeUnknown`."""
    NOT_SENT = "not-sent"
    """It did no harm and is not asked again: `ConnectionLost`, and the caller may."""


@frozen
class Asked:
    """How far a command had come when its connection broke."""

    handed: bool
    """Whether any byte of it was handed to the system: the server may have it."""

    idempotent: bool
    """Whether asking twice does no more than asking once, by its declaration."""

    key: bool
    """Whether it carries an idempotency key."""

    items: bool = False
    """Whether items of its answer were given to the caller already: sent again, they would come again."""


def decide(asked: Asked, old: Session, new: Session | None, away: float = 0.0) -> Verdict:
    """What to do with a command of session `old` now that `new` is settled, `away` seconds after `old` was last heard.

    With None for `new`, no session follows. For the question whether it makes sense to wait for one, ask with `old`
    itself as `new`: the best that can come is the same daemon.
    """
    safe = not asked.handed or asked.idempotent
    if new is None or asked.items:
        return Verdict.NOT_SENT if safe else Verdict.UNKNOWN
    if safe or (asked.key and _key_known(old, new, away)):
        return Verdict.RESEND
    return Verdict.UNKNOWN


def _key_known(old: Session, new: Session, away: float) -> bool:
    """Whether the new session's server knows the keys that the old one's was given."""
    if not (old.has_keys and new.has_keys) or away >= KEPT_SECONDS:
        return False
    return old.same_daemon(new) or (old.keys_durable and new.keys_durable)
