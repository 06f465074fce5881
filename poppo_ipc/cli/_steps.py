"""Steps that show something and check what they show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import trio
from attrs import frozen

from poppo_ipc._groups import sole

__all__ = ["Caught", "Mismatch", "Outcome", "Screen", "Step", "expect", "expect_error", "expect_that", "run_steps"]

E = TypeVar("E", bound=Exception)

#: Seconds for one step; the longest takes one and a half, where the machine has nothing else to do.
_STEP_SECONDS = 60.0


class Mismatch(Exception):
    """A step showed something else than it should."""

    def __init__(self, what: str, expected: str, came: str) -> None:
        super().__init__(f"{what}: expected {expected}, got {came}")
        self.what = what
        self.expected = expected
        self.came = came


@frozen(kw_only=True)
class Outcome:
    """How a step ended; `mismatch` says why it failed."""

    seconds: float
    mismatch: Mismatch | None = None

    @property
    def ok(self) -> bool:
        """Whether all was as it should be."""
        return self.mismatch is None


class Screen(Protocol):
    """Where steps show themselves."""

    def begin(self, number: int, count: int, step: Step) -> None:
        """A step begins."""

    def show(self, what: str, value: Any, text: str | None = None) -> None:
        """Something that came: `value`, which `text` says shorter for people."""

    def progress(self, done: float, total: float) -> None:
        """How far something is."""

    def end(self, outcome: Outcome) -> None:
        """The step is over."""


@frozen
class Step:
    """One step: a name for programs, a title for people, and what it does."""

    name: str
    title: str
    run: Callable[[Screen], Awaitable[None]]


async def run_steps(steps: Sequence[Step], screen: Screen, seconds: float = _STEP_SECONDS) -> bool:
    """Run the steps in order, up to the first that fails; gives whether none did.

    Any exception fails a step, and so does taking longer than `seconds`.
    """
    for number, step in enumerate(steps, 1):
        screen.begin(number, len(steps), step)
        began = trio.current_time()
        mismatch = await _run_step(step, screen, seconds)
        screen.end(Outcome(seconds=trio.current_time() - began, mismatch=mismatch))
        if mismatch is not None:
            return False
    return True


async def _run_step(step: Step, screen: Screen, seconds: float) -> Mismatch | None:
    with trio.move_on_after(seconds):
        try:
            await step.run(screen)
        except Exception as error:
            found = sole(error)
            if isinstance(found, Mismatch):
                return found
            return Mismatch(step.title, "no error", f"{type(found).__name__}: {found}")
        return None
    return Mismatch(step.title, f"an end within {seconds:g} s", "none")


def expect(what: str, came: object, expected: object) -> None:
    """Raise Mismatch unless the two are equal."""
    if came != expected:
        raise Mismatch(what, repr(expected), repr(came))


def expect_that(what: str, fits: bool, expected: str, came: object) -> None:
    """Raise Mismatch unless it `fits`; `expected` says in words what would have."""
    if not fits:
        raise Mismatch(what, expected, repr(came))


class Caught(Generic[E]):
    """The error of an `expect_error` block, once that is over."""

    error: E


@contextmanager
def expect_error(what: str, kind: type[E]) -> Iterator[Caught[E]]:
    """Raise Mismatch unless the block raises an error of this kind, which is caught. Others come out."""
    caught = Caught[E]()
    try:
        yield caught
    except kind as error:
        caught.error = error
    else:
        raise Mismatch(what, kind.__name__, "no error")
