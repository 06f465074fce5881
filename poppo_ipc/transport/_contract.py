"""What a stream and a listener promise, whatever carries the bytes. Each kind of transport obeys this text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import ByteStream, TaskGroup
from anyio.abc import Listener as AnyioListener

from ._accept import accept_retrying
from ._address import Address
from ._peer import PeerCredentials

__all__ = ["Listener", "Stream"]


class Stream(ByteStream):
    """A two-way stream of bytes to one peer on this machine, for Trio and asyncio.

    One task may receive while another sends; two tasks in the same direction are a mistake of the program and get
    `anyio.BusyResourceError`. All methods belong to the event loop's thread.

    Three errors tell what became of a stream, in every method: `anyio.ClosedResourceError`, we closed it (or, when
    sending, ended it by `send_eof`); `anyio.BrokenResourceError`, the peer or the system broke it, or a write was torn;
    `anyio.EndOfStream`, only when receiving, the peer said that it sends no more.
    """

    @property
    def half_closes(self) -> bool:
        """Whether `send_eof` tells the peer at once. Where not, the peer hears of it when the stream is closed."""
        return True

    @property
    @abstractmethod
    def peer(self) -> PeerCredentials:
        """The process at the other end, asked for once when the connection was made."""

    @property
    @abstractmethod
    def address(self) -> Address:
        """The address that was listened on, the same at both ends."""

    @abstractmethod
    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Wait for bytes and return what is there, at least one byte and at most `max_bytes`.

        A cancelled receive loses nothing: what it would have returned, the next one returns. This holds for asyncio's
        own `Task.cancel` too.

        Raises:
            ValueError: `max_bytes` is under 1.
            anyio.EndOfStream: the peer sends no more; all that it sent has been received.
            anyio.BrokenResourceError: the connection broke, after all that could be received was.
            anyio.ClosedResourceError: this stream is closed, also when that happens during the wait.
            anyio.BusyResourceError: another task is receiving or in `wait_readable`.
        """

    @abstractmethod
    def receive_nowait(self, max_bytes: int = 65536) -> bytes | None:
        """What is there now, at most `max_bytes` bytes; None if nothing is, `b""` at the end of the stream.

        Raises ValueError, BrokenResourceError, ClosedResourceError and BusyResourceError as `receive` does.
        """

    @abstractmethod
    async def wait_readable(self) -> None:
        """Wait until `receive_nowait` would not return None: for bytes, the end, or a breakdown.

        Wakes without reason at times. Cancellation leaves nothing behind. Raises ClosedResourceError and
        BusyResourceError as `receive` does.
        """

    def fileno(self) -> int | None:
        """A descriptor that can be waited for, in place of `wait_readable`, as long as this is open and nothing was
        received by `receive`; None where the transport has none.
        """
        return None

    @abstractmethod
    async def send(self, item: bytes | bytearray | memoryview) -> None:
        """Hand the whole of `item` to the transport, waiting while the peer reads too slowly. It is not copied first.

        Any exception after the first byte has gone, cancellation included, dooms the stream: what the peer has is
        torn, so each later send raises BrokenResourceError. Before the first byte, cancellation leaves no trace.
        A send that returns says that the bytes are on their way, not that the peer took them.

        Raises:
            anyio.BrokenResourceError: the peer takes no more bytes, or an earlier send was torn.
            anyio.ClosedResourceError: this stream is closed, also when that happens during the wait, or ended.
            anyio.BusyResourceError: another task is sending, in `wait_writable` or in `send_eof`.
        """

    @abstractmethod
    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Hand over as much of `data` as there is room for now and return how many bytes that was; 0 if there is none.

        The rest has to be sent by the caller: a part is not torn until the caller gives up. Raises
        BrokenResourceError, ClosedResourceError and BusyResourceError as `send` does.
        """

    @abstractmethod
    async def wait_writable(self) -> None:
        """Wait until `send_nowait` would take a byte, or raise.

        Wakes without reason at times. Cancellation leaves nothing behind. Raises ClosedResourceError and
        BusyResourceError as `send` does, and may raise BrokenResourceError.
        """

    @abstractmethod
    async def send_eof(self) -> None:
        """Tell the peer that no more bytes come; receiving goes on. Does nothing when told again.

        Windows' named pipes cannot tell (`half_closes` is False): there this waits until the system has taken all that
        was sent, and the peer hears of the end when the stream is closed, which can be right away: what was sent can
        still be read.

        Raises:
            anyio.BrokenResourceError: an earlier send was torn, and an orderly end would hide that.
            anyio.ClosedResourceError: this stream is closed.
            anyio.BusyResourceError: another task is sending or in `wait_writable`.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close at once, without waiting for the peer; what was sent still arrives there. Idempotent.

        On a named pipe the last 64 KiB of it do only while this process lives, and if the peer reads them within 5 s;
        `send_eof` before waits until that is no matter any more.

        A task that waits in another method is woken with ClosedResourceError. When cancelled, closes all the same.
        """


class Listener(AnyioListener[Stream]):
    """A place where clients connect, for Trio and asyncio."""

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where this listens, as clients write it."""

    @abstractmethod
    async def accept(self) -> Stream:
        """Wait for a client and return the stream to it. The caller closes that stream.

        A cancelled accept loses no client: the next accept returns it.

        Raises:
            OSError: the client could not be accepted. The listener still listens; `accept_retrying` knows which of
                these to wait out.
            anyio.ClosedResourceError: the listener is closed, also when that happens during the wait.
            anyio.BusyResourceError: another task is accepting.
        """

    async def serve(self, handler: Callable[[Stream], Any], task_group: TaskGroup | None = None) -> None:
        """Accept clients for ever and start `handler(stream)` for each in `task_group`, or in a group of its own.

        Outlives shortages as `accept_retrying` does. The handler closes its stream; an exception that leaves it
        cancels the group and so ends this call. Ends by cancellation, or with ClosedResourceError once the listener
        is closed (within an exception group, where the task group is this call's own).
        """
        if task_group is None:
            async with anyio.create_task_group() as own:
                await self.serve(handler, own)
            return
        while True:
            task_group.start_soon(handler, await accept_retrying(self))

    @abstractmethod
    def still_bound(self) -> bool:
        """Whether a client that connects to `address` now would come here, as far as the file system tells.

        False when the socket was deleted or replaced, as by a cleaner of temporary files, and when this is closed.
        """

    @abstractmethod
    def heal(self) -> bool:
        """Make `address` lead here again if something deleted it; True if that was needed.

        Where all is well, freshens the time stamps that cleaners of temporary files go by. Clients that connected
        before the loss are served. Call it now and then, from the event loop's thread.

        Raises:
            AddressInUse: another live server has the address now. This one can no longer be reached.
            AddressError: the address cannot be bound any more. Nothing was changed.
            OSError: the system refused. Nothing was changed.
            anyio.ClosedResourceError: the listener is closed.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Stop listening and give the address free. Idempotent; when cancelled, closes all the same.

        Accepted streams live on. Clients that wait to be accepted are cut off. A task that waits in `accept` is
        woken with ClosedResourceError. Only what this listener made is deleted.
        """
