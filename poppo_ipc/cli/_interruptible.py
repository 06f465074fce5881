"""A Trio program that Ctrl-C ends in order: its blocks are left, its connections closed, and nothing is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import trio

from poppo_ipc._groups import sole
from poppo_ipc.client._interrupts import INTERRUPTS

__all__ = ["run_interruptible"]

R = TypeVar("R")


def run_interruptible(function: Callable[[], Awaitable[R]]) -> R:
    """Run it to its end. On Ctrl-C it is cancelled; where it does not return by itself then, KeyboardInterrupt.

    Of a group of one exception the exception itself is raised.
    """
    results: list[R] = []

    async def main() -> None:
        with trio.open_signal_receiver(*INTERRUPTS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel, signals, nursery.cancel_scope)
                results.append(await function())
                nursery.cancel_scope.cancel()

    failure: Exception | None = None
    try:
        trio.run(main)
    except Exception as error:
        # Raised bare below, without the group of the nursery.
        failure = sole(error)
    if failure is not None:
        raise failure
    if not results:
        raise KeyboardInterrupt
    return results[0]


async def _cancel(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
