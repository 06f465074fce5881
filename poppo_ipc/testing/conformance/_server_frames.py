"""What WIRE.md sections 1 and 2 ask of a server: frames, and what every message has."""

from __future__ import annotations

import json
import struct

from poppo_ipc.testing.conformance._findings import Checks, NotOffered, Violation
from poppo_ipc.testing.conformance._peer import MAGIC, frame, message, short
from poppo_ipc.testing.conformance._target import Client, Target

__all__ = ["FRAMES"]

FRAMES: Checks[Target] = Checks()

_UNKNOWN = "conformance.no-such-command"
#: Sent by turns, so that all of them are seen; none is a message.
_MANY_BAD = 16


def _command(request_id: str) -> bytes:
    return frame(json.dumps(message(type="command", id=request_id, command=_UNKNOWN)).encode())


@FRAMES("1-pieces", "A frame may arrive in any number of pieces.")
def _pieces(target: Target) -> None:
    client = target.original()
    client.send_each_byte(_command("pieces"), "a command")
    client.expect_error("UNKNOWN_COMMAND", "pieces")
    whole = _command("halves")
    client.send_bytes(whole[:7], "the first 7 bytes of a command")
    client.send_bytes(whole[7:], "the others")
    client.expect_error("UNKNOWN_COMMAND", "halves")


@FRAMES("1-joined", "Many frames may arrive in one piece.")
def _joined(target: Target) -> None:
    client = target.original()
    ids = [f"joined-{number}" for number in range(20)]
    half = _command("rest")
    client.send_bytes(b"".join(map(_command, ids)) + half[:20], "20 commands and the start of another, in one piece")
    _all_answered(client, ids)
    client.send_bytes(half[20:], "the rest of it")
    client.expect_error("UNKNOWN_COMMAND", "rest")


def _all_answered(client: Client, ids: list[str]) -> None:
    left = set(ids)
    for _ in ids:
        found = client.next(f"an answer to each of {len(ids)} commands; {len(left)} are left")
        if found.get("id") not in left:
            raise Violation("one answer for each id that was asked", short(found))
        left.remove(found["id"])


@FRAMES("1-joined-auth", "A command may arrive in one piece with the `auth` before it.")
def _joined_auth(target: Target) -> None:
    client = target.locked()
    if target.settings.token is None:
        raise NotOffered("no token was given (POPPO_TOKEN)")
    auth = message(type="auth", id="auth", token=target.settings.token)
    client.send_bytes(frame(json.dumps(auth).encode()) + _command("behind"), "auth and a command, in one piece")
    client.expect("`auth-success`", type="auth-success", id="auth")
    client.expect_error("UNKNOWN_COMMAND", "behind")


@FRAMES("1-large", "A frame may be large, up to the bound.")
def _large(target: Target) -> None:
    client = target.original()
    bound = client.welcome.get("maxFrameBytes", 1 << 24)
    size = min(1 << 20, bound - 1024)
    client.ask(_UNKNOWN, "large", args={"text": "x" * size})
    client.expect_error("UNKNOWN_COMMAND", "large")


def _undecodable(name: str, what: str, payload: bytes) -> None:
    @FRAMES(f"1-{name}", f"A whole frame with {what}: `error` BAD_MESSAGE with id null, and the connection goes on.")
    def check(target: Target) -> None:
        client = target.original()
        client.send_bytes(frame(payload), f"a frame with {what}: {short(payload)}")
        client.expect_error("BAD_MESSAGE", None)
        client.alive()


_undecodable("empty", "no payload at all", b"")
_undecodable("bad-json", "a payload that is not JSON", b'{"type": "command", ')
_undecodable("bad-utf8", "a payload that is not UTF-8", b'{"type": "command", "id": "\xff\xfe", "command": "x"}')
_undecodable("no-object", "a payload that is no object", b'["type", "command"]')
_undecodable("nan", "NaN in its payload", b'{"type": "command", "id": "nan", "command": "x", "args": {"n": NaN}}')
_undecodable("nesting", "a payload that nests very deep", b'{"type": "command", "args": ' + b"[" * 30_000)


@FRAMES("1-no-type", "A message without a `type`: BAD_MESSAGE, with its `id`.")
def _no_type(target: Target) -> None:
    client = target.original()
    client.send(id="no-type", command=_UNKNOWN)
    client.expect_error("BAD_MESSAGE", "no-type")
    client.send(id="type-7", type=7)
    client.expect_error("BAD_MESSAGE", "type-7")
    client.alive()


@FRAMES("1-bad-in-a-row", "After 16 such frames in a row, and not before, the connection is closed.")
def _bad_in_a_row(target: Target) -> None:
    client = target.original()
    for run in (1, 2):
        for _ in range(_MANY_BAD - 1):
            client.send_bytes(frame(b"no"), "a frame that is no JSON")
            client.expect_error("BAD_MESSAGE", None)
        if run == 1:
            client.alive()
    client.send_bytes(frame(b"no"), "the 16th in a row")
    client.expect_closed("the end of the stream after 16 bad frames in a row")


@FRAMES("1-bad-before-auth", "Before authentication the connection is closed at the first such frame.")
def _bad_before_auth(target: Target) -> None:
    client = target.locked()
    client.send_bytes(frame(b"no"), "a frame that is no JSON")
    client.expect_closed("the end of the stream after a bad frame before authentication")


@FRAMES("1-bad-magic", "What is no frame: one `error` BAD_FRAME with id null, and the connection is closed.")
def _bad_magic(target: Target) -> None:
    client = target.original()
    client.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
    client.expect_error("BAD_FRAME", None)
    client.expect_closed("the end of the stream")


@FRAMES("1-too-large", "A frame over the bound: `error` FRAME_TOO_LARGE with id null at its head, and the end.")
def _too_large(target: Target) -> None:
    client = target.original()
    bound = client.welcome.get("maxFrameBytes", 1 << 24)
    for length in (bound + 1, 2**32 - 1):
        client.send_bytes(MAGIC + struct.pack(">I", length), f"the head of a frame of {length} bytes")
        client.expect_error("FRAME_TOO_LARGE", None)
        client.expect_closed("the end of the stream")
        client = target.original()


@FRAMES("1-too-large-before-auth", "Before authentication the bound is 64 KiB.")
def _too_large_before_auth(target: Target) -> None:
    client = target.locked()
    client.send_bytes(MAGIC + struct.pack(">I", 64 * 1024 + 1), f"the head of a frame of {64 * 1024 + 1} bytes")
    client.expect_error("FRAME_TOO_LARGE", None)
    client.expect_closed("the end of the stream")


@FRAMES("2-no-version", "A missing `version` counts as 1.0.0, and a missing `timestamp` is no error.")
def _no_version(target: Target) -> None:
    client = target.original()
    bare = json.dumps({"type": "command", "id": "bare", "command": _UNKNOWN})
    client.send_bytes(frame(bare.encode()), bare)
    client.expect_error("UNKNOWN_COMMAND", "bare")


@FRAMES("2-same-major", "The same major number is compatible.")
def _same_major(target: Target) -> None:
    client = target.original()
    client.ask(_UNKNOWN, "minor", version="1.97.3")
    client.expect_error("UNKNOWN_COMMAND", "minor")


@FRAMES("2-other-major", "Another major: `error` VERSION_MISMATCH, whose text names both versions, and the end.")
def _other_major(target: Target) -> None:
    client = target.original()
    client.ask(_UNKNOWN, "major", version="7.0.0")
    error = client.expect_error("VERSION_MISMATCH", "major", "7.0.0")
    if "1." not in error["message"]:
        raise Violation("a text that names both versions", error["message"])
    client.expect_closed("the end of the stream")


@FRAMES("2-unknown-fields", "Unknown fields are ignored.")
def _unknown_fields(target: Target) -> None:
    client = target.original()
    client.ask(_UNKNOWN, "more", colour="blue", nested={"deep": [1, {"er": None}]})
    client.expect_error("UNKNOWN_COMMAND", "more")


@FRAMES("2-ids", "An id is any string up to 128 characters, and comes back as it was.")
def _ids(target: Target) -> None:
    client = target.original()
    for request_id in ("", "0", "a b\n\"'\\", "prénom-名前-🦜", "i" * 128, "\u00e9" * 128):
        client.ask(_UNKNOWN, request_id)
        client.expect_error("UNKNOWN_COMMAND", request_id)


@FRAMES("2-ids-free", "An id is free again when its question is answered.")
def _ids_free(target: Target) -> None:
    client = target.original()
    for _ in range(3):
        client.ask(_UNKNOWN, "again")
        client.expect_error("UNKNOWN_COMMAND", "again")


@FRAMES("2-duplicate-id", "A second command with the id of one still running gets DUPLICATE_ID.")
def _duplicate_id(target: Target) -> None:
    role = target.role("wait")
    client = target.original()
    client.ask(role.command, "twice", args=role.args)
    client.ask(_UNKNOWN, "twice")
    client.expect_error("DUPLICATE_ID", "twice")
    client.alive()
