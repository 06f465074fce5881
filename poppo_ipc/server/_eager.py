"""Running a coroutine at once, in the task that made it, as far as it goes without waiting.

This is the one file of the server that uses `trio.lowlevel`. Why, and why it is sound:

- A new task per request costs more than most requests do. Most handlers never wait, and those can run where they
  are: in the task that read the request.
- A handler that does wait must not keep that task from reading on. So when it first waits, another task takes over
  the reading, and this one stays with its handler to the end. The handler never changes its task: cancel scopes,
  nurseries and everything else that Trio ties to a task stay true.
- `begin` and then `rest` are what `await` is, spelled out: every value goes up to Trio and every value or exception
  comes back down unchanged. Between the two the coroutine may be entered in a waiting list already, though Trio has
  not seen it wait: what is done there must not wake or cancel this task.
- Each handler has a copy of the context (`contextvars`), as a task of its own would have: what it sets is not seen
  by the next one in the same task.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

from trio.lowlevel import ParkingLot, checkpoint

__all__ = ["ParkingLot", "Waiting", "begin", "checkpoint", "rest"]

T = TypeVar("T")


class Waiting(Generic[T]):
    """A coroutine that has begun and waits for the first time. It has to be given to `rest`, without waiting before."""

    __slots__ = ("context", "coroutine", "trap")

    def __init__(self, coroutine: Coroutine[Any, Any, T], context: Context, trap: Any) -> None:
        self.coroutine = coroutine
        self.context = context
        self.trap = trap


def begin(coroutine: Coroutine[Any, Any, T], context: Context) -> T | Waiting[T]:
    """Run `coroutine` in `context`: gives its result, or what to go on with where it has to wait. Raises what it does.

    To be called in the task that then awaits `rest`.
    """
    try:
        trap = context.run(coroutine.send, None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    return Waiting(coroutine, context, trap)


@types.coroutine
def rest(waiting: Waiting[T]) -> Generator[Any, Any, T]:
    """Await the rest of a coroutine that was begun; gives its result."""
    run = waiting.context.run
    coroutine = waiting.coroutine
    send = coroutine.send
    trap = waiting.trap
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
            result: T = stop.value
            return result
        finally:
            del thrown
