"""One connection to a server on an event loop: its handshake, one reader, one writer, one end."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from poppo_ipc.client._call import Call
from poppo_ipc.client._engine import Engine
from poppo_ipc.client._handshake import Handshake
from poppo_ipc.client._heartbeat import Beat, Heartbeat
from poppo_ipc.client._options import Options
from poppo_ipc.client._outbox import Outbox
from poppo_ipc.client._session import Session
from poppo_ipc.errors import ConnectionLost, PoppoError
from poppo_ipc.protocol import ClientConnection, Received
from poppo_ipc.transport import Stream

__all__ = ["Link"]

_READ_BYTES = 64 * 1024


class Link:
    """Moves the bytes of one session between a stream and the engine. The owner closes the stream.

    All tasks of a link live inside `run`. A write is tried at once where none is under way, so that a call costs no
    change of tasks; what the system does not take goes to the writer, and so do the calls of many tasks at once.
    """

    def __init__(self, stream: Stream, engine: Engine, options: Options, token: str | None) -> None:
        self._stream = stream
        self._engine = engine
        self._options = options
        self._connection = ClientConnection(frame_bytes=options.frame_bytes)
        self._handshake = Handshake(self._connection, options, token, stream.peer.pid)
        self._outbox = Outbox()
        self._writing = False  # the system takes no more just now, and the writer waits until it does
        self._soon = False  # the writer has been woken, and its turn has not come yet
        self._write = anyio.Event()
        self._idle = anyio.Event()
        self._error: PoppoError | None = None
        self._scope = anyio.CancelScope()
        self._heartbeat = Heartbeat(options.ping_seconds, anyio.current_time())

    @property
    def heard(self) -> float:
        """When the last byte came, by the event loop's clock."""
        return self._heartbeat.heard

    @property
    def failed(self) -> bool:
        """Whether this link has come to its end."""
        return self._error is not None

    async def settle(self) -> Session:
        """Go through the handshake. Raises the error that ends it. When cancelled, the stream has to be closed."""
        deadline = self._options.handshake_seconds
        with anyio.move_on_after(deadline):
            return await self._settle()
        raise ConnectionLost(
            f"The server did not finish the handshake within {deadline:g} s", remedy="try again", timed_out=True
        )

    async def _settle(self) -> Session:
        handshake = self._handshake
        try:
            while handshake.session is None:
                data = await self._stream.receive(_READ_BYTES)
                reply = handshake.receive(self._connection.receive_data(data))
                if reply is not None:
                    await self._stream.send(reply)
        except EndOfStream:
            raise handshake.eof() from None
        except (BrokenResourceError, ClosedResourceError) as exc:
            raise ConnectionLost("The connection broke during the handshake", remedy="try again") from exc
        return handshake.session

    async def run(self, begun: Callable[[], None]) -> PoppoError:
        """Carry the session until it ends, and return why. `begun` is called once calls can go out."""
        session = self._handshake.session
        assert session is not None
        self._heartbeat.alive(anyio.current_time())
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write_on)
                if session.has_ping:
                    tasks.start_soon(self._beat)
                self._engine.flush = self.flush
                self._engine.flush_soon = self.flush_soon
                self._engine.begin(self._connection, session, self._outbox)
                begun()
                self._take(self._handshake.rest)
                self.flush()
                await self._read_on()
        self._connection.closed()
        return self._error or ConnectionLost("The connection was closed")

    def fail(self, error: PoppoError) -> None:
        """End the session. Only the first reason counts."""
        if self._error is None:
            self._error = self._engine.parting(error)
            self._scope.cancel()
            self._idle.set()

    async def drain(self) -> None:
        """Wait until all that is queued has been handed over, or the link has ended."""
        while self._writing and self._error is None:
            self._idle = anyio.Event()
            await self._idle.wait()

    # -- reading ------------------------------------------------------------------------------------------------

    async def _read_on(self) -> None:
        stream = self._stream
        while self._error is None:
            try:
                # As a rule there is nothing yet when this comes round, so it waits first: that is also the checkpoint.
                await stream.wait_readable()
                data = stream.receive_nowait(_READ_BYTES)
            except (BrokenResourceError, ClosedResourceError) as exc:
                self._broken(exc)
                return
            if data:
                self._heartbeat.alive(anyio.current_time())
                self._take(self._connection.receive_data(data))
            elif data is not None:
                self.fail(self._connection.receive_eof() or ConnectionLost("The server closed the connection"))

    def _take(self, received: list[Received]) -> None:
        error = self._engine.receive(received)
        if error is not None:
            self.fail(error)

    def _broken(self, cause: Exception) -> None:
        error = ConnectionLost("The connection broke")
        error.__cause__ = cause
        self.fail(error)

    # -- writing ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand over what the system takes at once; the writer sees to the rest. Never waits."""
        if self._writing or self._error is not None:
            return
        outbox = self._outbox
        try:
            while outbox:
                chunk = outbox.chunk()
                sent = self._stream.send_nowait(chunk)
                outbox.sent(sent)
                if sent < len(chunk):
                    self._writing = True
                    self._write.set()
                    return
        except (BrokenResourceError, ClosedResourceError) as exc:
            self._broken(exc)

    def flush_soon(self) -> None:
        """Have the writer hand over what is queued by its next turn: one write for the calls of many tasks."""
        if not self._writing and not self._soon and self._error is None:
            self._soon = True
            self._write.set()

    async def _write_on(self) -> None:
        while True:
            await self._write.wait()
            self._write = anyio.Event()
            self._soon, self._writing = False, True
            await self._write_out()
            self._writing = False
            self._idle.set()

    async def _write_out(self) -> None:
        outbox, stream = self._outbox, self._stream
        try:
            while outbox:
                chunk = outbox.chunk()
                sent = stream.send_nowait(chunk)
                outbox.sent(sent)
                if sent < len(chunk):
                    await stream.wait_writable()
        except (BrokenResourceError, ClosedResourceError) as exc:
            self._broken(exc)
            await anyio.sleep(math.inf)  # the scope of the link is cancelled: this ends here

    # -- signs of life --------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await anyio.sleep_until(self._heartbeat.due)
            match self._heartbeat.beat(anyio.current_time()):
                case Beat.PING:
                    self._engine.ping(Call("ping", None))
                case Beat.DEAD:
                    silence = anyio.current_time() - self._heartbeat.heard
                    self.fail(ConnectionLost(f"The server has been silent for {silence:.0f} s, pings included"))
                    return
                case Beat.NOTHING:
                    pass
