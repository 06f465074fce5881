"""A server from scratch, with none of the project's code: right as it is, or wrong in the one way that it is told.

On Windows the project's pipes carry its bytes (`tests/sockets.py`); Python has none of its own that it could listen on.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Any, Self

from sockets import Sock, listening

TOKEN = "the-token-of-the-small-server"
MAX = 1 << 20

#: Each way to be wrong, and the check that has to find it.
DEFECTS = {
    "takes one frame of each read": "1-joined",
    "takes each read for a frame": "1-pieces",
    "has no bound": "1-too-large",
    "has no bound for strangers": "1-too-large-before-auth",
    "closes at bad JSON": "1-bad-json",
    "ignores bad JSON": "1-bad-json",
    "takes NaN": "1-nan",
    "answers lists": "1-no-object",
    "takes any start for a frame": "1-bad-magic",
    "bears any number of bad frames": "1-bad-in-a-row",
    "takes any version": "2-other-major",
    "takes only its own version": "2-same-major",
    "forgets ids": "2-ids",
    "takes ids twice": "2-duplicate-id",
    "counts seconds": "3-welcome",
    "does not greet": "3-welcome",
    "answers strangers": "3-auth-required",
    "takes any token": "3-wrong-token",
    "takes any number of tokens": "3-auth-tries",
    "waits for ever for the token": "3-auth-time",
    "closes at unknown types": "3-unknown-type",
    "does one thing after the other": "3-concurrent",
    "tells nobody": "3-events",
    "tells strangers": "3-no-events-before-auth",
    "says it in other words": "6-unknown-command",
    "has one nonce": "4-nonce",
    "shows a wrong proof": "4-challenge",
    "takes the proofs of others": "4-challenge-refused",
    "grants what was not asked for": "4-auth-success",
    "answers pings without their id": "4-ping",
    "drops cancelled commands": "4-cancel",
    "stays when the client has ended": "8-half-close",
}


class SmallServer:
    """Serves from `with` to its end, at `address`."""

    def __init__(self, address: str, defect: str = "", auth_seconds: float = 0.2) -> None:
        self.address = address
        self.auth_seconds = auth_seconds
        self.defect = defect
        self.nonce = os.urandom(32)
        self.connections: list[Connection] = []
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self._listener = listening(address)
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for connection in self.connections:
            connection.shut()
        for thread in self._threads[1:]:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(self, sock)
            with self.lock:
                self.connections.append(connection)
            thread = threading.Thread(target=connection.run)
            self._threads.append(thread)
            thread.start()


class Ended(Exception):
    """The connection is to be closed."""


class Connection:
    def __init__(self, server: SmallServer, sock: Sock) -> None:
        self.server = server
        self.sock = sock
        self.authenticated = False
        self.open: set[str] = set()
        self.bad = self.tries = 0
        self.nonce = server.nonce if self.has("has one nonce") else os.urandom(32)
        self.sending = threading.Lock()

    def has(self, defect: str) -> bool:
        return self.server.defect == defect

    def shut(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def send(self, **fields: Any) -> None:
        stamp = time.time() * (1 if self.has("counts seconds") else 1000)
        body = json.dumps({"version": "1.0.0", "timestamp": int(stamp), **fields}).encode()
        with self.sending:
            self.sock.sendall(b"POPPO" + struct.pack(">I", len(body)) + body)

    def error(self, code: str, message: str, request_id: str | None = None) -> None:
        self.send(type="error", id=request_id, error={"message": message, "code": code, "details": {"suggestions": []}})

    def run(self) -> None:
        try:
            self._run()
        except (OSError, Ended):
            pass
        finally:
            self.authenticated = False
            self.shut()
            self.sock.close()

    def _run(self) -> None:
        if not self.has("does not greet"):
            self.send(
                type="welcome", authRequired=True, capabilities=["challenge", "cancel", "ping"], maxFrameBytes=MAX,
                server={"name": "small", "version": "1"}, nonce=base64.b64encode(self.nonce).decode(),
            )  # fmt: skip
        kept = b""
        seconds = 3600 if self.has("waits for ever for the token") else self.server.auth_seconds
        deadline = time.monotonic() + seconds
        while True:
            self.sock.settimeout(None if self.authenticated else max(0.001, deadline - time.monotonic()))
            data = self.sock.recv(65536)
            if not data:
                if self.has("stays when the client has ended"):
                    self.server.ending.wait()
                return
            kept += data
            while len(kept) >= 9:
                self._check_head(kept)
                end = 9 + struct.unpack(">I", kept[5:9])[0]
                if len(kept) < end:
                    break
                self._message(kept[9:end])
                kept = b"" if self.has("takes one frame of each read") else kept[end:]
            if self.has("takes each read for a frame"):
                kept = b""

    def _check_head(self, head: bytes) -> None:
        if head[:5] != b"POPPO" and not self.has("takes any start for a frame"):
            self.error("BAD_FRAME", "Not a frame")
            raise Ended
        bound = MAX if self.authenticated or self.has("has no bound for strangers") else 64 * 1024
        if struct.unpack(">I", head[5:9])[0] > bound and not self.has("has no bound"):
            self.error("FRAME_TOO_LARGE", "Too large")
            raise Ended

    def _message(self, payload: bytes) -> None:
        try:
            message = json.loads(payload.decode(), parse_constant=None if self.has("takes NaN") else _refuse)
        except (ValueError, RecursionError):
            if self.has("closes at bad JSON"):
                raise Ended from None
            if not self.has("ignores bad JSON"):
                self._undecodable(None)
            return
        if not isinstance(message, dict):
            if self.has("answers lists"):
                self.send(type="response", id=None, success=True, result=None)
            else:
                self._undecodable(None)
            return
        request_id = message.get("id")
        if not isinstance(message.get("type"), str):
            self._undecodable(request_id)
            return
        self.bad = 0
        version = str(message.get("version", "1.0.0"))
        same = version == "1.0.0" if self.has("takes only its own version") else version.startswith("1.")
        if not same and not self.has("takes any version"):
            self.error("VERSION_MISMATCH", f"This is 1.0.0, and that is {version}", request_id)
            raise Ended
        self._typed(message["type"], message, request_id)

    def _undecodable(self, request_id: str | None) -> None:
        self.bad += 1
        self.error("BAD_MESSAGE", "No message", request_id)
        if not self.authenticated or (self.bad >= 16 and not self.has("bears any number of bad frames")):
            raise Ended

    def _typed(self, kind: str, message: dict[str, Any], request_id: Any) -> None:
        if kind == "auth":
            self._auth(message, request_id)
        elif not self.authenticated and not self.has("answers strangers"):
            self.error("AUTH_REQUIRED", "Authentication required", request_id)
        elif kind == "ping":
            self.send(type="pong", id=None if self.has("answers pings without their id") else request_id)
        elif kind == "cancel":
            if request_id in self.open:
                self.open.discard(request_id)
                if not self.has("drops cancelled commands"):
                    self.error("CANCELLED", "Cancelled", request_id)
        elif kind == "command":
            self._command(message, request_id)
        else:
            self.error("BAD_MESSAGE", f"Unknown message type: {kind}", request_id)
            if self.has("closes at unknown types"):
                raise Ended

    def _auth(self, message: dict[str, Any], request_id: str) -> None:
        more: dict[str, Any] = {}
        right = message.get("token") == TOKEN or self.has("takes any token")
        if "proof" in message:
            nonce = base64.b64decode(message["clientNonce"])
            shown = _proof("client", self.nonce, nonce)
            right = message["proof"] == shown or (self.has("takes the proofs of others") and message["proof"] != "")
            own = _proof("server", nonce, self.nonce)
            more["proof"] = shown if self.has("shows a wrong proof") else own
        if not right:
            self.tries += 1
            self.error("AUTH_FAILED", "Invalid authentication token", request_id)
            if self.tries >= 3 and not self.has("takes any number of tokens"):
                raise Ended
            return
        if "capabilities" in message:
            asked = message["capabilities"]
            all_of_them = self.has("grants what was not asked for")
            granted = [each for each in ("challenge", "cancel", "ping") if each in asked or all_of_them]
            more |= {"sessionId": "s", "capabilities": granted}
        self.authenticated = True
        self.send(type="auth-success", id=request_id, **more)

    def _command(self, message: dict[str, Any], request_id: str) -> None:
        name, args = message.get("command"), message.get("args", {})
        if request_id in self.open and not self.has("takes ids twice"):
            self.error("DUPLICATE_ID", "That id is in use", request_id)
        elif not isinstance(args, dict):
            self.error("INVALID_ARGS", "args must be an object", request_id)
        elif name == "conformance.wait":
            self.open.add(request_id)
            if self.has("does one thing after the other"):
                self.server.ending.wait()
        elif name == "conformance.echo":
            self.send(type="response", id=request_id, success=True, result=args)
        elif name == "ipc.describe":
            self.send(type="response", id=request_id, success=True, result={"server": {}, "commands": [], "events": []})
        elif name == "conformance.emit":
            self._tell(args)
            self.send(type="response", id=request_id, success=True, result=None)
        else:
            text = "What?" if self.has("says it in other words") else f"Unknown command: {name}"
            self.error("UNKNOWN_COMMAND", text, None if self.has("forgets ids") else request_id)

    def _tell(self, data: dict[str, Any]) -> None:
        with self.server.lock:
            everybody = list(self.server.connections)
        for each in everybody:
            if (each.authenticated and not self.has("tells nobody")) or self.has("tells strangers"):
                try:
                    each.send(type="event", event="conformance.event", data=data)
                except OSError:  # that one has ended
                    continue


def _proof(whose: str, first: bytes, second: bytes) -> str:
    return base64.b64encode(hmac.digest(TOKEN.encode(), f"POPPO {whose}".encode() + first + second, "sha256")).decode()


def _refuse(text: str) -> Any:
    raise ValueError(text)
