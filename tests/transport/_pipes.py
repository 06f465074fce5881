"""What the tests of named pipes share. Of use on Windows only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from poppo_ipc.transport import Address, Stream, connect


async def asyncio_pipes(address: str) -> tuple[Stream, Stream]:
    """A client and its server's end, both on asyncio: which has no listener, but its streams can be at either end."""
    if sys.platform == "win32":
        from poppo_ipc.transport._pipe_asyncio import PipeStream
        from poppo_ipc.transport._pipe_end import PipeEnd
        from poppo_ipc.transport._pipe_open import client_credentials, make_instance

        place = Address.parse(address)
        end = PipeEnd(make_instance(place, first=True))
        near = await connect(place)
        return near, await PipeStream.over(end, place, client_credentials(end.handle))
    raise NotImplementedError


if sys.platform == "win32":
    if TYPE_CHECKING:
        from poppo_ipc.transport._pipe_end import PipeEnd

    def end_of(stream: Stream) -> PipeEnd:
        """What is below a stream."""
        from poppo_ipc.transport._pipe_stream import EndStream

        assert isinstance(stream, EndStream)
        return stream._end


def may_read_ahead(stream: Stream) -> bool:
    """Whether asyncio may still read what nobody has asked for: it does until a paused transport holds a last read."""
    reader = getattr(stream, "_reader", None)
    return reader is not None and reader._transport._pending_data_length < 0


def has_more(stream: Stream) -> bool:
    """Whether asyncio has bytes of the peer's on their way to `stream`, or will have without the peer's doing."""
    reader = getattr(stream, "_reader", None)
    if reader is None or reader.ended:
        return False
    if sys.platform == "win32":
        from poppo_ipc._win32.pipes import peek

        reading = reader._transport._read_fut
        under_way = reading is not None and (reading._ov is None or not reading._ov.pending)
        return bool(reader.data) or not may_read_ahead(stream) or under_way or peek(stream._pipe.end.handle) > 0  # type: ignore[attr-defined]
    raise NotImplementedError
