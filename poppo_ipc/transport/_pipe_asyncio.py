"""Named pipes on asyncio, for clients: the stream, and connecting.

The proactor's own pipe transport reads, from a pipe that we opened: what it opens itself would let the server act as
us. Its counterpart for writing reads too, to see the end, and would take bytes away; so writes are ours. To wait for
room is rare, and takes a thread for as long.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import asyncio
from collections.abc import Collection
from typing import Final

import anyio
from anyio import BrokenResourceError
from anyio.lowlevel import checkpoint

from ..errors import TransportUnsupported
from ._address import Address
from ._contract import Stream
from ._peer import PeerCredentials
from ._pipe_end import PipeEnd
from ._pipe_stream import EndStream, open_trusted

__all__ = ["PipeStream", "connect_pipe"]

# Bytes read ahead of the program before the reading pauses.
_AHEAD_BYTES: Final = 65536


class _Pipe:
    """An end in the form that the transport reads and closes: an object like a file.

    The transport closes it as soon as the peer has gone, and the stream whenever it likes. The last of them closes the
    end, so that neither has a handle that has come to belong to something else.
    """

    def __init__(self, end: PipeEnd) -> None:
        self.end = end
        self._users = 2

    def fileno(self) -> int:
        """The handle."""
        return self.end.handle

    def close(self) -> None:
        """One user less. Called once by each."""
        self._users -= 1
        if not self._users:
            self.end.close()


class _Reader(asyncio.Protocol):
    """Keeps what the transport reads until it is pulled."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.broken: Exception | None = None
        self._transport: asyncio.ReadTransport | None = None
        self._paused = False
        self._arrived: anyio.Event | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.ReadTransport)
        if not hasattr(transport, "_empty_waiter"):
            # Asyncio looks at this when a read fails, in transports too that have no such thing, and where it is
            # missing never tells us of the failure: seen in Python 3.8 to 3.13.
            vars(transport)["_empty_waiter"] = None
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) >= _AHEAD_BYTES and not self._paused:
            self._paused = True
            self._reading.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        # Where the peer has closed, Windows says that the pipe is broken, and asyncio passes that on.
        if exc is None or isinstance(exc, BrokenPipeError):
            self.ended = True
        else:
            self.broken = exc
        self._wake()

    def take(self, max_bytes: int) -> bytes:
        """At most `max_bytes` of what is there."""
        data = bytes(self.data[:max_bytes])
        del self.data[:max_bytes]
        if self._paused and len(self.data) < _AHEAD_BYTES:
            self._paused = False
            self._reading.resume_reading()
        return data

    async def wait(self) -> None:
        """Wait until there is something to take, an end, a breakdown, or `close`. Always lets other tasks run."""
        if self.data or self.ended or self.broken is not None:
            await checkpoint()
            return
        self._arrived = anyio.Event()
        try:
            await self._arrived.wait()
        finally:
            self._arrived = None

    def close(self) -> None:
        """Close the pipe, and wake who waits."""
        if self._transport is not None:
            self._transport.close()
        self._wake()

    @property
    def _reading(self) -> asyncio.ReadTransport:
        assert self._transport is not None
        return self._transport

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()


class PipeStream(EndStream):
    """A connected end of a pipe, owned by the stream."""

    def __init__(self, pipe: _Pipe, reader: _Reader, address: Address, peer: PeerCredentials) -> None:
        super().__init__(pipe.end, address, peer)
        self._pipe = pipe
        self._reader = reader

    @classmethod
    async def over(cls, end: PipeEnd, address: Address, peer: PeerCredentials) -> PipeStream:
        """A stream over `end`, taken over whatever happens. Raises TransportUnsupported on a loop without pipes."""
        pipe = _Pipe(end)
        try:
            try:
                _, reader = await asyncio.get_running_loop().connect_read_pipe(_Reader, pipe)
            except NotImplementedError:
                raise TransportUnsupported(
                    f"This event loop has no named pipes, so {address} cannot be used: use asyncio's own loop for "
                    "Windows, ProactorEventLoop, or Trio"
                ) from None
        except BaseException:
            # The transport's part in it, where there was one, closes on its own.
            end.close()
            raise
        return cls(pipe, reader, address, peer)

    def _pull(self, max_bytes: int) -> bytes | None:
        reader = self._reader
        if reader.data:
            return reader.take(max_bytes)
        if reader.broken is not None:
            raise BrokenResourceError from reader.broken
        return b"" if reader.ended else None

    async def _until_readable(self) -> None:
        await self._reader.wait()
        self._check_open()

    def _shut(self) -> None:
        self._room.wake()
        self._reader.close()
        self._pipe.close()


async def connect_pipe(address: Address, trusted_uids: Collection[int | str] | None) -> Stream:
    """`connect` for named pipes on asyncio."""
    end, peer = await open_trusted(address, trusted_uids)
    return await PipeStream.over(end, address, peer)
