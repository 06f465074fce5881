"""The lean client: plain sockets and no more work for each request than counting, so that the server is the limit."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Final

from bench_peers.kit import work

__all__ = ["HEADER", "MAGIC", "LeanClient", "frame"]

MAGIC: Final = b"POPPO"
HEADER: Final = struct.Struct(">5sI")
# From 128 KiB on the system maps and clears memory for each read anew, which would be the slowest part of a fan-out.
_READ_BYTES: Final = 64 * 1024
# Requests made beforehand. More than can be open at once, as ids are used again.
_REQUESTS: Final = 8192
_TIMEOUT: Final = 20.0


def frame(**fields: Any) -> bytes:
    """One message of the wire."""
    message = {"version": "1.0.0", "timestamp": int(time.time() * 1000), **fields}
    payload = json.dumps(message, separators=(",", ":")).encode()
    return HEADER.pack(MAGIC, len(payload)) + payload


class LeanClient:
    """One connection. With `handshake` off the server sends back what it gets, and is no server of this wire."""

    def __init__(self, path: str, *, handshake: bool = True, capabilities: tuple[str, ...] = ()) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(path)
        self._handshake = handshake
        self._asked = 0
        self._sent = 0
        self.requests: list[bytes] = []
        if handshake:
            self._authenticate(capabilities)
        # Without a timeout: it would cost a system call more for each one here.
        self.sock.setblocking(True)

    def _authenticate(self, capabilities: tuple[str, ...]) -> None:
        if self.read()["type"] != "welcome":
            raise work.WrongAnswer("the server did not begin with welcome")
        more = {"capabilities": capabilities} if capabilities else {}
        self.sock.sendall(frame(type="auth", id="auth", token=work.TOKEN, **more))
        if self.read()["type"] != "auth-success":
            raise work.WrongAnswer("the server did not take the token")

    def close(self) -> None:
        """End the connection."""
        self.sock.close()

    # -- one at a time, checked ---------------------------------------------------------------------------------

    def read(self) -> dict[str, Any]:
        """One message, whatever it takes."""
        magic, length = HEADER.unpack(self.exactly(HEADER.size))
        if magic != MAGIC:
            raise work.WrongAnswer(f"a frame began with {magic!r}")
        message: dict[str, Any] = json.loads(self.exactly(length))
        return message

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        data = bytearray()
        while len(data) < size:
            data += self.receive(size - len(data))
        return bytes(data)

    def receive(self, size: int = _READ_BYTES) -> bytes:
        """Some bytes. Raises WrongAnswer at the end of the connection."""
        data = self.sock.recv(size)
        if not data:
            raise work.WrongAnswer("the server closed the connection")
        return data

    def begin(self, command: str, args: dict[str, Any]) -> str:
        """Ask without waiting; gives the id."""
        self._asked += 1
        request_id = f"asked-{self._asked:010d}"
        self.sock.sendall(frame(type="command", id=request_id, command=command, args=args))
        return request_id

    def ask(self, command: str, args: dict[str, Any]) -> Any:
        """Ask and wait; gives the result. Events that come in between are passed over."""
        request_id = self.begin(command, args)
        while (message := self.read())["type"] == "event":
            continue
        if message["id"] != request_id:
            raise work.WrongAnswer(f"{command} was answered with the id {message['id']!r}")
        if not self._handshake:
            return None
        if message["type"] != "response":
            raise work.WrongAnswer(f"{command} was answered with {str(message)[:200]}")
        return message["result"]

    def check(self, command: str = "bench.status") -> int:
        """Ask and look into the answer; gives the bytes of its frame, which are those of every such answer."""
        request_id = self.begin(command, {})
        header = self.exactly(HEADER.size)
        payload = self.exactly(HEADER.unpack(header)[1])
        message = json.loads(payload)
        if message["id"] != request_id:
            raise work.WrongAnswer(f"{command} was answered with the id {message['id']!r}")
        if self._handshake:
            work.check(command, {}, message.get("result"))
        elif message["type"] != "command":
            raise work.WrongAnswer("the echo is no echo")
        return len(header) + len(payload)

    # -- many, counted ------------------------------------------------------------------------------------------

    def prepare(self, command: str) -> None:
        """Make the requests that `more` sends. Their ids are as long as those that `check` uses."""
        self.requests = [
            frame(type="command", id=f"ready-{number:010d}", command=command, args={}) for number in range(_REQUESTS)
        ]

    def more(self, count: int) -> None:
        """Send so many of the prepared requests."""
        at = self._sent % _REQUESTS
        self._sent += count
        batch = self.requests[at : at + count]
        if at + count > _REQUESTS:
            batch += self.requests[: at + count - _REQUESTS]
        self.sock.sendall(batch[0] if count == 1 else b"".join(batch))

    def one_more(self, size: int, clock: Callable[[], float]) -> float:
        """Send one request and wait for its answer of `size` bytes; gives the time that took."""
        began = clock()
        self.more(1)
        got = len(self.receive())
        while got < size:
            got += len(self.receive())
        took = clock() - began
        if got != size:
            raise work.WrongAnswer(f"an answer had {got} bytes and not {size}")
        return took
