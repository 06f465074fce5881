"""`begin` and `rest` on their own: what goes down to the coroutine and comes up from it, step by step."""

from __future__ import annotations

import contextvars
import sys
import types
from collections.abc import Generator
from typing import Any

import pytest

from poppo_ipc.server._lowlevel import Waiting, begin, rest

variable = contextvars.ContextVar("variable", default="outside")


@types.coroutine
def trap(value: Any) -> Generator[Any, Any, Any]:
    return (yield value)


def start(coroutine: Any, suspended: list[str]) -> Generator[Any, Any, Any]:
    """Both together, as one awaits them."""
    begun = begin(coroutine, contextvars.copy_context())
    if not isinstance(begun, Waiting):
        return begun
    suspended.append(variable.get())
    return (yield from rest(begun))


def test_a_coroutine_that_never_waits_is_never_suspended() -> None:
    async def handler() -> str:
        variable.set("inside")
        return "done"

    suspended: list[str] = []
    with pytest.raises(StopIteration) as stop:
        next(start(handler(), suspended))
    assert (stop.value.value, suspended, variable.get()) == ("done", [], "outside")


def test_values_go_both_ways_and_the_first_wait_is_told() -> None:
    async def handler() -> list[Any]:
        variable.set("inside")
        return [await trap("a"), await trap("b"), variable.get()]

    suspended: list[str] = []
    steps = start(handler(), suspended)
    assert next(steps) == "a"
    assert suspended == ["outside"]
    assert steps.send(1) == "b"
    with pytest.raises(StopIteration) as stop:
        steps.send(2)
    assert stop.value.value == [1, 2, "inside"]
    assert (suspended, variable.get()) == (["outside"], "outside")


def test_exceptions_go_down_and_are_over_once_handled() -> None:
    async def handler() -> list[Any]:
        try:
            await trap("a")
        except KeyError:
            seen: list[Any] = [variable.get()]
        seen.append(sys.exc_info()[0])
        try:
            raise ValueError
        except ValueError as error:
            seen.append(error.__context__)
        await trap("b")
        return seen

    steps = start(handler(), [])
    next(steps)
    assert steps.throw(KeyError()) == "b"
    with pytest.raises(StopIteration) as stop:
        steps.send(None)
    assert stop.value.value == ["outside", None, None]


@pytest.mark.parametrize("waits", [0, 1, 2])
def test_exceptions_come_up(waits: int) -> None:
    async def handler() -> None:
        for number in range(waits):
            await trap(number)
        raise LookupError("up")

    steps = start(handler(), [])
    for number in range(waits):
        assert next(steps) == number
    with pytest.raises(LookupError, match="up"):
        next(steps)


def test_close_reaches_the_coroutine() -> None:
    ends: list[str] = []

    async def handler() -> None:
        try:
            await trap("a")
        finally:
            ends.append("closed")

    steps = start(handler(), [])
    next(steps)
    steps.close()
    assert ends == ["closed"]
