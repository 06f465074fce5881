"""Named pipes on Trio: the stream, connecting, and the listener.

What waits for bytes and for clients is an operation whose completion comes through Trio's own I/O completion port. To
wait for room is rare, and takes a thread for as long: the write that it waits for may end when nobody waits, which is
what a port of Trio's cannot bear.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import ctypes
import errno
from collections.abc import Collection
from contextlib import suppress

import trio
from anyio import BrokenResourceError, ClosedResourceError, ResourceGuard

from .._win32.calls import Overlapped
from .._win32.pipes import cancel, connect_instance, has_gone
from ._address import Address
from ._contract import Listener, Stream
from ._peer import PeerCredentials
from ._pipe_claim import PipeClaim
from ._pipe_end import PipeEnd
from ._pipe_open import client_credentials, make_instance, shortage
from ._pipe_stream import EndStream, open_trusted

__all__ = ["PipeListener", "PipeStream", "connect_pipe", "listen_pipe"]


class _Waits:
    """An end that tasks wait for, and its safe close: Trio needs the handle as long as an operation is waited for."""

    def __init__(self, end: PipeEnd) -> None:
        self.end = end
        self._operation: Overlapped | None = None
        self._closed = False
        trio.lowlevel.register_with_iocp(end.handle)

    async def completion(self, operation: Overlapped) -> None:
        """Wait until `operation` is over, well or not. Cancelled, it is given up. Raises ClosedResourceError."""
        self._operation = operation
        try:
            with suppress(OSError, trio.ClosedResourceError):
                await trio.lowlevel.wait_overlapped(self.end.handle, ctypes.addressof(operation))
        finally:
            self._operation = None
            if self._closed:
                self.end.close()
        self._check_open()

    def close(self) -> None:
        """Close the end, and wake who waits with ClosedResourceError. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._operation is not None:
            cancel(self.end.handle, self._operation)
        else:
            self.end.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError


class PipeStream(EndStream):
    """A connected end of a pipe, owned by the stream."""

    def __init__(self, waits: _Waits, address: Address, peer: PeerCredentials) -> None:
        super().__init__(waits.end, address, peer)
        self._waits = waits
        self._broken = False

    def _pull(self, max_bytes: int) -> bytes | None:
        if self._broken:
            raise BrokenResourceError
        try:
            return self._end.pull(max_bytes)
        except OSError as exc:
            self._broken = True
            raise BrokenResourceError from exc

    # Ctrl-C must not come between the begin of an operation and the wait that keeps its memory.
    @trio.lowlevel.enable_ki_protection
    async def _until_readable(self) -> None:
        operation = self._end.begin_wait(told=True)
        if operation is None:
            await trio.lowlevel.checkpoint()
        else:
            await self._waits.completion(operation)

    def _shut(self) -> None:
        self._room.wake()
        self._waits.close()


async def connect_pipe(address: Address, trusted_uids: Collection[int | str] | None) -> Stream:
    """`connect` for named pipes on Trio."""
    end, peer = await open_trusted(address, trusted_uids)
    try:
        return PipeStream(_Waits(end), address, peer)
    except BaseException:
        end.close()
        raise


class _Instance:
    """A server's end that waits for a client."""

    def __init__(self, address: Address, *, first: bool) -> None:
        handle = make_instance(address, first=first)
        try:
            end = PipeEnd(handle)
            try:
                self.waits = _Waits(end)
            except BaseException:
                end.close()
                raise
        except OSError as exc:
            raise shortage(exc) from exc
        self._come = False

    # Ctrl-C must not come between the begin of an operation and the wait that keeps its memory.
    @trio.lowlevel.enable_ki_protection
    async def client(self) -> None:
        """Wait until a client has come. Cancelled, it waits for one all the same, and so loses none.

        Always lets other tasks run. Raises ClosedResourceError, and OSError where there can be none.
        """
        if not self._come:
            operation = Overlapped()
            if connect_instance(self.waits.end.handle, operation):
                # Where a cancellation comes too late, this returns as if there were none.
                await self.waits.completion(operation)
                self._come = True
                return
            self._come = True
        await trio.lowlevel.checkpoint()


class PipeListener(Listener):
    """A named pipe. One instance of it always waits for a client, so that it is never absent."""

    def __init__(self, address: Address, claim: PipeClaim) -> None:
        self._address = address
        self._claim = claim
        self._instance = _Instance(address, first=True)
        self._accepting = ResourceGuard("accepting from")
        self._paused: trio.Event | None = None
        self._closed = False

    @property
    def address(self) -> Address:
        return self._address

    async def accept(self) -> Stream:
        with self._accepting:
            await trio.lowlevel.checkpoint()
            self._check_open()
            await self._come()
            self._check_open()
            # No await from here on: a cancellation would lose the client. If there can be no next instance, this
            # raises why, and the client goes on waiting.
            taken, self._instance = self._instance.waits, _Instance(self._address, first=False)
            try:
                return PipeStream(taken, self._address, client_credentials(taken.end.handle))
            except OSError as exc:
                taken.close()
                raise ConnectionAbortedError(errno.ECONNABORTED, "the client has gone") from exc

    async def _come(self) -> None:
        """Wait until the instance has a client."""
        while True:
            # First: that of a pause is closed.
            if self._paused is not None:
                await self._paused.wait()
                self._check_open()
                continue
            instance = self._instance
            try:
                await instance.client()
            except ClosedResourceError:
                if self._closed:
                    raise
            except OSError as exc:
                if not has_gone(exc):
                    raise shortage(exc) from exc
            if self._paused is None and instance is self._instance:
                return

    def pause(self) -> None:
        """Take no client until `resume`, for tests of clients: who connects meanwhile finds no pipe.

        Or one whose instances are all taken, where clients are connected still: an instance lives as long as they do.
        """
        if self._paused is None and not self._closed:
            self._paused = trio.Event()
            self._instance.waits.close()

    def resume(self) -> None:
        """Take clients again."""
        if self._paused is not None and not self._closed:
            self._instance = _Instance(self._address, first=False)
            self._paused.set()
            self._paused = None

    def still_bound(self) -> bool:
        return not self._closed

    def heal(self) -> bool:
        self._check_open()
        return False

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            if self._paused is not None:
                self._paused.set()
            try:
                self._instance.waits.close()
            finally:
                self._claim.release()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError


async def listen_pipe(address: Address) -> Listener:
    """`listen` for named pipes on Trio."""
    await trio.lowlevel.checkpoint()
    claim = PipeClaim.take(address)
    try:
        return PipeListener(address, claim)
    except BaseException:
        claim.release()
        raise
