"""Accepting that outlives shortages, the same for every listener."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from ._borders import ABORTED, CAPACITY

if TYPE_CHECKING:
    from ._contract import Listener, Stream

__all__ = ["RETRY_SECONDS", "accept_retrying"]

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.1
"""Seconds between two tries during a shortage. The waiting client keeps the socket readable, so without a wait the
loop would spin; files and memory are given back on the scale of seconds."""


async def accept_retrying(listener: Listener) -> Stream:
    """Accept the next client, waiting out what `accept` raises when the system is short of something.

    EMFILE, ENFILE, ENOMEM and ENOBUFS are logged once per shortage and tried again every 100 ms; a client that left
    before it was accepted is passed over at once. Any other error of `Listener.accept` is raised, and its promise on
    cancellation holds.
    """
    tries = 0
    while True:
        try:
            stream = await listener.accept()
        except OSError as exc:
            if exc.errno in ABORTED:
                logger.debug("a client of %s left before it was accepted", listener.address)
                continue  # accept() lets other tasks run, so a flood of these starves nobody
            if exc.errno not in CAPACITY:
                raise
            tries += 1
            if tries == 1:
                logger.error("cannot accept clients at %s, trying again every 100 ms: %s", listener.address, exc)
            await anyio.sleep(RETRY_SECONDS)
        else:
            if tries:
                logger.warning("accepting clients at %s again after %d failed tries", listener.address, tries)
            return stream
