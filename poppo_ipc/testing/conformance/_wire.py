"""What carries raw bytes between a check and the other side, without an event loop of the check's own."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from typing import Any, Protocol

import anyio
import trio

from poppo_ipc.errors import ConnectFailed
from poppo_ipc.testing._thread import TrioThread
from poppo_ipc.transport import Address, AddressKind, Listener, Stream, connect_blocking, listen
from poppo_ipc.transport._connection import Connection

if sys.platform == "win32":
    from poppo_ipc.transport._pipe_blocking import BlockingPipe

__all__ = ["Door", "Wire", "open_door", "open_wire"]

_BYTES = 1 << 16
_UNIX = getattr(socket, "AF_UNIX", 0)


class Wire(Protocol):
    """A connection. Failures are OSErrors: TimeoutError where the time is over, ConnectionError where it broke."""

    half_closes: bool
    """Whether the end of what is sent can be told while the other direction goes on."""

    def send(self, data: bytes, seconds: float) -> None:
        """Send all of it."""

    def send_now(self, data: bytes) -> int:
        """Send as much as is taken at once; gives how many bytes that is."""

    def send_in_small_pieces(self) -> None:
        """From here on, let no two sends travel together, as far as that can be had."""

    def receive(self, seconds: float) -> bytes:
        """What comes next; `b""` at the end of the stream."""

    def end(self) -> None:
        """Send no more."""

    def close(self) -> None:
        """Close it. Idempotent."""


class Door(Protocol):
    """Where a program under test connects."""

    def accept(self, seconds: float) -> Wire:
        """The next connection. Raises TimeoutError."""

    def close(self) -> None:
        """Take no more. Idempotent."""


class BlockingWire:
    """A connection without an event loop."""

    def __init__(self, connection: Connection, *, half_closes: bool) -> None:
        self.half_closes = half_closes
        self._connection = connection
        self._apart = False

    def send(self, data: bytes, seconds: float) -> None:
        self._connection.settimeout(seconds)
        self._connection.sendall(data)
        if self._apart:
            self._wait_until_read(seconds)

    def send_now(self, data: bytes) -> int:
        self._connection.setblocking(False)
        try:
            return self._connection.send(data)
        except BlockingIOError:
            return 0

    def send_in_small_pieces(self) -> None:
        if isinstance(self._connection, socket.socket):
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self._apart = True

    def _wait_until_read(self, seconds: float) -> None:
        # On Windows a pipe's room is the server's choice, and what waits in it is read at once.
        if sys.platform == "win32" and isinstance(self._connection, BlockingPipe):
            waiting = threading.Thread(target=_flush, args=(self._connection,), daemon=True)
            waiting.start()
            waiting.join(seconds)
            if waiting.is_alive():  # until the server reads on or ends
                raise TimeoutError

    def receive(self, seconds: float) -> bytes:
        self._connection.settimeout(seconds)
        try:
            return self._connection.recv(_BYTES)
        except ConnectionError:
            return b""

    def end(self) -> None:
        assert isinstance(self._connection, socket.socket)
        self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._connection.close()


if sys.platform == "win32":

    def _flush(pipe: BlockingPipe) -> None:
        with contextlib.suppress(OSError):  # that it has ended shows where an answer is waited for
            pipe.flush()


class StreamWire:
    """A stream of the transport layer, in the thread of an event loop that is there for it."""

    def __init__(self, stream: Stream, thread: TrioThread) -> None:
        self.half_closes = stream.half_closes
        self._stream = stream
        self._thread = thread

    def send(self, data: bytes, seconds: float) -> None:
        async def send() -> None:
            with trio.fail_after(seconds):
                await self._stream.send(data)

        try:
            self._thread.run(send)
        except trio.TooSlowError:
            raise TimeoutError from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise BrokenPipeError from error

    def send_now(self, data: bytes) -> int:
        return self._thread.call(lambda: self._stream.send_nowait(data))

    def send_in_small_pieces(self) -> None:
        pass  # each send is a write of its own

    def receive(self, seconds: float) -> bytes:
        async def receive() -> bytes:
            with trio.fail_after(seconds):
                return await self._stream.receive(_BYTES)

        try:
            return self._thread.run(receive)
        except trio.TooSlowError:
            raise TimeoutError from None
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return b""
        except anyio.ClosedResourceError as error:
            raise ConnectionAbortedError("it was closed on this side") from error

    def end(self) -> None:
        self._thread.run(self._stream.send_eof)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the thread has ended, and its streams with it
            self._thread.run(self._stream.aclose)


class SocketDoor:
    """A Unix socket that is listened on."""

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(_UNIX, socket.SOCK_STREAM)
        self._sock.bind(path)
        self._sock.listen()

    def accept(self, seconds: float) -> Wire:
        self._sock.settimeout(seconds)
        sock, _ = self._sock.accept()
        return BlockingWire(sock, half_closes=True)

    def close(self) -> None:
        self._sock.close()


class StreamDoor:
    """Any listener of the transport layer."""

    def __init__(self, address: Address) -> None:
        self._thread = _thread()
        try:
            self._listener: Listener = self._thread.run(lambda: listen(address))
        except BaseException:
            self._thread.stop()
            raise

    def accept(self, seconds: float) -> Wire:
        async def accept() -> Stream:
            with trio.fail_after(seconds):
                return await self._listener.accept()

        try:
            return StreamWire(self._thread.run(accept), self._thread)
        except trio.TooSlowError:
            raise TimeoutError from None

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._thread.run(self._listener.aclose)
        self._thread.stop()


def open_wire(address: Address, seconds: float) -> Wire:
    """Connect to a server, whoever runs it. Raises OSError where nobody listens."""
    try:
        connection = connect_blocking(address, seconds, trusted_uids=None)
    except ConnectFailed as error:
        raise ConnectionRefusedError(error.message) from error
    return BlockingWire(connection, half_closes=address.kind is AddressKind.UNIX)


def open_door(address: Address) -> Door:
    """Listen there. Raises OSError, and what `listen` raises."""
    return SocketDoor(address.name) if address.kind is AddressKind.UNIX else StreamDoor(address)


def _thread() -> TrioThread:
    async def main(*, task_status: trio.TaskStatus[Any]) -> None:
        task_status.started()
        await trio.sleep_forever()

    thread = TrioThread(main, "poppo-conformance")
    thread.start()
    return thread
