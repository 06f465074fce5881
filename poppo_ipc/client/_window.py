"""Sends the calls of a pipeline, a bounded number of them open at a time. For both clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from poppo_ipc.client._call import Call
from poppo_ipc.client._engine import Engine

__all__ = ["WINDOW", "Window"]

WINDOW: Final = 64
"""Calls of one pipeline that are open at a time by default: what a server runs at once for one client by default."""

_PIECE: Final = 16
"""Calls that go out in one write. Of a few writes a server answers the first while the client still builds the next."""


class Window:
    """`size` calls at the most are open; when half of them have their answers, the next ones follow.

    `over` is called once, when all are done; not where there are none.
    """

    def __init__(self, engine: Engine, calls: list[Call], size: int, over: Callable[[], None]) -> None:
        self._engine = engine
        self._calls = calls
        self._size = size
        self._over = over
        self._begun = 0  # calls that were submitted, or were to be
        self._open = 0  # of those, the ones that are not done
        self._left = len(calls)  # of all, the ones that are not done
        self._filling = False
        for call in calls:
            call.wake = self._done_unsent

    @property
    def done(self) -> bool:
        """Whether all calls are done."""
        return not self._left

    def start(self) -> None:
        """Send the first calls. Never raises for what cannot be sent: that is the error of the call."""
        for call in self._calls[self._size :]:
            if not call.done:
                self._engine.hold(call)
        self._fill()

    def abandon(self) -> None:
        """Nobody waits any more: take back, or cancel at the server, what is not done. Idempotent."""
        for call in self._calls:
            if not call.done:
                self._engine.abandon(call)

    def _done_unsent(self) -> None:
        self._left -= 1
        if not self._left:
            self._over()

    def _done_sent(self) -> None:
        self._open -= 1
        self._left -= 1
        if not self._left:
            self._over()
        elif self._open * 2 <= self._size and self._begun < len(self._calls):
            self._fill()

    def _fill(self) -> None:
        if self._filling:  # a call that failed while it was submitted: the loop below goes on
            return
        self._filling = True
        engine, calls = self._engine, self._calls
        queued, now = 0, engine.now()
        try:
            while self._begun < len(calls) and self._open < self._size:
                call = calls[self._begun]
                self._begun += 1
                if call.deadline <= now:
                    engine.expire()
                if call.done:  # its time ran out before its turn came
                    continue
                call.wake = self._done_sent
                self._open += 1
                try:
                    engine.submit(call, flush=False, now=now)
                except Exception as error:  # what one call's args cannot do is that call's error
                    call.fail(error)
                    continue
                queued += 1
                if queued % _PIECE == 0:
                    engine.flush()
            engine.flush()
        finally:
            self._filling = False
