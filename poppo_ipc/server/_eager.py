"""Running a coroutine at once, in the task that made it, and being told when it first waits.

This is the one file of the server that uses `trio.lowlevel`. Why, and why it is sound:

- A new task per request costs more than most requests do. Most handlers never wait, and those can run where they
  are: in the task that read the request.
- A handler that does wait must not keep that task from reading on. So when it first waits, another task takes over
  the reading, and this one stays with its handler to the end. The handler never changes its task: cancel scopes,
  nurseries and everything else that Trio ties to a task stay true.
- `run_eagerly` is what `await` is, spelled out: every value goes up to Trio and every value or exception comes back
  down unchanged. It only adds a call at the first suspension, before Trio has seen it.
- Each handler has a copy of the context (`contextvars`), as a task of its own would have: what it sets is not seen
  by the next one in the same task.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar

from trio.lowlevel import ParkingLot, checkpoint

__all__ = ["ParkingLot", "checkpoint", "run_eagerly"]

T = TypeVar("T")


@types.coroutine
def run_eagerly(
    coroutine: Coroutine[Any, Any, T], context: Context, on_suspend: Callable[[], None]
) -> Generator[Any, Any, T]:
    """Await `coroutine` in `context`; call `on_suspend`, which must not raise, when it first waits, if it does."""
    run = context.run
    send = coroutine.send
    try:
        trap = run(send, None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    on_suspend()
    while True:
        thrown: BaseException | None = None
        try:
            value = yield trap
        except BaseException as error:
            # Not thrown on from in here: what the handler raises later would get this as its context.
            thrown = error
        try:
            trap = run(send, value) if thrown is None else run(coroutine.throw, thrown)
        except StopIteration as stop:
            result = stop.value
            return result
        finally:
            del thrown
