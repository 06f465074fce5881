"""Exceptions as those who started something want them: the one that counts, without the groups it came in."""

from __future__ import annotations

from typing import overload

__all__ = ["sole"]


@overload
def sole(error: Exception) -> Exception: ...
@overload
def sole(error: BaseException) -> BaseException: ...
def sole(error: BaseException) -> BaseException:
    """The one exception in a group of one, however deep, as nurseries raise it; else the exception as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
