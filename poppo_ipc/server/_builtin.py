"""The commands that belong to the protocol itself: `events.*` and `ipc.describe` (WIRE.md section 4)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, cast

from poppo_ipc.commands import Context, Router, describe
from poppo_ipc.errors import Busy, InvalidArgs, NotFound, UnknownCommand
from poppo_ipc.protocol import REPLAY, SUBSCRIBE, check_pattern
from poppo_ipc.server._fanout import Subscription
from poppo_ipc.server._outbox import EventFrame

if TYPE_CHECKING:
    from poppo_ipc.server._request import Request
    from poppo_ipc.server._session import Session

__all__ = ["SESSION_BOUND", "builtin_router"]

#: What these do, they do to the connection they come on: an answer kept for a key would be of another one.
SESSION_BOUND: Final = frozenset({"events.subscribe", "events.unsubscribe"})


def builtin_router(everything: Router, server: dict[str, str]) -> Router:
    """The commands that every server has. `everything` is what `ipc.describe` describes."""
    router = Router()

    @router.command("events.subscribe", summary="Get the events whose names match one of the patterns")
    def subscribe(ctx: Context, events: list[str], since: dict[str, Any] | None = None) -> dict[str, Any]:
        return _subscribe(cast("Request", ctx), events, since)

    @router.command("events.unsubscribe", summary="End a subscription")
    def unsubscribe(ctx: Context, subscription_id: str) -> dict[str, Any]:
        session = _session(cast("Request", ctx))
        subscription = session.subscriptions.pop(subscription_id, None)
        if subscription is None:
            raise NotFound("There is no such subscription on this connection")
        session.server.fanout.unsubscribe(subscription)
        return {}

    @router.command("ipc.describe", summary="What can be asked of this server, and what it tells", idempotent=True)
    def describe_all(ctx: Context) -> dict[str, Any]:
        return describe(everything, server, ctx.principal.allows)

    return router


def _session(request: Request) -> Session:
    session = request.session
    if SUBSCRIBE not in session.connection.capabilities:
        raise UnknownCommand(f"Unknown command: {request.command}", {"suggestions": [], "capability": SUBSCRIBE})
    return session


def _subscribe(request: Request, events: list[str], since: dict[str, Any] | None) -> dict[str, Any]:
    session = _session(request)
    limit = session.server.limits.subscriptions_per_client
    patterns = tuple(dict.fromkeys(events))
    if not patterns:
        raise InvalidArgs.of("events", "expected at least one pattern")
    if len(patterns) > limit or len(session.subscriptions) >= limit:
        raise Busy(f"Over {limit} subscriptions, or patterns of one; end some first", {"limit": limit})
    for index, pattern in enumerate(patterns):
        problem = check_pattern(pattern)
        if problem is not None:
            raise InvalidArgs.of(f"events[{index}]", problem)
    fanout = session.server.fanout
    kept: list[EventFrame] = []
    gap = False
    missed: int | None = 0
    if since is not None and REPLAY in session.connection.capabilities:
        kept, gap, missed = fanout.kept_since(*_position(since), patterns)
    subscription = Subscription(secrets.token_hex(8), session, patterns)

    def begin() -> None:
        # Right behind the answer, with nothing published in between.
        session.outbox.put_replay(event.frame for event in kept)
        session.subscriptions[subscription.id] = subscription
        fanout.subscribe(subscription)

    request.after_answer = begin
    return {"subscriptionId": subscription.id, "gap": gap, "missed": missed, "seq": fanout.log.seq}


def _position(since: dict[str, Any]) -> tuple[str, int]:
    epoch, seq = since.get("epoch"), since.get("seq")
    if not isinstance(epoch, str):
        raise InvalidArgs.of("since.epoch", "expected a string")
    if type(seq) is not int or seq < 0:
        raise InvalidArgs.of("since.seq", "expected an integer of 0 or more")
    return epoch, seq
