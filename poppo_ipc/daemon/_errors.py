"""Errors as those who started something want them: the one that counts, without the groups it came in."""

from __future__ import annotations

__all__ = ["sole"]


def sole(error: Exception) -> Exception:
    """The one exception in a group of one, however deep, as nurseries raise it; else the exception as it is."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
