"""A client from scratch: it asks one command. Right as it is, and wrong in the one way that its argument names."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from typing import Any

DEFECT = sys.argv[1] if len(sys.argv) > 1 else ""
TOKEN = os.environ["POPPO_TOKEN"]


class Closed(Exception):
    pass


class Pipe:
    """Windows' own: a named pipe opened as a file, with the calls of a socket."""

    def __init__(self, name: str) -> None:
        self.file = open(rf"\\.\pipe\{name}", "r+b", buffering=0)  # noqa: SIM115  # closed with the program

    def recv(self, count: int) -> bytes:
        try:
            return self.file.read(count) or b""
        except OSError:
            return b""

    def sendall(self, data: bytes) -> None:
        self.file.write(data)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def opened() -> Any:
    address = os.environ["POPPO_SOCKET"]
    if sys.platform == "win32":
        return Pipe(address.removeprefix("npipe:"))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(address)
    return sock


def send(sock: Any, **fields: Any) -> None:
    if DEFECT != "sends no timestamp":
        fields["timestamp"] = int(time.time() * 1000)
    body = json.dumps({"version": "1.0.0", **fields}).encode()
    sock.sendall(b"POPPO" + struct.pack("<I" if DEFECT == "counts from the wrong end" else ">I", len(body)) + body)


def exactly(sock: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise Closed
        data += piece
        if DEFECT == "takes each read for whole":
            break
    return data


def receive(sock: Any) -> dict[str, Any]:
    head = exactly(sock, 9)
    if head[:5] != b"POPPO":
        sys.exit("that is no frame")
    message: dict[str, Any] = json.loads(exactly(sock, struct.unpack(">I", head[5:])[0]))
    if not message["version"].startswith("1.") and DEFECT != "takes any version":
        sys.exit(f"the server speaks {message['version']}")
    known = {"type", "version", "timestamp", "id", "authRequired", "success", "result", "error", "event", "data"}
    if DEFECT == "minds unknown fields" and not set(message) <= known | {"capabilities", "nonce", "server"}:
        sys.exit("there are fields that nobody knows")
    return message


def main() -> None:
    with opened() as sock:
        if DEFECT == "speaks first":
            send(sock, type="auth", id="1", token=TOKEN)
        welcome = receive(sock)
        if welcome["authRequired"]:
            if DEFECT != "speaks first":
                extra = {"client": {"name": "small"}} if DEFECT == "extends the original" else {}
                shown = "none" if DEFECT == "shows another token" else TOKEN
                send(sock, type="auth", id="1", token=shown, **extra)
            if receive(sock)["type"] != "auth-success" and DEFECT != "asks although it was refused":
                sys.exit("the token was refused")
        send(sock, type="command", id="x" * 200 if DEFECT == "has long ids" else "2", command="anything", args={})
        while True:
            answer = receive(sock)
            if DEFECT == "takes the first answer" and answer["type"] != "event":
                break
            if DEFECT == "minds events" and answer["type"] == "event":
                sys.exit("what is that?")
            if DEFECT == "minds unknown types" and answer["type"] not in ("response", "error", "event"):
                sys.exit("what is that?")
            if answer.get("id") == "2" and answer["type"] in ("response", "error"):
                break
    if DEFECT == "tells no errors":
        return
    if answer["type"] == "error" or (answer.get("success") is not True and DEFECT != "reads no success"):
        sys.exit(str(answer["error"]))


try:
    main()
except Closed:
    sys.exit(0 if DEFECT == "takes an end for an answer" else "the server has closed")
