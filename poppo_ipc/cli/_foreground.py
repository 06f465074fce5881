"""A server as a program of its own: a word when it is ready, an end in order on a signal."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator

import trio

from poppo_ipc.commands.standard import DaemonStarted
from poppo_ipc.server import Server

__all__ = ["ENDING", "notice", "run_in_foreground"]

logger = logging.getLogger("poppo_ipc.cli")

#: The signals that end a program in order.
ENDING = (signal.SIGINT, signal.SIGTERM)


def notice(text: str) -> None:
    """A line on stderr for whoever started the program. It is no part of the log, so no log level hides it."""
    print(text, file=sys.stderr, flush=True)


async def run_in_foreground(server: Server, signals: AsyncIterator[int]) -> None:
    """Serve until the server is stopped: by itself, in order by the first of `signals`, at once by the second.

    Says `ready on ADDRESS` on stderr once clients can connect.
    """
    async with trio.open_nursery() as around:
        around.start_soon(_stop_on, signals, server, around.cancel_scope)
        async with trio.open_nursery() as serving:
            address = await serving.start(server.serve)
            await server.publish("daemon.started", DaemonStarted(os.getpid()))
            notice(f"ready on {address}")
        around.cancel_scope.cancel()


async def _stop_on(signals: AsyncIterator[int], server: Server, everything: trio.CancelScope) -> None:
    first = signal.Signals(await anext(signals)).name
    logger.info("%s: stopping in order; a second signal stops at once", first)
    server.stop_soon(reason=first)
    second = signal.Signals(await anext(signals)).name
    logger.warning("%s: stopping at once", second)
    everything.cancel()
