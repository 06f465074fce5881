"""A server as the original one is, as far as a command line sees it: no extensions, one code for every error."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sockets import Sock, listening

from .processes import at

__all__ = ["Original"]


class Original:
    """Serves one client after the other in a thread. `asked` has the commands that came; `greets`: whether it talks."""

    def __init__(self, path: Path, answers: dict[str, Any], *, greets: bool = True, token: str | None = None) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._answers = answers
        self._greets = greets
        self._token = token
        self._listener = listening(at(path))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with closing(client), suppress(ConnectionError):  # who connects only to see whether somebody is there
                self._talk(client)

    def _talk(self, client: Sock) -> None:
        if self._greets:
            _send(client, {"type": "welcome", "authRequired": self._token is not None})
        while (message := _receive(client)) is not None:
            if message["type"] == "auth":
                if message.get("token") == self._token:
                    _send(client, {"type": "auth-success", "id": message["id"]})
                else:
                    _refuse(client, message["id"], "Invalid authentication token", "AUTH_FAILED")
            elif message["type"] == "command":
                self.asked.append((message["command"], message.get("args")))
                if message["command"] in self._answers:
                    result = self._answers[message["command"]]
                    _send(client, {"type": "response", "id": message["id"], "success": True, "result": result})
                else:
                    _refuse(client, message["id"], f"Unknown command: {message['command']}", "COMMAND_ERROR")


def _refuse(client: Sock, message_id: str, text: str, code: str) -> None:
    _send(client, {"type": "error", "id": message_id, "error": {"message": text, "code": code}})


def _send(client: Sock, message: dict[str, Any]) -> None:
    body = json.dumps({"version": "1.0.0", "timestamp": 0, **message}).encode()
    client.sendall(b"POPPO" + struct.pack(">I", len(body)) + body)


def _receive(client: Sock) -> dict[str, Any] | None:
    head = _exactly(client, 9)
    body = None if head is None else _exactly(client, struct.unpack(">I", head[5:])[0])
    found: dict[str, Any] | None = None if body is None else json.loads(body)
    return found


def _exactly(client: Sock, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data
