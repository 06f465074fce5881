"""A client as the original is one: frames by hand, no capabilities, every event whether asked for or not."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import sys
import time
from io import RawIOBase
from pathlib import Path
from types import TracebackType
from typing import Any, Self

#: Seconds that nothing here takes, even on a machine that has much else to do.
PATIENCE = 30.0


class OriginalClient:
    """Connected and authenticated from the start of the block."""

    def __init__(self, address: Path | str, token: str | None) -> None:
        self.events: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self._file = _opened(str(address))
        self.welcome = self._receive()
        if token is not None:
            self._send({"type": "auth", "id": "auth", "token": token})
            assert self._receive()["type"] == "auth-success"

    def call(self, command: str, args: dict[str, Any] | None = None) -> Any:
        """The result of a command; a failure is an AssertionError."""
        answer = self.ask(command, args)
        assert answer["type"] == "response", answer
        assert answer["success"] is True
        return answer["result"]

    def fail(self, command: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        """The error of a command."""
        answer = self.ask(command, args)
        assert answer["type"] == "error", answer
        error: dict[str, Any] = answer["error"]
        return error

    def ask(self, command: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a command, whatever it is; events that come before it are kept."""
        number = str(next(self._numbers))
        message = {"type": "command", "id": number, "command": command}
        self._send(message if args is None else {**message, "args": args})
        while True:
            message = self._receive()
            if message["type"] == "event":
                self.events.append(message)
            else:
                assert message["id"] == number
                return message

    def event(self, name: str, **data: Any) -> dict[str, Any]:
        """The data of the first event of this name and with this data that was not taken yet."""
        while True:
            for index, message in enumerate(self.events):
                if message["event"] == name and data.items() <= message["data"].items():
                    found: dict[str, Any] = self.events.pop(index)["data"]
                    return found
            message = self._receive()
            assert message["type"] == "event", message
            self.events.append(message)

    def _send(self, message: dict[str, Any]) -> None:
        payload = json.dumps({**message, "version": "1.0.0", "timestamp": int(time.time() * 1000)}).encode()
        self._file.write(b"POPPO" + struct.pack(">I", len(payload)) + payload)

    def _receive(self) -> dict[str, Any]:
        header = self._read(9)
        assert header[:5] == b"POPPO", header
        message: dict[str, Any] = json.loads(self._read(struct.unpack(">I", header[5:])[0]))
        return message

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._file.read(count - len(data))
            assert more, "the daemon has closed the connection"
            data += more
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def _opened(address: str) -> RawIOBase:
    if sys.platform == "win32":
        return open(rf"\\.\pipe\{address.removeprefix('npipe:')}", "r+b", buffering=0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(PATIENCE)
        end.connect(address)
        return end.makefile("rwb", buffering=0)
