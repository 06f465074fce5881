"""The signals that end a program with a screen, which takes Ctrl-C as a key."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

__all__ = ["ending_signals"]


@asynccontextmanager
async def ending_signals() -> AsyncIterator[AsyncIterator[int]]:
    """Gives their numbers as they come, on asyncio."""
    if sys.platform != "win32":
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
            yield signals
    else:
        # asyncio has no signal handlers there, but its loop is woken where Python's own are called.
        loop = asyncio.get_running_loop()
        send, receive = anyio.create_memory_object_stream[int](4)
        is_main = threading.current_thread() is threading.main_thread()

        def note(number: int, frame: object) -> None:
            loop.call_soon_threadsafe(send.send_nowait, number)

        before = signal.signal(signal.SIGBREAK, note) if is_main else None
        try:
            with send, receive:
                yield receive
        finally:
            if is_main:
                signal.signal(signal.SIGBREAK, before)
