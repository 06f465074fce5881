"""A value that does not fit its declaration: found deep inside, told at the border with the whole path."""

from __future__ import annotations

from poppo_ipc.commands._text import Kind, Segment, field_path
from poppo_ipc.errors import InvalidArgs

__all__ = ["Misfit", "WireMismatch"]


class WireMismatch(ValueError):
    """A result or an event does not fit the type that it was to be read as, or written from.

    `field` is the path of what does not fit ("" for the whole value) and `problem` says why, in plain words.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" if self.field else self.problem


class Misfit(Exception):
    """Raised inside the conversions; each level adds its step to the front of the path. Never leaves the package."""

    def __init__(self, problem: str, path: tuple[Segment, ...] = (), kind: Kind = Kind.WRONG) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path
        self.kind = kind
        self.suggestion: str | None = None
        self.text: str | None = None

    def under(self, *steps: Segment) -> Misfit:
        """The same misfit, seen from further out."""
        self.path = (*steps, *self.path)
        return self

    def as_invalid_args(self) -> InvalidArgs:
        """The error that the peer gets: the field's own text where it has one, else plain words."""
        field, problem, hint = field_path(self.path), self.problem, self._hint()
        if self.kind is Kind.MISSING:
            message = f"Missing argument '{field}'"
        elif self.kind is Kind.UNKNOWN:
            message, problem = f"Unknown argument '{field}'{hint}", problem + hint
        elif field:
            message = f"Invalid argument '{field}': {problem}"
        else:
            message = f"Invalid arguments: {problem}"
        return InvalidArgs.of(field, problem, self.text or message)

    def as_mismatch(self) -> WireMismatch:
        """The error that this side's own caller gets."""
        return WireMismatch(field_path(self.path), self.problem + self._hint())

    def _hint(self) -> str:
        return f"; did you mean '{field_path((*self.path[:-1], self.suggestion))}'?" if self.suggestion else ""
