"""What the harness says when a test is wrong, or the program under test is."""

from __future__ import annotations

__all__ = ["Mispromise", "Unmet"]


class Mispromise(AssertionError):
    """A test promises what no daemon does: an unknown command, a reply that does not fit its schema, no answer at all.

    Raised at the line that promises it.
    """


class Unmet(AssertionError):
    """What a test expected did not happen, or something happened that it did not expect. The text lists all of it."""
