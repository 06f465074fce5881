"""What the server does below Trio's own tools: its one file that uses `trio.lowlevel`. Why, and why it is sound:

**Running a coroutine at once, in the task that made it, as far as it goes without waiting** (`begin` and `rest`).

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

**Waking one task by name** (`Sleeper`), as `_doorway.py` does with the tasks of clients whose sockets have something.

- A memory channel or an event for each client costs two to three times as much a wake-up, and memory that idle clients
  hold.
- It is the documented use of `wait_task_rescheduled`: a task is entered in one place before it sleeps, and taken out
  there by whoever comes first, the waker or a cancellation. So it is rescheduled exactly once.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

from trio.lowlevel import (
    Abort,
    ParkingLot,
    Task,
    checkpoint,
    current_task,
    notify_closing,
    reschedule,
    wait_readable,
    wait_task_rescheduled,
)

__all__ = ["ParkingLot", "Sleeper", "Waiting", "begin", "checkpoint", "notify_closing", "rest", "wait_readable"]

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


class Sleeper:
    """A place where one task at a time sleeps until it is woken."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: Task | None = None

    async def sleep(self) -> None:
        """Wait until `wake` is called, not before this. Cancelled, it leaves nothing behind."""
        self._task = current_task()
        await wait_task_rescheduled(self._abort)

    def wake(self) -> None:
        """Wake who sleeps, if anybody does."""
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    def _abort(self, _: object) -> Abort:
        self._task = None
        return Abort.SUCCEEDED
