"""What WIRE.md section 4 asks of a server that lets clients choose their events, and repeats them."""

from __future__ import annotations

from typing import Any

from poppo_ipc.testing.conformance._findings import Checks, Violation
from poppo_ipc.testing.conformance._peer import Message, short
from poppo_ipc.testing.conformance._target import Client, Target

__all__ = ["EVENTS"]

EVENTS: Checks[Target] = Checks()

#: Patterns, and whether the event conformance.event fits them.
_PATTERNS = {
    "conformance.event": True,
    "conformance.*": True,
    "*.event": True,
    "**": True,
    "*": False,
    "*.*.*": False,
    "conformance.even": False,
}


def _subscribed(client: Client, *patterns: str, since: Message | None = None) -> Message:
    args: Message = {"events": list(patterns)} if since is None else {"events": list(patterns), "since": since}
    found: Any = client.result(client.ask("events.subscribe", args=args))
    if not isinstance(found, dict) or not isinstance(found.get("subscriptionId"), str):
        raise Violation("a result with `subscriptionId`", short(found))
    return found


def _emitted(target: Target, times: int = 1) -> None:
    """Events, made by another client that listens to none."""
    role = target.role("emit")
    client = target.client("subscribe")
    for _ in range(times):
        client.result(client.ask(role.command, args=role.args))


def _no_event(client: Client, why: str) -> None:
    client.alive()
    if client.events:
        raise Violation(f"no event {why}", short(client.events[0]))


def _none_twice(client: Client, first: Message) -> None:
    """Neither this event nor one that comes now is there twice. The server may have events of its own between."""
    client.alive()
    found = [first, *client.events]
    for index, each in enumerate(found):
        if any((each.get("event"), each.get("data")) == (one.get("event"), one.get("data")) for one in found[:index]):
            raise Violation("no event a second time", short(each))


@EVENTS("4-subscribe", "With `subscribe` a client gets the events that it asked for, and no others.")
def _subscribe(target: Target) -> None:
    client = target.client("subscribe")
    _emitted(target)
    _no_event(client, "before it is asked for")
    _subscribed(client, "conformance-none.*")
    _emitted(target)
    _no_event(client, "that no pattern fits")
    _subscribed(client, "**")
    _emitted(target)
    client.next_event("the event that was asked for")


@EVENTS("4-patterns", "`*` stands for one segment of a name, `**` for any number.")
def _patterns(target: Target) -> None:
    role = target.role("emit")
    if not role.own:
        _subscribed(target.client("subscribe"), "*.*", "**")
        return
    for pattern, fits in _PATTERNS.items():
        client = target.client("subscribe")
        _subscribed(client, pattern)
        _emitted(target)
        if fits:
            client.next_event(f"the event conformance.event for {pattern!r}")
        else:
            _no_event(client, f"conformance.event for {pattern!r}")


@EVENTS("4-sent-once", "An event that matches several subscriptions of a client is sent once.")
def _sent_once(target: Target) -> None:
    client = target.client("subscribe")
    _subscribed(client, "**")
    _subscribed(client, "*.*")
    _emitted(target)
    _none_twice(client, client.next_event("the event"))


@EVENTS("4-unsubscribe", "After `events.unsubscribe` no more come; one that is not there is NOT_FOUND.")
def _unsubscribe(target: Target) -> None:
    client = target.client("subscribe")
    found = _subscribed(client, "**")
    ending = {"subscriptionId": found["subscriptionId"]}
    result = client.result(client.ask("events.unsubscribe", args=ending))
    if result != {}:
        raise Violation("the result {}", short(result))
    _emitted(target)
    _no_event(client, "after events.unsubscribe")
    client.expect_error("NOT_FOUND", client.ask("events.unsubscribe", args=ending))


def _position(client: Client) -> Message:
    epoch, seq = client.session.get("epoch"), client.session.get("seq")
    if not isinstance(epoch, str) or type(seq) is not int:
        raise Violation("`auth-success` with `epoch`, a string, and `seq`, a number", short(client.session))
    return {"epoch": epoch, "seq": seq}


@EVENTS("4-seq", "With `replay` events carry `seq`, growing by one.")
def _seq(target: Target) -> None:
    client = target.client("subscribe", "replay")
    _position(client)
    answer = _subscribed(client, "**")
    if type(answer.get("seq")) is not int:
        raise Violation("`seq` in the answer to events.subscribe, the last event before it", short(answer))
    _emitted(target, 3)
    before = answer["seq"]
    for _ in range(3):
        found = client.next_event("an event")
        if found.get("seq") != before + 1:
            raise Violation(f"`seq` {before + 1}", short(found))
        before += 1


@EVENTS("4-since", "`since` repeats the kept events after it, in order, none twice; the answer comes first.")
def _since(target: Target) -> None:
    since = _position(target.client("subscribe", "replay"))
    _emitted(target, 3)
    client = target.client("subscribe", "replay")
    answer = _subscribed(client, "**", since=since)
    if client.events:
        raise Violation("the answer to events.subscribe before the events", short(client.events[0]))
    if answer.get("gap") is not False or answer.get("missed") != 0:
        raise Violation("`gap` false and `missed` 0, since all are kept", short(answer))
    _emitted(target)
    found = [client.next_event(f"event {since['seq'] + number}") for number in range(1, 5)]
    client.alive()
    # What comes then are events of the server's own that came between.
    for number, each in enumerate([*found, *client.events], since["seq"] + 1):
        if each.get("seq") != number:
            raise Violation(f"event {number}, repeated in order and then live, none twice", short(each))


@EVENTS("4-other-epoch", "`since` of another epoch: `gap` true.")
def _other_epoch(target: Target) -> None:
    client = target.client("subscribe", "replay")
    answer = _subscribed(client, "**", since={"epoch": "of-no-server", "seq": 1})
    if answer.get("gap") is not True or "missed" not in answer:
        raise Violation("`gap` true, with `missed`", short(answer))
