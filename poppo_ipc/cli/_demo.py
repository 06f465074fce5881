"""`poppo-ipc demo`: what the kit does, shown with a real daemon and checked step by step."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import TextIO

import trio

from poppo_ipc.cli._demo_steps import demo_steps
from poppo_ipc.cli._foreground import ENDING
from poppo_ipc.cli._screens import JsonScreen, TextScreen
from poppo_ipc.cli._stage import stage
from poppo_ipc.cli._steps import run_steps

__all__ = ["demo"]

_INTERRUPTED = 128


def demo(*, plain: bool = False, as_json: bool = False, stream: TextIO | None = None) -> int:
    """Run the demo; gives the exit code: 0 if each step showed what it should, 128 + N when ended by signal N."""
    out = sys.stdout if stream is None else stream
    screen: TextScreen | JsonScreen = JsonScreen(out) if as_json else TextScreen(out, plain=plain)
    began = time.monotonic()
    try:
        ended_by, ok = trio.run(_play, screen)
    finally:
        screen.close()
    if ended_by is not None:
        print(f"poppo-ipc: ended by {ended_by.name}", file=sys.stderr)
        return _INTERRUPTED + ended_by
    screen.summary(ok, time.monotonic() - began)
    return 0 if ok else 1


async def _play(screen: TextScreen | JsonScreen) -> tuple[signal.Signals | None, bool]:
    ended_by: list[signal.Signals] = []
    ok = False
    with trio.open_signal_receiver(*ENDING) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(_end_on_signal, signals, nursery.cancel_scope, ended_by))
            async with stage() as place:
                ok = await run_steps(demo_steps(place), screen)
            nursery.cancel_scope.cancel()
    return (ended_by[0] if ended_by else None), ok


async def _end_on_signal(
    signals: AsyncIterator[int], everything: trio.CancelScope, ended_by: list[signal.Signals]
) -> None:
    ended_by.append(signal.Signals(await anext(signals)))
    everything.cancel()
