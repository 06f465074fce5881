"""What WIRE.md sections 3, 5, 6 and 8 ask of a server: the original's messages, codes, slow readers, ends."""

from __future__ import annotations

import json

from poppo_ipc.testing.conformance._findings import Checks, NotOffered, Violation
from poppo_ipc.testing.conformance._peer import frame, message, short
from poppo_ipc.testing.conformance._target import Client, Target

__all__ = ["TALK"]

TALK: Checks[Target] = Checks()

_UNKNOWN = "conformance.no-such-command"
#: Commands that a client sends without reading an answer: more than what lies between two programs holds.
_UNREAD = 20_000


@TALK("3-welcome", "The server speaks first: `welcome`, with `authRequired`.")
def _welcome(target: Target) -> None:
    target.greeted()


@TALK("3-auth", "An `auth` with the token alone is answered `auth-success` with its id.")
def _auth(target: Target) -> None:
    target.locked().authenticated().alive()


@TALK("3-auth-required", "Before `auth` a command gets AUTH_REQUIRED, and the connection goes on.")
def _auth_required(target: Target) -> None:
    client = target.locked()
    client.ask(_UNKNOWN, "early")
    client.expect_error("AUTH_REQUIRED", "early", "Authentication required")
    client.authenticated().alive()


@TALK("3-wrong-token", "A wrong token gets AUTH_FAILED, and the right one may follow.")
def _wrong_token(target: Target) -> None:
    client = target.locked()
    for token in ("not-the-token", ""):
        request_id = client.sent_auth(token=token)
        client.expect_error("AUTH_FAILED", request_id, "Invalid authentication token")
        client.ask(_UNKNOWN, "still")
        client.expect_error("AUTH_REQUIRED", "still")
    client.authenticated().alive()


@TALK("3-auth-tries", "After 3 wrong tokens (or as many as are set) the server closes.")
def _auth_tries(target: Target) -> None:
    client = target.locked()
    for _ in range(target.settings.auth_tries):
        client.expect_error("AUTH_FAILED", client.sent_auth(token="not-the-token"))
    # Closing for the time alone would come too late for this one.
    client.sent_auth()
    expected = f"the end of the stream after {target.settings.auth_tries} wrong tokens"
    if found := client.expect_closed(expected):
        raise Violation(f"{expected}, and no answer to another `auth`", short(found[0]))


@TALK("3-auth-time", "Who is not authenticated within 5 s (or what is set) is closed.")
def _auth_time(target: Target) -> None:
    client = target.locked()
    client.patience += target.settings.auth_seconds
    client.expect_closed(f"the end of the stream after {target.settings.auth_seconds:g} s without `auth`")


@TALK("3-no-auth", "With `authRequired: false` an `auth` is accepted whatever it holds.")
def _no_auth(target: Target) -> None:
    client = target.greeted()
    if client.welcome["authRequired"]:
        raise NotOffered("the server asks for a token")
    client.alive()
    request_id = client.sent_auth(token="whatever")
    client.expect("`auth-success`", type="auth-success", id=request_id)
    client.alive()


@TALK("3-unknown-type", 'An unknown `type`: BAD_MESSAGE, "Unknown message type: X", and the connection goes on.')
def _unknown_type(target: Target) -> None:
    client = target.original()
    client.send(type="conformance-type", id="typed")
    client.expect_error("BAD_MESSAGE", "typed", "Unknown message type: conformance-type")
    client.alive()


@TALK("3-response", "A command is answered by `response` with its id, `success: true` and `result`.")
def _response(target: Target) -> None:
    role = target.role("echo")
    args = {"text": "prénom 🦜", "deep": [1, {"none": None}]} if role.own else role.args
    client = target.original()
    result = client.result(client.ask(role.command, "asked", args=args))
    if role.own and result != args:
        raise Violation(f"the result {short(args)}", short(result))


@TALK("3-no-args", "Absent `args` count as {}.")
def _no_args(target: Target) -> None:
    role = target.role("echo")
    if not role.own:
        raise NotOffered("the server has no conformance.echo, which takes no args")
    client = target.original()
    result = client.result(client.ask(role.command, "bare"))
    if result != {}:
        raise Violation("the result {}", short(result))


@TALK("3-concurrent", "Requests run concurrently: a slow one holds up no other.")
def _concurrent(target: Target) -> None:
    role = target.role("wait")
    client = target.original()
    client.ask(role.command, "slow", args=role.args)
    client.ask(_UNKNOWN, "quick")
    client.expect_error("UNKNOWN_COMMAND", "quick")


@TALK("3-events", "An original client gets every event.")
def _events(target: Target) -> None:
    role = target.role("emit")
    listener = target.original()
    listener.alive()  # its session is settled, on the server's side too
    other = target.original()
    other.result(other.ask(role.command, "emit", args=role.args))
    found = listener.next_event("`event`")
    if not isinstance(found.get("event"), str) or not isinstance(found.get("data"), dict):
        raise Violation("`event` with a name and an object `data`", short(found))
    if role.own and (found["event"], found["data"]) != ("conformance.event", role.args):
        raise Violation(f"the event conformance.event with {short(role.args)}", short(found))


@TALK("3-no-events-before-auth", "A client that is not authenticated gets no events.")
def _no_events_before_auth(target: Target) -> None:
    role = target.role("emit")
    stranger = target.locked()
    client = target.original()
    client.result(client.ask(role.command, "emit", args=role.args))
    stranger.ask(_UNKNOWN, "early")
    stranger.expect_error("AUTH_REQUIRED", "early")
    if stranger.events:
        raise Violation("no event for a client that is not authenticated", short(stranger.events[0]))


@TALK("5-slow-reader", "A client that does not read delays no other, and loses no answer.")
def _slow_reader(target: Target) -> None:
    slow = target.original()
    asked = b"".join(
        frame(json.dumps(message(type="command", id=str(number), command=_UNKNOWN)).encode())
        for number in range(_UNREAD)
    )
    sent = 0
    while (more := slow.send_what_fits(asked[sent : sent + 65536])) > 0:
        sent += more
    slow.note(">", f"{sent} bytes of commands, and nothing is read")
    other = target.original()
    for _ in range(5):
        other.alive()
    _all_answered(slow, _whole_frames(asked, sent))


def _whole_frames(data: bytes, sent: int) -> int:
    """How many frames end within so many bytes."""
    count = at = 0
    while at < sent:
        at += 9 + int.from_bytes(data[at + 5 : at + 9], "big")
        count += at <= sent
    return count


def _all_answered(client: Client, count: int) -> None:
    noted = len(client.exchange)
    found: set[str] = set()
    for number in range(count):
        each = client.next(f"an answer to each of {count} commands, {number} of which were answered")
        found.add(str(each.get("id")))
        del client.exchange[noted:]
    if found != {str(number) for number in range(count)}:
        raise Violation(f"one answer to each of {count} commands", f"answers to {len(found)} of them")
    client.note("<", f"{count} answers")


@TALK("6-unknown-command", 'An unknown command: UNKNOWN_COMMAND, "Unknown command: X".')
def _unknown_command(target: Target) -> None:
    client = target.original()
    client.ask(_UNKNOWN, "unknown", args={"a": 1})
    error = client.expect_error("UNKNOWN_COMMAND", "unknown", f"Unknown command: {_UNKNOWN}")
    details = error.get("details")
    if "capabilities" in client.welcome and not (
        isinstance(details, dict) and isinstance(details.get("suggestions"), list)
    ):
        raise Violation("`details` with a list `suggestions`", short(error))


@TALK("6-invalid-args", "Args that do not fit: INVALID_ARGS, with `details` of `field` and `problem`.")
def _invalid_args(target: Target) -> None:
    client = target.client("subscribe")
    client.ask("events.subscribe", "wrong", args={"events": 7})
    details = client.expect_error("INVALID_ARGS", "wrong").get("details")
    if not isinstance(details, dict) or details.get("field") != "events" or not isinstance(details.get("problem"), str):
        raise Violation('`details` with field "events" and a problem', short(details))


@TALK("6-args-no-object", "`args` that are no object are refused, by INVALID_ARGS or BAD_MESSAGE.")
def _args_no_object(target: Target) -> None:
    client = target.original()
    client.ask(_UNKNOWN, "list", args=[1, 2])
    found = client.expect("`error` to the command", type="error", id="list")
    if found.get("error", {}).get("code") not in ("INVALID_ARGS", "BAD_MESSAGE", "UNKNOWN_COMMAND"):
        raise Violation("INVALID_ARGS, BAD_MESSAGE or UNKNOWN_COMMAND", short(found))
    client.alive()


@TALK("8-half-close", "A client that ends its side is not left hanging: the server closes too.")
def _half_close(target: Target) -> None:
    client = target.original()
    client.alive()
    client.end()
    client.expect_closed("the end of the stream after the client's")


@TALK("8-cut-off", "A client that goes in the middle of a frame, or with answers unread, harms no other.")
def _cut_off(target: Target) -> None:
    other = target.original()
    for part in (6, 12, 40):
        client = target.original()
        client.ask(_UNKNOWN, "unread")
        whole = frame(json.dumps(message(type="command", id="cut", command=_UNKNOWN)).encode())
        client.send_bytes(whole[:part], f"the first {part} bytes of a frame")
        client.close()
        other.alive()
    target.original().alive()
