"""What carries raw bytes between a check and the other side, without an event loop of the check's own."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any, Protocol

import anyio
import trio

from poppo_ipc.errors import ConnectFailed
from poppo_ipc.testing._thread import TrioThread
from poppo_ipc.transport import Address, AddressKind, Listener, Stream, connect, listen

__all__ = ["Door", "SocketWire", "StreamDoor", "StreamWire", "Wire", "open_door", "open_wire"]

_BYTES = 1 << 16


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


class SocketWire:
    """A Unix socket."""

    half_closes = True

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, data: bytes, seconds: float) -> None:
        self._sock.settimeout(seconds)
        self._sock.sendall(data)

    def send_now(self, data: bytes) -> int:
        self._sock.setblocking(False)
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def send_in_small_pieces(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)

    def receive(self, seconds: float) -> bytes:
        self._sock.settimeout(seconds)
        try:
            return self._sock.recv(_BYTES)
        except ConnectionResetError:
            return b""

    def end(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()


class StreamWire:
    """Any stream of the transport layer, in the thread of an event loop that is there for it."""

    def __init__(self, stream: Stream, thread: TrioThread, *, owns_thread: bool) -> None:
        self.half_closes = stream.half_closes
        self._stream = stream
        self._thread = thread
        self._owns_thread = owns_thread

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

    def end(self) -> None:
        self._thread.run(self._stream.send_eof)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the thread has ended, and its streams with it
            self._thread.run(self._stream.aclose)
        if self._owns_thread:
            self._thread.stop()


class SocketDoor:
    """A Unix socket that is listened on."""

    def __init__(self, path: str) -> None:
        self._sock = _unix_socket()
        self._sock.bind(path)
        self._sock.listen()

    def accept(self, seconds: float) -> Wire:
        self._sock.settimeout(seconds)
        sock, _ = self._sock.accept()
        return SocketWire(sock)

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
            return StreamWire(self._thread.run(accept), self._thread, owns_thread=False)
        except trio.TooSlowError:
            raise TimeoutError from None

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._thread.run(self._listener.aclose)
        self._thread.stop()


def open_wire(address: Address, seconds: float) -> Wire:
    """Connect to a server, whoever runs it. Raises OSError where nobody listens."""
    if address.kind is AddressKind.UNIX:
        sock = _unix_socket()
        try:
            sock.settimeout(seconds)
            sock.connect(address.name)
        except BaseException:
            sock.close()
            raise
        return SocketWire(sock)

    async def open_stream() -> Stream:
        with trio.fail_after(seconds):
            return await connect(address, trusted_uids=None)

    thread = _thread()
    try:
        return StreamWire(thread.run(open_stream), thread, owns_thread=True)
    except BaseException as error:
        thread.stop()
        if isinstance(error, trio.TooSlowError):
            raise TimeoutError from None
        if isinstance(error, ConnectFailed):
            raise ConnectionRefusedError(error.message) from error
        raise


def open_door(address: Address) -> Door:
    """Listen there. Raises OSError, and what `listen` raises."""
    return SocketDoor(address.name) if address.kind is AddressKind.UNIX else StreamDoor(address)


def _unix_socket() -> socket.socket:
    if sys.platform == "win32":
        raise OSError("Python has no Unix sockets on Windows")
    else:
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _thread() -> TrioThread:
    async def main(*, task_status: trio.TaskStatus[Any]) -> None:
        task_status.started()
        await trio.sleep_forever()

    thread = TrioThread(main, "poppo-conformance")
    thread.start()
    return thread
