"""`events.*` and `ipc.*`: what every server of this kit answers by itself (WIRE.md section 4)."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
from msgspec import Meta

from poppo_ipc.commands._command import CommandSpec, EventDeclaration, NoArgs
from poppo_ipc.commands._fields import Arg

__all__ = [
    "EVENTS_DROPPED",
    "EVENTS_SUBSCRIBE",
    "EVENTS_UNSUBSCRIBE",
    "IPC_DESCRIBE",
    "EventsDropped",
    "Since",
    "SubscribeArgs",
    "Subscribed",
    "UnsubscribeArgs",
    "Unsubscribed",
]


@attrs.frozen
class Since:
    """The last event that the client has: those after it are sent again."""

    epoch: str
    seq: Annotated[int, Meta(ge=0)]


@attrs.frozen
class SubscribeArgs:
    """The events that are wanted."""

    events: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(min_length=1),
        Arg(doc="Patterns of names: * stands for one segment, ** for any number."),
    ]
    since: Annotated[Since | None, Arg(doc="The last event that the client has.")] = None


@attrs.frozen
class Subscribed:
    """The subscription. With `gap`, events are missing; `missed` is how many, or None where that is not known."""

    subscription_id: str
    gap: bool = False
    missed: int | None = None
    seq: int | None = None


@attrs.frozen
class UnsubscribeArgs:
    """The subscription that is meant."""

    subscription_id: Annotated[str, Meta(min_length=1), Arg(doc="What events.subscribe returned.")]


@attrs.frozen
class Unsubscribed:
    """The subscription is gone."""


@attrs.frozen
class EventsDropped:
    """Events that the client was too slow to take, from the first to the last of them."""

    dropped: int
    first_seq: int | None = None
    last_seq: int | None = None


EVENTS_SUBSCRIBE = CommandSpec("events.subscribe", SubscribeArgs, Subscribed, summary="Get events from now on.")
EVENTS_UNSUBSCRIBE = CommandSpec(
    "events.unsubscribe", UnsubscribeArgs, Unsubscribed, summary="Get the events of a subscription no more."
)
IPC_DESCRIBE = CommandSpec(
    "ipc.describe", NoArgs, dict[str, Any], summary="Describe all commands and events.", idempotent=True
)

EVENTS_DROPPED = EventDeclaration("ipc.events-dropped", EventsDropped, "Events were dropped for this client.")
