"""The patterns of a subscription, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable

from poppo_ipc.protocol import check_pattern

__all__ = ["check_patterns"]


def check_patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    """The patterns, each once. Raises ValueError where one is malformed, or where there are none."""
    checked = tuple(dict.fromkeys(patterns))
    if not checked:
        raise ValueError('name at least one pattern, "**" for all events')
    for pattern in checked:
        problem = check_pattern(pattern)
        if problem:
            raise ValueError(f"event pattern {pattern!r}: {problem}")
    return checked
