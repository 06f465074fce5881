"""Ends of tasks that the disk did not take when they came: kept, and stored when it does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from poppo_ipc.daemon.store import StoreError

__all__ = ["LateEnds"]

logger = logging.getLogger("poppo_ipc.daemon.tasks")

# For the last try to be begun with: a commit takes some milliseconds, and a daemon that stops is waited for.
_LAST_SECONDS: Final = 2.0


class LateEnds:
    """What is still to be stored, in the order in which it came; each is stored once."""

    def __init__(self) -> None:
        self._stores: list[Callable[[], Awaitable[None]]] = []

    def append(self, store: Callable[[], Awaitable[None]]) -> None:
        """Keep one: `store` stores it, or raises StoreError and has done nothing, as where it is cancelled."""
        self._stores.append(store)

    async def store(self) -> None:
        """Store all. Raises StoreError; what is not stored then is kept, as where this is cancelled."""
        while self._stores:
            await self._stores[0]()
            del self._stores[0]

    async def store_last(self) -> None:
        """Try once more as the daemon stops, shielded; the log tells of what is lost.

        What the store has not taken up after 2 s is given up. What it has is waited for as long as the disk takes: the
        store does not close before, so giving it up would gain nothing and call lost what is kept.
        """
        reason = "the disk took too long"
        with trio.move_on_after(_LAST_SECONDS, shield=True):
            try:
                await self.store()
            except StoreError as error:
                reason = str(error)
        if self._stores:
            logger.error(
                "The ends of %d tasks could not be stored: for the next daemon they were interrupted by the death of"
                " this one. %s",
                len(self._stores),
                reason,
            )
