"""What connecting to a named pipe, and the stream over one, are on any event loop."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

from collections.abc import Collection

import anyio
from anyio import BrokenResourceError
from anyio.lowlevel import checkpoint

from ._address import Address
from ._peer import PeerCredentials
from ._pipe_end import PipeEnd
from ._pipe_open import open_end, trusted_server
from ._pipe_room import Room
from ._pipe_rules import busy_waits
from ._polled import PolledStream

__all__ = ["EndStream", "open_trusted"]


class EndStream(PolledStream):
    """The writing half of a stream over an end of a pipe, which never waits but for room."""

    def __init__(self, end: PipeEnd, address: Address, peer: PeerCredentials) -> None:
        super().__init__(address, peer)
        self._end = end
        self._room = Room(end.writable)

    @property
    def half_closes(self) -> bool:
        return False

    def _push(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self._end.push(data)
        except OSError as exc:
            self._doomed = True
            raise BrokenResourceError from exc

    def _unwritten(self) -> bool:
        try:
            return self._end.unwritten()
        except OSError as exc:
            self._doomed = True
            raise BrokenResourceError from exc

    async def _until_writable(self) -> None:
        if self._unwritten():
            await self._room.wait()
        else:
            await checkpoint()
        self._check_open()

    def _finish(self) -> None:
        pass  # a pipe has no half close: the peer hears of it when this is closed


async def open_trusted(address: Address, trusted_uids: Collection[int | str] | None) -> tuple[PipeEnd, PeerCredentials]:
    """A client's end of the pipe, and who is at the other one. Waits while all instances are taken.

    Raises ConnectFailed, also where that is nobody to talk to: see `trusted_server`.
    """
    await checkpoint()
    waits = busy_waits()
    while (end := open_end(address)) is None:  # noqa: ASYNC110 - to be told of a free instance would block a thread
        await anyio.sleep(next(waits))
    try:
        return end, trusted_server(end.handle, address, trusted_uids)
    except BaseException:
        end.close()
        raise
