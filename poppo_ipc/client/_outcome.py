"""What becomes of a call whose connection broke: it goes out again, or its error."""

from __future__ import annotations

from poppo_ipc.client._call import Call, fresh
from poppo_ipc.client._resend import Asked, Verdict, decide
from poppo_ipc.client._session import Session
from poppo_ipc.errors import ConnectionClosed, ConnectionLost, OutcomeUnknown

__all__ = ["refusal"]

_NO_SESSION = Session()


def refusal(call: Call, new: Session | None, error: Exception | None, now: float) -> Exception | None:
    """None where the call goes out (again) in session `new`, else the error that it ends with.

    `error` is why the connection ended, or why there will be none any more.
    """
    exposed, old, away = call.exposed, new or _NO_SESSION, 0.0
    if exposed is not None:
        old, away = exposed.session, now - exposed.heard
    asked = Asked(exposed is not None, call.idempotent, call.key is not None, call.item_count > 0)
    verdict = decide(asked, old, new, away)
    if verdict is Verdict.RESEND:
        return None
    reason = error or ConnectionLost("The connection was lost and the daemon is another one since")
    if verdict is Verdict.NOT_SENT or isinstance(reason, ConnectionClosed):
        return fresh(reason)
    failure = OutcomeUnknown(
        f"{call.command!r} was sent and may have run, but the connection was lost before its answer came: "
        f"look at what it would have changed before asking again ({reason})"
    )
    failure.__cause__ = reason
    return failure
