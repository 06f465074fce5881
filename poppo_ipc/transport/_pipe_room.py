"""Waiting for an event of Windows on any event loop: with a thread for as long."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

from typing import Final

import anyio
import anyio.to_thread

from .._win32.events import Event, wait_any

__all__ = ["Room"]

# Seconds between two looks where there is no thread to wait in.
_LOOK: Final = 0.05


class Room:
    """Waits, for one task at a time, until an event says that a pipe has room again."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._stop: Event | None = None

    async def wait(self) -> None:
        """Wait until the event is set, or `wake` is called. Always lets other tasks run. Wakes without reason at times.

        Cancelled, it leaves a thread that ends at once, and may not have begun to wait by then. So the events go with
        the last who has them: the number of one that was closed may be another's by then, whose signal the thread would
        take away. That is what Trio's own `WaitForSingleObject` risks.
        """
        try:
            await self._wait()
        except (OSError, RuntimeError):
            # No handle or no thread to be had, or the interpreter ends. The caller looks again whether there is room.
            await anyio.sleep(_LOOK)

    async def _wait(self) -> None:
        stop = self._stop = Event()
        try:
            # A limit of its own: whoever waits for a peer must not keep other work from its threads.
            limiter = anyio.CapacityLimiter(1)
            await anyio.to_thread.run_sync(_wait, self._event, stop, abandon_on_cancel=True, limiter=limiter)
        finally:
            self._stop = None
            stop.set()

    def wake(self) -> None:
        """End the wait of now."""
        if self._stop is not None:
            self._stop.set()


def _wait(event: Event, stop: Event) -> None:
    wait_any([event, stop], None)
