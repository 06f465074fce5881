"""The one place that writes to a client: what the kernel takes now goes at once, the rest from a task of its own.

That task lives only while something is left over, so a client that keeps up costs no second task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import anyio
import trio

from poppo_ipc.server._outbox import Batch, EventFrame, Outbox
from poppo_ipc.transport import Stream

__all__ = ["Writer"]


class Writer:
    """Writes `outbox` to `stream`. A failed or cancelled write dooms the stream: `on_lost(reason)` is called, once.

    `stall_seconds` is the time that a client with a full outbox may take no byte.
    """

    __slots__ = (
        "_crowded_since", "_ended", "_nursery", "_on_lost", "_outbox", "_progress", "_progress_at", "_rest", "_stall",
        "_stall_seconds", "_stream", "bytes_out", "lost",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        outbox: Outbox,
        nursery: trio.Nursery,
        stall_seconds: float,
        on_lost: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._outbox = outbox
        self._nursery = nursery
        self._stall_seconds = stall_seconds
        self._on_lost = on_lost
        self._rest: memoryview | None = None  # what a write left over; while it is set, a task writes
        self._progress: trio.Event | None = None
        self._progress_at = 0.0
        self._crowded_since = math.inf
        self._stall: trio.CancelScope | None = None
        self._ended = False
        self.bytes_out = 0
        self.lost = False

    @property
    def busy(self) -> bool:
        """Whether something waits to be written."""
        return self._rest is not None or bool(self._outbox)

    @property
    def blocked(self) -> bool:
        """Whether something is left over that a task has to write first."""
        return self._rest is not None

    def flush(self) -> None:
        """Write what is queued, as far as that goes without waiting; a task sees to the rest."""
        if self._rest is not None:
            self._watch_stall()
            return
        if self.lost or self._ended or not self._outbox:
            return
        chunk = self._outbox.take()
        sent = self._send(chunk)
        if self.lost:
            return
        self._wrote(sent)
        if sent < len(chunk) or self._outbox:
            self._leave(memoryview(chunk)[sent:])

    def write_past(self, batch: Batch) -> Sequence[EventFrame]:
        """Write events at once where nothing is queued or being written; gives those that have to be queued.

        What is left of the last event that was begun is written next, by a task, and can no longer be dropped. Those
        that are given back can: they belong in the outbox, and `flush` has to follow.
        """
        if self._rest is not None or self._outbox.bytes or self.lost or self._ended:
            return batch.events
        data = batch.data
        sent = self._send(data)
        self.bytes_out += sent
        if sent == len(data) or self.lost:
            return ()
        end, behind = batch.after(sent)
        self._outbox.begun(end - sent)
        self._leave(memoryview(data)[sent:end])
        return behind

    def _send(self, data: bytes) -> int:
        try:
            return self._stream.send_nowait(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._lose("the connection broke")
            return 0

    def _leave(self, rest: memoryview) -> None:
        """Have a task write what is left over, and what is queued behind it."""
        self._rest = rest
        self._progress_at = trio.current_time()
        self._watch_stall()
        self._nursery.start_soon(self._drain)

    async def end(self) -> None:
        """Wait until all is written, and tell the client that no more comes. A second time it does nothing."""
        while self.busy and not self.lost and not self._ended:
            self.flush()
            if self.busy and not self.lost:
                await self._progressed()
        if self.lost or self._ended:
            return
        # From here on nobody writes: a flush in the middle of the stream's own goodbye would be a second writer.
        self._ended = True
        try:
            await self._stream.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._lose("the connection broke")

    async def room(self) -> None:
        """Wait until the outbox is not full, or the client is lost."""
        while self._outbox.full and not self.lost:
            self.flush()
            if self._outbox.full and not self.lost:
                await self._progressed()

    def stop(self) -> None:
        """The connection is over: wake who waits, write no more."""
        self.lost = True
        self._outbox.clear()
        self._wake()

    async def _progressed(self) -> None:
        if self._progress is None:
            self._progress = trio.Event()
        await self._progress.wait()

    def _wake(self) -> None:
        if self._progress is not None:
            self._progress.set()
            self._progress = None

    def _wrote(self, size: int) -> None:
        self._outbox.wrote(size)
        self.bytes_out += size
        if not self._outbox.crowded:
            self._crowded_since = math.inf
        self._wake()

    def _lose(self, reason: str) -> None:
        if not self.lost:
            self.stop()
            self._on_lost(reason)

    def _watch_stall(self) -> None:
        """A full outbox starts the clock: from then, or from the last byte taken, whichever came later."""
        if self._outbox.crowded and self._crowded_since == math.inf:
            self._crowded_since = trio.current_time()
            if self._stall is not None:
                self._stall.deadline = self._stall_deadline()

    def _stall_deadline(self) -> float:
        return max(self._crowded_since, self._progress_at) + self._stall_seconds

    async def _drain(self) -> None:
        try:
            while self._rest is not None and not self.lost:
                await self._write(self._rest)
                if self.lost:
                    break
                self._rest = memoryview(self._outbox.take()) if self._outbox else None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._lose("the connection broke")
        except BaseException:
            # Cancelled in the middle of a frame: not another byte may follow.
            self.stop()
            raise
        finally:
            self._rest = None
            self._wake()

    async def _write(self, data: memoryview) -> None:
        while data and not self.lost:
            sent = self._stream.send_nowait(data)
            if sent:
                data = data[sent:]
                self._progress_at = trio.current_time()
                self._wrote(sent)
                continue
            with trio.CancelScope(deadline=self._stall_deadline()) as self._stall:
                await self._stream.wait_writable()
            if self._stall.cancelled_caught:
                # Only a write makes room, and it moves the deadline: so the outbox has been full all the time.
                self._lose("it took no byte of a full outbox")
