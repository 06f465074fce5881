"""What WIRE.md asks of a client, each as a server that behaves in one way."""

from __future__ import annotations

import json

from poppo_ipc.testing.conformance._findings import Checks, NotOffered, Violation
from poppo_ipc.testing.conformance._peer import frame, message, short
from poppo_ipc.testing.conformance._program import Guest, Program

__all__ = ["CLIENT"]

CLIENT: Checks[Program] = Checks()

_ALL = ("challenge", "cancel", "deadline", "stream", "subscribe", "replay", "idempotency", "ping")


def _answered(program: Program, guest: Guest) -> None:
    """The command is answered well, and the program ends well."""
    guest.respond(guest.command())
    guest.serve()
    program.succeeds()


@CLIENT("1-frames", "A client sends frames of JSON objects with `type`, `version`, `timestamp` and `id`.")
def _frames(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original()
    _answered(program, guest)


@CLIENT("1-pieces", "A frame may arrive in any number of pieces.")
def _pieces(program: Program) -> None:
    guest = program.guest()
    guest.piecemeal = True
    guest.welcome_as_original()
    _answered(program, guest)


@CLIENT("1-joined", "Many frames may arrive in one piece.")
def _joined(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original()
    asked = guest.command()
    event = message(type="event", event="conformance.event", data={})
    answer = message(type="response", id=asked["id"], success=True, result={})
    parts = [frame(json.dumps(each).encode()) for each in (event, answer, event)]
    guest.send_bytes(b"".join(parts), "an event, the response and another event, in one piece")
    guest.serve()
    program.succeeds()


@CLIENT("1-large", "An answer may be large.")
def _large(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original()
    guest.respond(guest.command(), result={"text": "x" * (1 << 20)})
    guest.serve()
    program.succeeds()


@CLIENT("1-bad-magic", "A client that gets what is no frame gives up, and does not hang.")
def _bad_magic(program: Program) -> None:
    guest = program.guest()
    guest.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    guest.expect_closed("that the client closes")
    program.fails("the server does not speak the protocol")


@CLIENT("2-unknown-fields", "Unknown fields are ignored.")
def _unknown_fields(program: Program) -> None:
    guest = program.guest()
    guest.extra = {"colour": "blue", "nested": {"deep": [1, {"er": None}]}}
    guest.welcome_as_original()
    _answered(program, guest)


@CLIENT("2-same-major", "The same major number is compatible.")
def _same_major(program: Program) -> None:
    guest = program.guest()
    guest.extra = {"version": "1.97.3"}
    guest.welcome_as_original()
    _answered(program, guest)


@CLIENT("2-other-major", "With a server of another major version a client gives up, and shows it no token.")
def _other_major(program: Program) -> None:
    guest = program.guest()
    guest.extra = {"version": "7.0.0"}
    guest.send(type="welcome", authRequired=True)
    found = guest.expect_closed("that the client closes")
    if program.token in json.dumps(found):
        raise Violation("no token for a server of another major version", short(found))
    program.fails("the server is of another major version")


@CLIENT("3-welcome-first", "A client says nothing before `welcome`.")
def _welcome_first(program: Program) -> None:
    guest = program.guest()
    guest.patience = min(guest.patience, 0.2)
    try:
        found = guest.receive("nothing before `welcome`")
    except Violation:
        found = None
    if found is not None:
        raise Violation("nothing before `welcome`", short(found))
    guest.patience = program.patience
    guest.welcome_as_original()
    _answered(program, guest)


@CLIENT("3-no-auth", "A server that asks for no token is asked at once.")
def _no_auth(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original(required=False)
    found = guest.take("a command")
    if found is not None and found["type"] == "auth":
        guest.send(type="auth-success", id=found["id"])
    elif found is not None and found["type"] == "command" and not guest.own(found):
        guest.respond(found)
    guest.serve()
    if not guest.commands:
        raise Violation("a command", "the end of the stream")
    program.succeeds()


@CLIENT("3-correlation", "An answer is taken by its `id`, whatever came before it.")
def _correlation(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original()
    asked = guest.command()
    failure = {"message": "This is the answer to another question", "code": "INTERNAL"}
    guest.send(type="error", id="of-nobody", error=failure)
    guest.send(type="response", id=asked["id"] + "0", success=False, error=failure)
    guest.respond(asked)
    guest.serve()
    program.succeeds()


@CLIENT("3-error", "An `error` is told as one: the program ends with another exit code than 0.")
def _error(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original()
    error = {"message": "There is no such thing", "code": "NOT_FOUND"}
    guest.send(type="error", id=guest.command()["id"], error=error)
    guest.serve()
    program.fails("the command failed")


@CLIENT("3-unsuccessful", "A `response` with `success: false` is an error too, with a text or an object.")
def _unsuccessful(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original()
    guest.send(type="response", id=guest.command()["id"], success=False, error="It did not work")
    guest.serve()
    program.fails("the command failed")


@CLIENT("3-unknown-type", "A message of an unknown `type` does no harm.")
def _unknown_type(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original()
    asked = guest.command()
    guest.send(type="conformance-type", text="what a later version may send")
    guest.respond(asked)
    guest.serve()
    program.succeeds()


@CLIENT("3-events", "Events that nobody asked for do no harm.")
def _events(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original()
    asked = guest.command()
    for number in range(3):
        guest.send(type="event", event="task.started", data={"number": number})
    guest.respond(asked)
    guest.serve()
    program.succeeds()


@CLIENT("3-auth-failed", "A client whose token is refused gives up, and does not go on for ever.")
def _auth_failed(program: Program) -> None:
    error = {"message": "Invalid authentication token", "code": "AUTH_FAILED"}
    tries = 0
    while (guest := program.guest() if tries == 0 else program.guest_again()) is not None:
        guest.send(type="welcome", authRequired=True)
        while (found := guest.take("`auth`, or the end of the stream")) is not None:
            if found["type"] != "auth":
                raise Violation("no command without `auth-success`", short(found))
            tries += 1
            if tries > 10:
                raise Violation("the end after a refused token", f"{tries} tries")
            guest.send(type="error", id=found["id"], error=error)
    program.fails("the token was refused")


@CLIENT("3-closed", "A client does not hang when the server closes.")
def _closed(program: Program) -> None:
    guest = program.guest()
    guest.welcome_as_original()
    guest.command()
    guest.note(">", "(the server closes)")
    guest.close()
    program.fails("the server has closed")


@CLIENT("3-reconnect", "A client that was closed before it was greeted may connect again, and then does all anew.")
def _reconnect(program: Program) -> None:
    first = program.guest()
    first.note(">", "(the server closes)")
    first.close()
    second = program.guest_again()
    if second is None:
        raise NotOffered("the program ends where the connection is lost, which it may")
    second.welcome_as_original()
    _answered(program, second)


def _extended(program: Program, *offered: str) -> Guest:
    guest = program.guest()
    guest.welcome(*offered)
    if not isinstance(guest.auth.get("capabilities"), list):
        raise NotOffered("the client uses no extensions")
    return guest


@CLIENT("4-none-granted", "Of the extensions only those that both have are used.")
def _none_granted(program: Program) -> None:
    guest = _extended(program, "conformance-other")
    guest.let_in()
    _answered(program, guest)


@CLIENT("4-auth", "A client tells its name and version, and wants what it names.")
def _auth(program: Program) -> None:
    guest = _extended(program, *_ALL)
    client = guest.auth.get("client")
    if not isinstance(client, dict) or not isinstance(client.get("name"), str):
        raise Violation("`client` with a name in `auth`", short(guest.auth))
    guest.let_in()
    _answered(program, guest)


@CLIENT("4-challenge", "With `challenge` the token never crosses the wire, and the proof is right.")
def _challenge(program: Program) -> None:
    guest = _extended(program, "challenge")
    if "challenge" not in guest.granted:
        raise NotOffered("the client takes no `challenge`")
    if program.token in json.dumps(guest.auth):
        raise Violation("`auth` without the token", short(guest.auth))
    guest.let_in()
    _answered(program, guest)


@CLIENT("4-server-proof", "A client that cannot verify the server's proof closes, and asks nothing.")
def _server_proof(program: Program) -> None:
    guest = _extended(program, "challenge")
    if "challenge" not in guest.granted:
        raise NotOffered("the client takes no `challenge`")
    guest.let_in(proof=guest.auth["proof"])
    found = guest.expect_closed("that the client closes")
    if any(each["type"] == "command" for each in found):
        raise Violation("no command for a server whose proof is wrong", short(found))
    program.fails("the server's proof was wrong")


@CLIENT("4-all", "With every extension a command is asked and answered.")
def _all(program: Program) -> None:
    guest = _extended(program, *_ALL)
    guest.let_in()
    guest.extra = {"later": True}
    _answered(program, guest)


@CLIENT("4-pong", "A `ping` is answered by `pong` with its id.")
def _pong(program: Program) -> None:
    guest = _extended(program, "ping")
    if "ping" not in guest.granted:
        raise NotOffered("the client takes no `ping`")
    guest.let_in()
    asked = guest.command()
    guest.send(type="ping", id="ping-1")
    found = guest.take("`pong`")
    if found is None or (found["type"], found.get("id")) != ("pong", "ping-1"):
        raise Violation('`pong` with id "ping-1"', short(found))
    guest.respond(asked)
    guest.serve()
    program.succeeds()
