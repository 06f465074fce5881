"""A daemon as a program of its own: a word when it is ready, and what signals do to it."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import trio

from poppo_ipc.errors import PoppoError
from poppo_ipc.transport import Address

__all__ = ["ENDING", "SIGNALS", "Servable", "notice", "run_in_foreground"]

logger = logging.getLogger("poppo_ipc.cli")

if sys.platform == "win32":
    #: The signals that end a program in order: Ctrl-C and Ctrl-Break. SIGTERM is none that Windows would send.
    ENDING = (signal.SIGINT, signal.SIGBREAK)
    #: All signals that a daemon in the foreground takes.
    SIGNALS = ENDING
else:
    #: The signals that end a program in order.
    ENDING = (signal.SIGINT, signal.SIGTERM)
    #: All signals that a daemon in the foreground takes.
    SIGNALS = (*ENDING, signal.SIGHUP)

Reload = Callable[[], Awaitable[Any]]


class Servable(Protocol):
    """A `Daemon`, or a `Server`."""

    async def serve(self, *, task_status: trio.TaskStatus[Address]) -> None:
        """Serve until stopped."""

    def stop_soon(self, *, reason: str = ...) -> None:
        """Begin to stop."""


def notice(text: str) -> None:
    """A line on stderr for whoever started the program. It is no part of the log, so no log level hides it."""
    with suppress(BrokenPipeError):  # whoever started it may have gone, and that is no reason to end
        # In one write: `print` makes two where Python does not buffer, and a line of the log may come between them.
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


async def run_in_foreground(
    daemon: Servable,
    signals: AsyncIterator[int],
    *,
    reload: Reload | None = None,
    on_ready: Callable[[], object] = lambda: None,
) -> None:
    """Serve until the daemon is stopped: by itself, in order by the first ending signal, at once by the second.

    SIGHUP calls `reload`, where there is such a signal. Says `ready on ADDRESS` on stderr once clients can connect,
    when `on_ready` has been called.
    """
    ready = trio.Event()
    async with trio.open_nursery() as around:
        around.start_soon(partial(_obey, daemon, signals, around, reload, ready))
        async with trio.open_nursery() as serving:
            address = await serving.start(partial(_serve, daemon))
            on_ready()
            ready.set()
            notice(f"ready on {address}")
        around.cancel_scope.cancel()


async def _serve(daemon: Servable, *, task_status: trio.TaskStatus[Address]) -> None:
    await daemon.serve(task_status=task_status)


async def _obey(
    daemon: Servable, signals: AsyncIterator[int], around: trio.Nursery, reload: Reload | None, ready: trio.Event
) -> None:
    ending = False
    async for number in signals:
        name = signal.Signals(number).name
        if number not in ENDING:
            logger.info("%s: reading the configuration again", name)
            if reload is not None:
                around.start_soon(_reload, reload, ready)
        elif ending:
            logger.warning("%s: stopping at once", name)
            around.cancel_scope.cancel()
        else:
            ending = True
            logger.info("%s: stopping in order; a second signal stops at once", name)
            daemon.stop_soon(reason=name)


async def _reload(reload: Reload, ready: trio.Event) -> None:
    await ready.wait()
    try:
        await reload()
    except PoppoError as error:
        # Nobody asked for an answer; what is wrong with settings was logged by who read them.
        logger.warning("The configuration stays as it is (%s)", error.code)
