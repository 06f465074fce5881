"""Clients that are not served: told why, where that may be said, and closed."""

from __future__ import annotations

import logging
import time
from typing import Final

import anyio
import trio

from poppo_ipc.errors import Busy, ShuttingDown
from poppo_ipc.limits import Limits
from poppo_ipc.protocol import ErrorBody, ErrorMessage, encode
from poppo_ipc.transport import Stream

__all__ = ["close", "turn_away"]

logger = logging.getLogger("poppo_ipc.server")

#: Seconds that a client which is turned away has to read why.
_LINGER_SECONDS: Final = 0.5


async def turn_away(stream: Stream, error: Busy | ShuttingDown, limits: Limits) -> None:
    """Say why, give the client half a second to read it, and close. Cancelled, it closes at once."""
    body = ErrorBody(message=error.message, code=error.code)
    if error.details is not None:
        body.details = error.details
    try:
        message = ErrorMessage(error=body, timestamp=time.time_ns() // 1_000_000)
        stream.send_nowait(encode(message, limits.frame_bytes))
        # Closing over what it has sent already would reset the connection under the error it has yet to read.
        with trio.move_on_after(_LINGER_SECONDS):
            await stream.send_eof()
            while stream.half_closes and await stream.receive():
                pass
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
        logger.debug("A client that was to be turned away has gone")
    finally:
        await close(stream, limits)


async def close(stream: Stream, limits: Limits) -> None:
    """Close, within `flush_seconds`. Shielded from cancellation."""
    with trio.move_on_after(limits.flush_seconds, shield=True):
        await stream.aclose()
