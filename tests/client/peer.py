"""A server that follows a script, one per connection: says what it is told to, and waits for what it expects."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar, overload

import anyio

from poppo_ipc.errors import CommandError
from poppo_ipc.protocol import (
    Auth,
    Command,
    Event,
    FrameDecoder,
    Ping,
    ServerConnection,
    client_proof,
    decode_nonce,
    frame,
    proof_matches,
    server_proof,
)
from poppo_ipc.transport import Listener, Stream, listen

M = TypeVar("M")
_names = itertools.count()


class Peer:
    """One connection of the scripted server. `recv` and friends raise AssertionError for what was not expected."""

    def __init__(self, stream: Stream, **options: Any) -> None:
        self.stream = stream
        options.setdefault("auth_required", False)
        self.connection = ServerConnection(name="scripted", version="9", **options)
        self.inbox: deque[Any] = deque()

    @overload
    async def recv(self) -> Command: ...
    @overload
    async def recv(self, kind: type[M]) -> M: ...
    async def recv(self, kind: type[Any] = Command) -> Any:
        """The next message of the client, which has to be a `kind`."""
        while not self.inbox:
            self.inbox.extend(self.connection.receive_data(await self.stream.receive()))
            self.inbox.extend(self.connection.resume())
        message = self.inbox.popleft()
        assert isinstance(message, kind), f"expected {kind.__name__}, got {message!r}"
        return message

    async def command(self, name: str) -> Command:
        """The next message, which has to be the command `name`."""
        message = await self.recv(Command)
        assert message.command == name, f"expected {name}, got {message.command}"
        return message

    async def send(self, *frames: bytes | bytearray | None) -> None:
        """Send frames in one piece."""
        await self.stream.send(b"".join(frame for frame in frames if frame))

    async def respond(self, command: Command, result: Any = None) -> None:
        await self.send(self.connection.respond(command.id, result))

    async def fail(self, command: Command, error: CommandError) -> None:
        await self.send(self.connection.fail(command.id, error))

    async def event(self, name: str, data: Any = None, seq: int | None = None) -> None:
        await self.send(self.event_frame(name, data, seq))

    def event_frame(self, name: str, data: Any = None, seq: int | None = None) -> bytes:
        message = Event(event=name, data=data)
        if seq is not None:
            message.seq = seq
        return self.connection.send(message)

    async def settle(
        self, *, token: str | None = None, epoch: str = "e1", seq: int = 0, keys_durable: bool = False
    ) -> Auth:
        """Welcome the client and let it in; with `token`, only by the challenge proof of it."""
        await self.send(self.connection.welcome())
        auth = await self.recv(Auth)
        proof = None
        if token is not None:
            nonce, theirs = decode_nonce(self.connection.nonce), decode_nonce(auth.client_nonce)
            assert nonce
            assert theirs
            if not proof_matches(client_proof(token, nonce, theirs), auth.proof):
                await self.send(self.connection.reject(auth))
                return auth
            proof = server_proof(token, nonce, theirs)
        frame = self.connection.accept(
            auth, session_id="s1", proof=proof, epoch=epoch, seq=seq, keys_durable=keys_durable
        )
        await self.send(frame)
        return auth

    async def subscribe(self, sid: str = "sub", seq: int = 0, gap: bool = False, missed: int | None = 0) -> Command:
        """Expect `events.subscribe` and agree."""
        command = await self.command("events.subscribe")
        await self.respond(command, {"subscriptionId": sid, "gap": gap, "missed": missed, "seq": seq})
        return command

    async def until_closed(self) -> list[Any]:
        """What the client still says, until it closes."""
        rest: list[Any] = list(self.inbox)
        while True:
            try:
                data = await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return rest
            rest += self.connection.receive_data(data)

    async def pong_on(self) -> None:
        """Answer pings, until the client closes."""
        with contextlib.suppress(anyio.EndOfStream):
            while True:
                await self.send(self.connection.pong(await self.recv(Ping)))


class Original:
    """One connection of a server that knows no extensions, and is checked to be told none."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._decoder = FrameDecoder()
        self._inbox: deque[bytes | bytearray] = deque()

    async def send(self, **message: Any) -> None:
        message = {"version": "1.0.0", "timestamp": 1795438552592, **message}
        await self.stream.send(frame(json.dumps(message).encode()))

    async def recv(self) -> Any:
        while not self._inbox:
            self._decoder.feed(await self.stream.receive())
            self._inbox.extend(self._decoder.drain(1 << 20))
        message = json.loads(self._inbox.popleft())
        known = {"type", "version", "timestamp", "id", "token", "command", "args"}
        assert set(message) <= known, f"an extension was sent to an original: {message}"
        assert message["type"] in ("auth", "command"), f"an extension was sent to an original: {message}"
        return message

    async def welcome(self, token: str | None = None) -> None:
        await self.send(type="welcome", authRequired=token is not None)
        if token is not None:
            auth = await self.recv()
            if auth["token"] == token:
                await self.send(type="auth-success", id=auth["id"])
            else:
                error = {"message": "Invalid authentication token", "code": "UNKNOWN_ERROR"}
                await self.send(type="error", id=auth["id"], error=error)

    async def until_closed(self) -> None:
        while True:
            try:
                await self.recv()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return


@asynccontextmanager
async def serving(*scripts: Any, kind: Any = Peer, address: str | None = None, **options: Any) -> AsyncIterator[str]:
    """Serve each connection by the next script; close it at the script's end. All scripts have to be begun and end.

    What goes wrong in a script is raised, before what goes wrong in the block: it is most likely the reason.
    """
    address = address or f"memory:scripted-{next(_names)}"
    errors: list[BaseException] = []
    listener = await listen(address)
    left = len(scripts)
    all_done = anyio.Event()
    failed: BaseException | None = None

    async def serve_all() -> None:
        for script in scripts:
            stream = await listener.accept()
            tasks.start_soon(serve_one, script, stream)
        await listener.aclose()  # from here on nobody listens

    async def serve_one(script: Any, stream: Stream) -> None:
        nonlocal left
        try:
            await script(kind(stream, **options))
        except Exception as error:
            errors.append(error)
            all_done.set()
        finally:
            await _close(stream)
        left -= 1
        if not left:
            all_done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_all)
        try:
            yield address
            with anyio.move_on_after(30):  # only ever reached where a script hangs
                await all_done.wait()
        except Exception as error:
            failed = error
        finally:
            tasks.cancel_scope.cancel()
            await _close(listener)
    if errors:
        raise errors[0]
    if failed:
        raise failed
    assert not left, f"{left} of {len(scripts)} scripts did not come to their end"


async def _close(resource: Stream | Listener) -> None:
    with anyio.CancelScope(shield=True):
        await resource.aclose()
