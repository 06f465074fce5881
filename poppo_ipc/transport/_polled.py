"""The logic of a stream, over transports that can be asked what they have and be waited for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable
from typing import final

from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from ._address import Address
from ._contract import Stream
from ._peer import PeerCredentials

__all__ = ["PolledStream"]


class _Direction:
    """One task at a time, as `anyio.ResourceGuard`; what does not wait only looks whether it is `busy`."""

    __slots__ = ("_doing", "busy")

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self.busy = False

    def __enter__(self) -> None:
        if self.busy:
            self.refuse()
        self.busy = True

    def __exit__(self, *_: object) -> None:
        self.busy = False

    def refuse(self) -> None:
        """Say that another task is at it."""
        raise BusyResourceError(self._doing)


class PolledStream(Stream):
    """A stream made of six primitives: two that never wait, two that only wait, and two ways to end.

    Who may call what in which state is decided here, so the primitives need not check for a closed stream.
    """

    def __init__(self, address: Address, peer: PeerCredentials) -> None:
        self._address = address
        self._peer = peer
        self._receiving = _Direction("receiving from")
        self._sending = _Direction("sending to")
        # Taken from the transport and not returned yet. Bytes are parked here before any await, because on asyncio
        # even a shielded await can be cancelled natively and would take them along.
        self._parked = b""
        self._closed = False
        self._eof_sent = False
        self._doomed = False

    @abstractmethod
    def _pull(self, max_bytes: int) -> bytes | None:
        """As `receive_nowait`, on an open stream."""

    @abstractmethod
    def _push(self, data: bytes | bytearray | memoryview) -> int:
        """As `send_nowait`, on an open stream; `data` is not empty, and a view is one of bytes."""

    @abstractmethod
    def _until_readable(self) -> Awaitable[None]:
        """As `wait_readable`; always lets other tasks run."""

    @abstractmethod
    def _until_writable(self) -> Awaitable[None]:
        """As `wait_writable`; always lets other tasks run."""

    def _unwritten(self) -> bool:
        """Whether bytes that `_push` took still wait for room in the transport; `_until_writable` ends when not."""
        return False

    @abstractmethod
    def _finish(self) -> None:
        """Tell the peer that no more bytes come. Called once."""

    @abstractmethod
    def _shut(self) -> None:
        """Close and wake all who wait. Called once."""

    @property
    @final
    def peer(self) -> PeerCredentials:
        return self._peer

    @property
    @final
    def address(self) -> Address:
        return self._address

    @final
    async def receive(self, max_bytes: int = 65536) -> bytes:
        _check_size(max_bytes)
        with self._receiving:
            if not self._parked:
                await checkpoint_if_cancelled()
                self._check_open()
                data = self._pull(max_bytes)
                if data is None:
                    while data is None:
                        await self._until_readable()
                        self._check_open()
                        data = self._pull(max_bytes)
                    # That wait was the checkpoint; there must be no other between taking bytes and returning them.
                    if not data:
                        raise EndOfStream
                    return data
                self._parked = data
            await checkpoint()
            self._check_open()
            if not self._parked:
                raise EndOfStream
            return self._unpark(max_bytes)

    @final
    def receive_nowait(self, max_bytes: int = 65536) -> bytes | None:
        if max_bytes < 1:
            _check_size(max_bytes)
        if self._receiving.busy:
            self._receiving.refuse()
        if self._closed:
            raise ClosedResourceError
        return self._unpark(max_bytes) if self._parked else self._pull(max_bytes)

    @final
    async def wait_readable(self) -> None:
        with self._receiving:
            self._check_open()
            if self._parked:
                await checkpoint()
            else:
                await self._until_readable()

    @final
    async def send(self, item: bytes | bytearray | memoryview) -> None:
        view = memoryview(item).cast("B")
        with self._sending:
            await checkpoint_if_cancelled()
            self._check_sendable()
            sent = 0
            waited = False
            try:
                while sent < len(view):
                    # Slicing a view costs less than a call of the transport, but most items go in one piece.
                    taken = self._push(view[sent:] if sent else view)
                    if taken:
                        sent += taken
                    else:
                        waited = True
                        await self._until_writable()
                        self._check_sendable()
                if not waited:
                    await cancel_shielded_checkpoint()
            except BaseException:
                if sent:
                    self._doomed = True
                raise

    @final
    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        if type(data) is not bytes and type(data) is not bytearray:
            data = memoryview(data).cast("B")
        if self._sending.busy:
            self._sending.refuse()
        if self._closed or self._eof_sent or self._doomed:
            self._check_sendable()
        return self._push(data) if data else 0

    @final
    async def wait_writable(self) -> None:
        with self._sending:
            self._check_sendable()
            await self._until_writable()

    @final
    async def send_eof(self) -> None:
        with self._sending:
            await checkpoint()
            self._check_open()
            if self._eof_sent:
                return
            self._check_sendable()
            while self._unwritten():
                await self._until_writable()
                self._check_sendable()
            self._eof_sent = True
            self._finish()

    @final
    async def aclose(self) -> None:
        self.close_nowait()
        await checkpoint()

    @final
    def close_nowait(self) -> None:
        """Close without letting other tasks run. Idempotent."""
        if not self._closed:
            self._closed = True
            self._parked = b""
            self._shut()

    def _unpark(self, max_bytes: int) -> bytes:
        data, self._parked = self._parked[:max_bytes], self._parked[max_bytes:]
        return data

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError

    def _check_sendable(self) -> None:
        if self._closed or self._eof_sent:
            raise ClosedResourceError
        if self._doomed:
            raise BrokenResourceError("an earlier send failed or was interrupted")


def _check_size(max_bytes: int) -> None:
    if max_bytes < 1:
        raise ValueError("max_bytes must be at least 1")
