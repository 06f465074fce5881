"""What somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """`Did you mean X or Y? ` with the names that are close to what was typed, or "" where none is."""
    # Imported only where something was typed wrong.
    import difflib

    names = {name.lower(): name for name in known}
    near = [names[each] for each in difflib.get_close_matches(typed.lower(), names, n=2, cutoff=0.6)]
    if not near:
        near = [name for low, name in names.items() if low.startswith(typed.lower()) and typed][:2]
    return f"Did you mean {' or '.join(near)}? " if near else ""
