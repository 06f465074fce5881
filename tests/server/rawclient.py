"""A client that knows nothing but frames, and servers to talk to: what all tests of the server share."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from poppo_ipc.commands import Router
from poppo_ipc.server import Server, running
from poppo_ipc.transport import Stream, connect

ALL = ["challenge", "cancel", "deadline", "stream", "subscribe", "replay", "idempotency", "ping"]
TOKEN = "a-token-of-the-tests"
Message = dict[str, Any]


def _run(function: Callable[..., Awaitable[Any]], clock: Any = None, **options: Any) -> Any:
    return trio.run(function, clock=clock or MockClock(autojump_threshold=0), **options)


#: A test in a time that jumps over every wait in which nothing can happen.
in_jumping_time = pytest.mark.trio(run=_run)


def framed(payload: bytes) -> bytes:
    return b"POPPO" + struct.pack(">I", len(payload)) + payload


def wire(**fields: Any) -> bytes:
    return framed(json.dumps(fields).encode())


def command(request_id: str, name: str, **more: Any) -> bytes:
    return wire(type="command", id=request_id, command=name, **more)


class RawClient:
    """One connection; frames in and out, and nothing understood of them."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.welcome: Message = {}
        self._bytes = b""
        self._position = 0
        self.received = 0

    # -- sending --------------------------------------------------------------------------------------------------

    async def send_bytes(self, *pieces: bytes) -> None:
        """All pieces as one."""
        await self.stream.send(b"".join(pieces))

    async def send(self, **fields: Any) -> None:
        await self.send_bytes(wire(**fields))

    async def command(self, request_id: str, name: str, **more: Any) -> None:
        await self.send_bytes(command(request_id, name, **more))

    # -- receiving ------------------------------------------------------------------------------------------------

    async def read(self) -> bool:
        """Take in what is there, waiting for it; False at the end of the stream."""
        try:
            data = await self.stream.receive()
        except anyio.EndOfStream:
            return False
        self.received += len(data)
        self._bytes = self._bytes[self._position :] + data
        self._position = 0
        return True

    def _pop(self) -> bytes | None:
        start = self._position + 9
        if len(self._bytes) < start:
            return None
        magic, size = struct.unpack_from(">5sI", self._bytes, self._position)
        assert magic == b"POPPO"
        if len(self._bytes) < start + size:
            return None
        self._position = start + size
        return self._bytes[start : start + size]

    async def recv_payload(self) -> bytes | None:
        while (payload := self._pop()) is None:
            if not await self.read():
                assert self._position == len(self._bytes), "the stream ended in the middle of a frame"
                return None
        return payload

    async def recv(self) -> Message:
        """The next message; the end of the stream is a failure."""
        payload = await self.recv_payload()
        assert payload is not None, "the server closed the connection"
        message: Message = json.loads(payload)
        assert message["version"] == "1.0.0"
        assert isinstance(message["timestamp"], int)
        return message

    async def rest(self) -> list[Message]:
        """All messages to the end of the stream."""
        messages = []
        while (payload := await self.recv_payload()) is not None:
            messages.append(json.loads(payload))
        return messages

    async def nothing_comes(self, seconds: float = 1.0) -> None:
        """Nothing arrives in so long a time."""
        with trio.move_on_after(seconds) as scope:
            payload = await self.recv_payload()
            raise AssertionError(f"got {payload!r}")
        assert scope.cancelled_caught

    async def recv_many(self, count: int) -> list[Message]:
        return [await self.recv() for _ in range(count)]

    async def answer(self, request_id: str) -> Message:
        """The next message, which answers `request_id`."""
        message = await self.recv()
        assert message.get("id") == request_id, message
        return message

    # -- both -----------------------------------------------------------------------------------------------------

    async def call(self, name: str, request_id: str = "call", **more: Any) -> Any:
        """The result of a command, the answer to which has to come next."""
        await self.command(request_id, name, **more)
        answer = await self.answer(request_id)
        assert answer["type"] == "response", answer
        return answer["result"]

    async def error(self, name: str, request_id: str = "call", **more: Any) -> Message:
        """The error of a command, the answer to which has to come next."""
        await self.command(request_id, name, **more)
        return fault(await self.answer(request_id))

    async def auth(self, *capabilities: str, token: str = TOKEN, **more: Any) -> Message:
        """Authenticate as a client of this project, and give the `auth-success`."""
        await self.send(type="auth", id="auth", token=token, capabilities=list(capabilities), **more)
        answer = await self.answer("auth")
        assert answer["type"] == "auth-success", answer
        return answer

    async def auth_as_original(self, token: str = TOKEN) -> Message:
        await self.send(type="auth", id="auth", token=token)
        answer = await self.answer("auth")
        assert answer["type"] == "auth-success", answer
        return answer

    async def subscribe(self, *patterns: str, since: Message | None = None) -> Message:
        args: Message = {"events": list(patterns)}
        if since is not None:
            args["since"] = since
        result: Message = await self.call("events.subscribe", args=args)
        return result

    async def aclose(self) -> None:
        await self.stream.aclose()


def fault(message: Message) -> Message:
    """What an `error` message says."""
    assert message["type"] == "error", message
    error: Message = message["error"]
    return error


class Served:
    """A server that serves, and the clients that were connected to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.clients: list[RawClient] = []

    async def connect(self) -> RawClient:
        """A client that has had its `welcome`."""
        client = await self.connect_silently()
        client.welcome = await client.recv()
        assert client.welcome["type"] == "welcome", client.welcome
        return client

    async def connect_silently(self) -> RawClient:
        client = RawClient(await connect(self.server.address))
        self.clients.append(client)
        return client

    async def client(self, *capabilities: str) -> RawClient:
        """A client that is authenticated with these capabilities."""
        client = await self.connect()
        await client.auth(*capabilities)
        return client

    async def original(self) -> RawClient:
        """A client that knows no extension, and need not authenticate."""
        return await self.connect()


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@asynccontextmanager
async def serve(router: Router | None = None, *, stop_early: bool = True, **options: Any) -> AsyncIterator[Served]:
    """Serve in memory unless an `address` says otherwise. At the end no task, client or count may be left."""
    options.setdefault("address", "memory:tests")
    server = Server(router or Router(), **options)
    served = Served(server)
    async with running(server):
        yield served
        if stop_early:
            for client in served.clients:
                await client.aclose()
    assert server.statistics().running == 0
    assert server.statistics().sessions == 0


def serving_with(**fixed: Any) -> Serve:
    return partial(serve, **fixed)


class Gate:
    """Where a handler waits until a test lets it go on; it counts who came."""

    def __init__(self) -> None:
        self.entered = 0
        self.left = 0
        self.cancelled = 0
        self._opened = trio.Event()

    def open(self) -> None:
        self._opened.set()

    async def wait(self) -> None:
        self.entered += 1
        try:
            await self._opened.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        self.left += 1


def tasks_below(root: trio.lowlevel.Task) -> int:
    """How many tasks there are in the nurseries of a task, and in those of its children."""
    return sum(1 + tasks_below(task) for nursery in root.child_nurseries for task in nursery.child_tasks)


@contextmanager
def no_log_of(caplog: pytest.LogCaptureFixture, level: str = "WARNING") -> Iterator[None]:
    """Nothing of that level or above may be logged inside."""
    caplog.clear()
    with caplog.at_level(level, logger="poppo_ipc"):
        yield
    assert caplog.records == []
