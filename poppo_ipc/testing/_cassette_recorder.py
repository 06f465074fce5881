"""A proxy before a real daemon that writes down what passes, and changes nothing of it."""

from __future__ import annotations

import contextlib
import json
from typing import Final

import anyio
import trio
from anyio.abc import AsyncResource

from poppo_ipc.errors import BadFrame, ConnectFailed, FrameTooLarge, PoppoError
from poppo_ipc.protocol._frames import FrameDecoder
from poppo_ipc.testing._cassette_tape import Entry, Message, Tape, Track
from poppo_ipc.transport import Address, Stream, connect, listen

__all__ = ["GONE", "Reader", "Recorder", "close"]

_LIMIT: Final = 2**32 - 1
GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
#: Streams and listeners close at once, without waiting for anybody: this is for one that does not.
_CLOSE_SECONDS: Final = 2.0


async def close(resource: AsyncResource) -> None:
    """Close it, within 2 s. Shielded from cancellation."""
    with trio.move_on_after(_CLOSE_SECONDS, shield=True):
        await resource.aclose()


class Reader:
    """Bytes to messages, of any size."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()

    @property
    def error(self) -> BadFrame | FrameTooLarge | None:
        """Why nothing comes any more: what followed is no frame."""
        return self._decoder.error

    def payloads(self, data: bytes) -> list[bytes | bytearray]:
        """What the frames hold that are whole by now."""
        self._decoder.feed(data)
        return self._decoder.drain(_LIMIT)

    def read(self, data: bytes) -> list[Message]:
        """The messages that are whole by now; what is none is left out."""
        found = []
        for payload in self.payloads(data):
            try:
                message = json.loads(payload)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict):
                found.append(message)
        return found


class Recorder:
    """Takes connections, makes one to the daemon for each, and keeps their messages in `tape`."""

    def __init__(self, upstream: Address) -> None:
        self.tape = Tape()
        self._upstream = upstream
        self._failures: list[PoppoError | OSError] = []

    @property
    def problems(self) -> list[str]:
        """Why the daemon could not be reached, each reason once; that it was away until a later connection is none."""
        return list(dict.fromkeys(f"the daemon could not be reached: {failure}" for failure in self._failures))

    async def serve(self, address: Address, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started()` once clients can connect. Raises what `listen` raises."""
        listener = await listen(address)
        try:
            task_status.started()
            await listener.serve(self._pass_on)
        finally:
            await close(listener)

    async def _pass_on(self, client: Stream) -> None:
        try:
            server = await self._reach()
            if server is not None:
                await self._record(client, server)
        finally:
            await close(client)  # where there is no daemon, as one that is not there

    async def _reach(self) -> Stream | None:
        try:
            server = await connect(self._upstream)
        except (PoppoError, OSError) as error:
            self._failures.append(error)
            return None
        # A daemon that starts anew is away for a moment, and the client that asks again gets by without it.
        self._failures = [each for each in self._failures if not (isinstance(each, ConnectFailed) and each.retryable)]
        return server

    async def _record(self, client: Stream, server: Stream) -> None:
        track = Track()
        self.tape.tracks.append(track)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, "client", client, server, track, nursery)
                nursery.start_soon(self._copy, "server", server, client, track, nursery)
        finally:
            await close(server)

    async def _copy(self, side: str, source: Stream, target: Stream, track: Track, nursery: trio.Nursery) -> None:
        reader = Reader()
        try:
            while True:
                data = await source.receive()
                # Before it is passed on: an answer to it must not be written down first.
                track.entries += [Entry(side, message) for message in reader.read(data)]
                await target.send(data)
        except anyio.EndOfStream:
            if side == "client":
                track.client_ended = True
                if target.half_closes:
                    with contextlib.suppress(*GONE):
                        await target.send_eof()  # the daemon may still have to say something
                    return
            elif not track.client_ended:
                track.entries.append(Entry("server", None))
        except GONE:
            pass
        nursery.cancel_scope.cancel()
