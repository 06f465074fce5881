"""What the tests of the protocol share: an encoder and a parser of frames that are not the package's, and sessions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from poppo_ipc.protocol import (
    ALL_CAPABILITIES,
    Auth,
    ClientConnection,
    Connection,
    Received,
    Refusal,
    ServerConnection,
    client_proof,
    decode_nonce,
    server_proof,
)

DATA = Path(__file__).parents[1] / "data"
TOKEN = "sekrit"
NOW = 1_795_438_552_592
SPLITS: dict[str, Callable[[bytes], list[bytes]]] = {
    "whole": lambda data: [data],
    "bytes": lambda data: [data[i : i + 1] for i in range(len(data))],
    "sevens": lambda data: [data[i : i + 7] for i in range(0, len(data), 7)],
}


def recorded(name: str) -> list[tuple[str, bytes]]:
    """The frames of one recording: who sent it, and the whole frame."""
    lines = (DATA / f"recorded-{name}.jsonl").read_text().splitlines()
    return [(entry["from"], bytes.fromhex(entry["frame"])) for entry in map(json.loads, lines)]


def framed(payload: bytes) -> bytes:
    return b"POPPO" + len(payload).to_bytes(4, "big") + payload


def wire(**fields: Any) -> bytes:
    """The frame of a message, by the standard library's encoder."""
    return framed(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode())


def unwire(data: bytes | bytearray) -> list[dict[str, Any]]:
    """The messages in whole frames; the keys are in the order of the wire."""
    messages = []
    while data:
        assert data[:5] == b"POPPO"
        end = 9 + int.from_bytes(data[5:9], "big")
        assert end <= len(data)
        messages.append(json.loads(bytes(data[9:end])))
        data = data[end:]
    return messages


def one(data: bytes | bytearray | None) -> dict[str, Any]:
    """The only message in the bytes."""
    assert data is not None
    (message,) = unwire(data)
    return message


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    """The data in pieces, cut at the places (any integers), none left out."""
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    for start, stop in pairwise(marks):
        yield data[start:stop]


def only_refusal(received: list[Received]) -> Refusal:
    (refusal,) = received
    assert isinstance(refusal, Refusal)
    return refusal


def code_of(received: list[Received]) -> tuple[str, str | None, bool]:
    """Code and id of the reply of the only refusal, and whether it is fatal."""
    refusal = only_refusal(received)
    reply = one(refusal.reply)
    assert reply["type"] == "error"
    assert reply["error"]["code"] == refusal.error.code
    assert reply["error"]["message"] == str(refusal.error) != ""
    return reply["error"]["code"], reply["id"], refusal.fatal


def types_of(received: list[Received]) -> list[str]:
    return [type(each).__name__ for each in received]


def new_server(
    *, auth_required: bool = True, clock: Callable[[], int] = lambda: NOW, **options: Any
) -> ServerConnection:
    return ServerConnection(auth_required=auth_required, clock=clock, **options)


def new_client(*, clock: Callable[[], int] = lambda: NOW, **options: Any) -> ClientConnection:
    return ClientConnection(clock=clock, **options)


def proof_for(server: ServerConnection, auth: Auth, token: str = TOKEN) -> str | None:
    """The server's proof where the client's is good."""
    nonce, theirs = decode_nonce(server.nonce), decode_nonce(auth.client_nonce)
    if nonce is None or theirs is None or auth.proof != client_proof(token, nonce, theirs):
        return None
    return server_proof(token, nonce, theirs)


def take_auth(server: ServerConnection, data: bytes | bytearray) -> Auth:
    (auth,) = server.receive_data(bytes(data))
    assert isinstance(auth, Auth)
    return auth


def session(
    *,
    auth_required: bool = True,
    offered: tuple[str, ...] = ALL_CAPABILITIES,
    wanted: tuple[str, ...] = ALL_CAPABILITIES,
    **bounds: Any,
) -> tuple[ClientConnection, ServerConnection]:
    """A client and a server after their handshake, by way of bytes."""
    client = new_client(**bounds)
    server = new_server(auth_required=auth_required, capabilities=offered, **bounds)
    client.receive_data(bytes(server.welcome()))
    asked = client.authenticate("auth-1", TOKEN, capabilities=wanted)
    assert asked is not None
    auth = take_auth(server, asked)
    answer = server.accept(auth, session_id="s-1", proof=proof_for(server, auth), epoch="e-1", seq=7)
    client.receive_data(bytes(answer))
    assert client.settled
    return client, server


def original_server(*, auth_required: bool = False, **options: Any) -> ServerConnection:
    """A server that an original client has authenticated to (or need not)."""
    server = new_server(auth_required=auth_required, **options)
    server.welcome()
    if auth_required:
        auth = take_auth(server, wire(type="auth", id="a", token=TOKEN, version="1.0.0", timestamp=1))
        server.accept(auth, session_id="unused")
    return server


def original_client(*, auth_required: bool = False, **options: Any) -> ClientConnection:
    """A client of an original server, ready for commands."""
    client = new_client(**options)
    client.receive_data(wire(type="welcome", version="1.0.0", authRequired=auth_required, timestamp=1))
    client.authenticate("a", TOKEN)
    if auth_required:
        client.receive_data(wire(type="auth-success", id="a", version="1.0.0", timestamp=1))
    assert client.settled
    return client


def feed_all(side: Connection, pieces: Iterator[bytes] | list[bytes]) -> list[Received]:
    return [each for piece in pieces for each in side.receive_data(piece)]
