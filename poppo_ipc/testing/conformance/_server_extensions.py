"""What WIRE.md section 4 asks of a server that offers extensions, apart from its events."""

from __future__ import annotations

import base64
import os
from typing import Any

from poppo_ipc.testing.conformance._findings import Checks, NotOffered, Violation
from poppo_ipc.testing.conformance._peer import Message, short
from poppo_ipc.testing.conformance._target import Client, Target, proof

__all__ = ["EXTENSIONS"]

EXTENSIONS: Checks[Target] = Checks()

_UNKNOWN = "conformance.no-such-command"


def _nonce(client: Client) -> bytes:
    text = client.welcome.get("nonce")
    try:
        found = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        found = b""
    if len(found) != 32:
        raise Violation("a `nonce` in `welcome`: the base64 of 32 bytes", short(client.welcome))
    return found


@EXTENSIONS("4-welcome", "`welcome` has `capabilities`, `server` with name and version, and `maxFrameBytes`.")
def _welcome(target: Target) -> None:
    client = target.extended()
    found = client.welcome
    if not isinstance(found["capabilities"], list) or not all(isinstance(each, str) for each in found["capabilities"]):
        raise Violation("`capabilities`, a list of strings", short(found))
    server = found.get("server")
    if not isinstance(server, dict) or not all(isinstance(server.get(each), str) for each in ("name", "version")):
        raise Violation("`server` with the texts name and version", short(found))
    if type(found.get("maxFrameBytes")) is not int or found["maxFrameBytes"] < 1:
        raise Violation("`maxFrameBytes`, a number over 0", short(found))


@EXTENSIONS("4-nonce", "With authentication `welcome` has a `nonce` of 32 bytes in base64, new each time.")
def _nonces(target: Target) -> None:
    target.extended()
    nonces = [_nonce(target.locked()) for _ in range(3)]
    if len(set(nonces)) < len(nonces):
        raise Violation("another `nonce` for each connection", "the same one twice")


@EXTENSIONS("4-auth-success", "`auth-success` has `sessionId` and the `capabilities` that both have.")
def _auth_success(target: Target) -> None:
    client = target.extended()
    wanted = ["no-such-capability", *client.offered]
    wanted = [each for each in wanted if each != "challenge"]
    client.authenticated(tuple(wanted))
    if not isinstance(client.session.get("sessionId"), str):
        raise Violation("`sessionId`, a string", short(client.session))
    granted = client.session.get("capabilities")
    if not isinstance(granted, list) or sorted(granted) != sorted(wanted[1:]):
        raise Violation(f"`capabilities` {short(wanted[1:])}", short(client.session))


@EXTENSIONS("4-as-original", "A client that wants no extension gets the original's messages alone.")
def _as_original(target: Target) -> None:
    target.extended()
    client = target.locked().authenticated()
    client.alive()


def _challenged(target: Target) -> tuple[Client, str, bytes, bytes]:
    client = target.locked()
    if "challenge" not in client.offered:
        raise NotOffered("the server does not offer `challenge`")
    if target.settings.token is None:
        raise NotOffered("no token was given (POPPO_TOKEN)")
    return client, target.settings.token, _nonce(client), os.urandom(32)


def _shown(client: Client, client_nonce: bytes, shown: str) -> str:
    nonce = base64.b64encode(client_nonce).decode()
    return client.sent_auth(("challenge",), token=None, clientNonce=nonce, proof=shown)


@EXTENSIONS("4-challenge", "The client's proof is taken, and the server's own is right.")
def _challenge(target: Target) -> None:
    client, token, nonce, client_nonce = _challenged(target)
    request_id = _shown(client, client_nonce, proof("client", token, nonce, client_nonce))
    found = client.expect("`auth-success`", type="auth-success", id=request_id)
    expected = proof("server", token, client_nonce, nonce)
    if found.get("proof") != expected:
        raise Violation(f"`auth-success` with the proof {expected}", short(found))
    client.alive()


@EXTENSIONS("4-challenge-refused", "A wrong proof, one of another connection, or the server's own gets AUTH_FAILED.")
def _challenge_refused(target: Target) -> None:
    client, token, nonce, client_nonce = _challenged(target)
    other = target.greeted()
    wrong = {
        "that of another token": proof("client", "not-the-token", nonce, client_nonce),
        "that of another connection": proof("client", token, _nonce(other), client_nonce),
        "that which the server shows": proof("server", token, client_nonce, nonce),
        "none": "",
    }
    for what, shown in wrong.items():
        client = target.greeted()
        if what == "that of another token":
            shown = proof("client", "not-the-token", _nonce(client), client_nonce)
        elif what == "that which the server shows":
            shown = proof("server", token, client_nonce, _nonce(client))
        client.note(">", f"(next: a proof that is {what})")
        client.expect_error("AUTH_FAILED", _shown(client, client_nonce, shown))


@EXTENSIONS("4-ping", "A `ping` is answered by `pong` with its id.")
def _ping(target: Target) -> None:
    client = target.client("ping")
    for request_id in ("ping-1", "ping-2"):
        client.send(type="ping", id=request_id)
        client.expect("`pong`", type="pong", id=request_id)


@EXTENSIONS("4-cancel", "A running command that is cancelled answers CANCELLED, once.")
def _cancel(target: Target) -> None:
    client = target.client("cancel")
    role = target.role("wait")
    client.ask(role.command, "long", args=role.args)
    client.send(type="cancel", id="long")
    client.send(type="cancel", id="long")
    client.expect_error("CANCELLED", "long")
    client.alive()


@EXTENSIONS("4-cancel-answered", "A cancel for what was answered, or never asked, is answered by nothing.")
def _cancel_answered(target: Target) -> None:
    client = target.client("cancel")
    client.ask(_UNKNOWN, "done")
    client.expect_error("UNKNOWN_COMMAND", "done")
    client.send(type="cancel", id="done")
    client.send(type="cancel", id="never")
    client.alive()
    client.alive()


@EXTENSIONS("4-deadline", "A command that runs longer than its `timeoutMs` answers TIMEOUT.")
def _deadline(target: Target) -> None:
    client = target.client("deadline")
    role = target.role("wait")
    client.ask(role.command, "late", args=role.args, timeoutMs=50)
    client.expect_error("TIMEOUT", "late")
    client.alive()


def _items(client: Client, request_id: str) -> tuple[list[Any], Message]:
    """The items of a stream, and the message that closed it."""
    items: list[Any] = []
    while True:
        found = client.expect(f"`item` or the answer to {request_id!r}", id=request_id)
        if found["type"] != "item":
            return items, found
        if "data" not in found:
            raise Violation("`item` with `data`", short(found))
        items.append(found["data"])


@EXTENSIONS("4-stream", "A stream sends `item`s with its id, and then the closing `response`.")
def _stream(target: Target) -> None:
    client = target.client("stream")
    role = target.role("count")
    items, closing = _items(client, client.ask(role.command, "items", args=role.args))
    if closing["type"] != "response" or closing.get("success") is not True:
        raise Violation("the closing `response`", short(closing))
    if role.own and len(items) != role.args["count"]:
        raise Violation(f"{role.args['count']} items", short(items))
    client.alive()


@EXTENSIONS("4-credit", "With `credit` the server sends at most so many items until it is given more.")
def _credit(target: Target) -> None:
    client = target.client("stream")
    role = target.role("count")
    client.ask(role.command, "few", args=role.args, credit=2)
    for _ in range(2):
        client.expect("an `item`", type="item", id="few")
    # An answer to another question shows that the stream is at rest, and holds nobody else back.
    for _ in range(3):
        client.alive()
    client.send(type="credit", id="few", credit=1)
    client.expect("the item that there is credit for", type="item", id="few")
    client.alive()
    client.send(type="credit", id="few", credit=1000)
    _, closing = _items(client, "few")
    if closing["type"] != "response":
        raise Violation("the closing `response`", short(closing))


@EXTENSIONS("4-stream-cancel", "A stream that waits for credit can be cancelled.")
def _stream_cancel(target: Target) -> None:
    client = target.client("stream", "cancel")
    role = target.role("count")
    client.ask(role.command, "held", args=role.args, credit=1)
    client.expect("an `item`", type="item", id="held")
    client.send(type="cancel", id="held")
    client.expect_error("CANCELLED", "held")


@EXTENSIONS("4-idempotency", "A second command with a key gets the answer of the first, also on another connection.")
def _idempotency(target: Target) -> None:
    client = target.client("idempotency")
    if type(client.session.get("keysDurable")) is not bool:
        raise Violation("`keysDurable` in `auth-success`, true or false", short(client.session))
    role = target.role("echo")
    key = f"conformance-{os.urandom(8).hex()}"
    first = client.result(client.ask(role.command, args=role.args, idempotencyKey=key))
    for each in (client, target.client("idempotency")):
        again = each.result(each.ask(role.command, args=role.args, idempotencyKey=key))
        if again != first:
            raise Violation(f"the first answer again: {short(first)}", short(again))


@EXTENSIONS("4-idempotency-conflict", "The same key with another command or other args: CONFLICT.")
def _idempotency_conflict(target: Target) -> None:
    client = target.client("idempotency")
    role = target.role("echo")
    key = f"conformance-{os.urandom(8).hex()}"
    client.result(client.ask(role.command, args=role.args, idempotencyKey=key))
    other = client.ask(role.command, args={**role.args, "other": 1}, idempotencyKey=key)
    client.expect_error("CONFLICT", other)


@EXTENSIONS("4-idempotency-join", "A second command with the key of one that runs joins it: it runs once.")
def _idempotency_join(target: Target) -> None:
    client = target.client("idempotency", "cancel")
    role = target.role("wait")
    key = f"conformance-{os.urandom(8).hex()}"
    client.ask(role.command, "first", args=role.args, idempotencyKey=key)
    client.ask(role.command, "second", args=role.args, idempotencyKey=key)
    client.alive()
    client.send(type="cancel", id="first")
    client.send(type="cancel", id="second")
    left = {"first", "second"}
    for _ in range(2):
        found = client.expect("`error` CANCELLED to both", type="error")
        if found.get("id") not in left or found["error"].get("code") != "CANCELLED":
            raise Violation("`error` CANCELLED to both", short(found))
        left.discard(str(found["id"]))


@EXTENSIONS("4-describe", "`ipc.describe` lists commands and events, each with a name, a summary and schemas.")
def _describe(target: Target) -> None:
    target.extended()
    client = target.original()
    found = client.result(client.ask("ipc.describe"))
    if not isinstance(found, dict) or not isinstance(found.get("commands"), list):
        raise Violation("`commands`, a list", short(found))
    if not isinstance(found.get("events"), list) or not isinstance(found.get("server"), dict):
        raise Violation("`server`, an object, and `events`, a list", short(found))
    for command in found["commands"]:
        wanted = {"name": str, "summary": str, "args": dict, "streaming": bool, "idempotent": bool}
        if not all(isinstance(command.get(name), kind) for name, kind in wanted.items()):
            raise Violation("each command with name, summary, args, streaming and idempotent", short(command))
        if "result" not in command or "scope" not in command:
            raise Violation("each command with result and scope", short(command))
