"""Functions that run inside something of their own each time, which they may take as an argument."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

__all__ = ["inside"]

R = TypeVar("R")


def inside(
    function: Callable[..., R], fresh: Callable[[], AbstractContextManager[Any]], *names: str
) -> Callable[..., R]:
    """`function`, async or not, to run inside a new `fresh()` at every call.

    It is given that by the first of `names` that is a parameter of it, which the result no longer has: else pytest
    would look for a fixture of that name.
    """
    signature = inspect.signature(function)
    name = next((each for each in names if each in signature.parameters), None)

    def given(thing: Any) -> dict[str, Any]:
        return {} if name is None else {name: thing}

    wrapper: Any
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with fresh() as thing:
                return await function(*args, **given(thing), **kwargs)

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with fresh() as thing:
                return function(*args, **given(thing), **kwargs)

    wrapper.__signature__ = signature.replace(
        parameters=[each for each in signature.parameters.values() if each.name != name]
    )
    return wrapper  # type: ignore[no-any-return]  # it gives what the function does
