"""One connection to a server with no event loop: a socket, or a pipe, driven from within the caller's wait."""

from __future__ import annotations

import math
import time

from poppo_ipc.client._call import Call
from poppo_ipc.client._engine import Engine
from poppo_ipc.client._handshake import Handshake
from poppo_ipc.client._heartbeat import Beat, Heartbeat
from poppo_ipc.client._options import Options
from poppo_ipc.client._outbox import Outbox
from poppo_ipc.client._session import Session
from poppo_ipc.errors import ConnectionLost, PoppoError
from poppo_ipc.protocol import ClientConnection, Received
from poppo_ipc.transport._connection import Connection, Waiter

__all__ = ["SyncLink"]

# An answer is small as a rule. A buffer from 128 KiB on is memory that the system maps, and clears, for each read anew.
_READ_BYTES = 16 * 1024
_READ_MORE_BYTES = 256 * 1024


class SyncLink:
    """Moves the bytes of one session between a socket or pipe, which it owns from here on, and the engine."""

    def __init__(self, sock: Connection, engine: Engine, options: Options, token: str | None, pid: int | None) -> None:
        sock.setblocking(False)
        self.error: PoppoError | None = None
        self._sock = sock
        self._engine = engine
        self._connection = ClientConnection(frame_bytes=options.frame_bytes)
        self._handshake = Handshake(self._connection, options, token, pid)
        self._outbox = Outbox()
        self._heartbeat = Heartbeat(options.ping_seconds, time.monotonic())
        self._session: Session | None = None
        self._pings = False
        self._began = 0.0
        self._unbroken = _Unbroken(self)
        self._poll = Waiter(sock)
        self._read_bytes = _READ_BYTES

    @property
    def heard(self) -> float:
        """When the last byte came, by `time.monotonic`."""
        return self._heartbeat.heard

    @property
    def lasted(self) -> float:
        """Seconds since the session was settled."""
        return time.monotonic() - self._began

    def settle(self, deadline: float) -> Session:
        """Go through the handshake, until `deadline` by `time.monotonic`. Raises the error that ends it."""
        handshake = self._handshake
        while handshake.session is None:
            self._wait(deadline - time.monotonic())
            if time.monotonic() >= deadline:
                raise ConnectionLost(
                    "The server did not finish the handshake in time", remedy="try again", timed_out=True
                )
            try:
                data = self._receive()
                if data is None:
                    continue
                reply = None if data == b"" else handshake.receive(self._connection.receive_data(data))
                if reply is not None:
                    self._outbox.put(reply)
                    self._send()
            except OSError as exc:
                raise ConnectionLost("The connection broke during the handshake", remedy="try again") from exc
            if data == b"":
                raise handshake.eof()
        self._session = handshake.session
        self._pings = self._session.has_ping
        return handshake.session

    def begin(self) -> None:
        """Give the session to the engine."""
        assert self._session is not None
        self._began = time.monotonic()
        self._heartbeat.alive(self._began)
        self._engine.flush = self.flush
        with self._unbroken:
            self._engine.begin(self._connection, self._session, self._outbox)
            self._take(self._handshake.rest)
        self.flush()

    def look(self) -> None:
        """Deal with what has come, without waiting. `error` says if that was the end."""
        if self._poll.wait(False, 0.0):
            self._read()

    def step(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the server, and deal with what came. `error` says if that was the end."""
        if self._pings:
            timeout = min(timeout, self._heartbeat.due - time.monotonic())
        if self._wait(timeout):
            self._read()
        if self._pings:
            self._beat()
        if self._outbox:
            self.flush()

    def flush(self) -> None:
        """Hand over what the system takes at once."""
        if self.error is None and self._outbox:
            with self._unbroken:
                try:
                    self._send()
                except OSError as exc:
                    self._broken(exc)

    def drain(self, deadline: float) -> None:
        """Hand over all that is queued, until `deadline` by `time.monotonic`."""
        while self.error is None and (self._outbox or self._unsent()):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._wait(left, writing=True)
            self.flush()

    def fail(self, error: PoppoError) -> None:
        """End the session. Only the first reason counts."""
        if self.error is None:
            self.error = self._engine.parting(error)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._connection.closed()
        self._sock.close()

    # -- bytes --------------------------------------------------------------------------------------------------

    def _wait(self, timeout: float, *, writing: bool = False) -> bool:
        """Wait until something can be read, or written where something waits for that; False after `timeout`."""
        return self._poll.wait(writing or bool(self._outbox), None if timeout == math.inf else max(0.0, timeout))

    def _unsent(self) -> bool:
        try:
            return self._poll.unsent()
        except OSError as exc:
            self._broken(exc)
            return False

    def _receive(self) -> bytes | None:
        try:
            return self._sock.recv(self._read_bytes)
        except BlockingIOError:
            return None

    def _send(self) -> None:
        outbox = self._outbox
        while outbox:
            chunk = outbox.chunk()
            try:
                sent = self._sock.send(chunk)
            except BlockingIOError:
                return
            outbox.sent(sent)

    def _read(self) -> None:
        with self._unbroken:
            try:
                data = self._sock.recv(self._read_bytes)
            except BlockingIOError:
                return
            except OSError as exc:
                self._broken(exc)
                return
            if data == b"":
                self.fail(self._connection.receive_eof() or ConnectionLost("The server closed the connection"))
            else:
                if len(data) == self._read_bytes:
                    self._read_bytes = _READ_MORE_BYTES
                elif len(data) < _READ_BYTES:
                    self._read_bytes = _READ_BYTES
                self._heartbeat.alive(time.monotonic())
                self._take(self._connection.receive_data(data))

    def _take(self, received: list[Received]) -> None:
        error = self._engine.receive(received)
        if error is not None:
            self.fail(error)

    def _beat(self) -> None:
        now = time.monotonic()
        if now < self._heartbeat.due:
            return
        match self._heartbeat.beat(now):
            case Beat.PING:
                self._engine.ping(Call("ping", None))
            case Beat.DEAD:
                self.fail(ConnectionLost(f"The server has been silent for {now - self.heard:.0f} s, pings included"))
            case Beat.NOTHING:
                pass

    def _broken(self, cause: OSError) -> None:
        error = ConnectionLost("The connection broke")
        error.__cause__ = cause
        self.fail(error)


class _Unbroken:
    """What may not be cut in two by Ctrl-C: bytes that were taken and not dealt with put the stream out of step."""

    __slots__ = ("_link",)

    def __init__(self, link: SyncLink) -> None:
        self._link = link

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: object) -> None:
        if kind is not None:
            self._link.fail(ConnectionLost("The program was interrupted while it dealt with the server's bytes"))
