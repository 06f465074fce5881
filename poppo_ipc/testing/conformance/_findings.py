"""What a check found, for people and for programs."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from attrs import define, field, frozen

__all__ = ["Check", "Checks", "Finding", "NotOffered", "Report", "Status", "Violation"]

S = TypeVar("S")

_LINES: Final = 12


class Violation(Exception):
    """A rule was not kept: what it asks for, and what was there in its place."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}; got {got}")
        self.expected = expected
        self.got = got


class NotOffered(Exception):
    """The other side does not have what a check is about, which the contract allows; the text says what."""


class Status(enum.Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_OFFERED = "not offered"


@frozen(kw_only=True)
class Finding:
    """What one check found."""

    name: str
    """Its name, which begins with the section of WIRE.md."""

    rule: str
    """What the contract says, in a sentence."""

    status: Status
    expected: str = ""
    """What should have come, where it failed."""

    got: str = ""
    """What came; or why the check was not made."""

    exchange: tuple[str, ...] = ()
    """What was sent (`>`) and got (`<`), line by line."""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "rule": self.rule,
            "status": self.status.value,
            "expected": self.expected,
            "got": self.got,
            "exchange": list(self.exchange),
        }

    def explain(self) -> str:
        """For people: several lines where it failed."""
        lines = [f"{self.name}: {self.rule}"]
        if self.status is Status.FAILED:
            lines += [f"  expected: {self.expected}", f"  got:      {self.got}"]
            cut = len(self.exchange) - _LINES
            lines += [f"  ({cut} lines before these)"] if cut > 0 else []
            lines += [f"  {line}" for line in self.exchange[-_LINES:]]
        elif self.got:
            lines.append(f"  {self.got}")
        return "\n".join(lines)


@frozen(kw_only=True)
class Report:
    """What all checks found."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether none failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Those that failed."""
        return tuple(finding for finding in self.findings if finding.status is Status.FAILED)

    def __getitem__(self, name: str) -> Finding:
        return next(finding for finding in self.findings if finding.name == name)

    def counts(self) -> dict[str, int]:
        """How many ended how."""
        return {each.value: sum(finding.status is each for finding in self.findings) for each in Status}

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"ok": self.ok, "counts": self.counts(), "checks": [finding.as_json() for finding in self.findings]}

    def text(self) -> str:
        """What failed, for people, and the counts."""
        told = [finding.explain() for finding in self.failed]
        return "\n".join([*told, ", ".join(f"{count} {what}" for what, count in self.counts().items())])


@frozen
class Check(Generic[S]):
    """One rule of the contract, and how it is checked."""

    name: str
    rule: str
    run: Callable[[S], None]


@define
class Checks(Generic[S]):
    """The checks of one kind, in the order in which they are made."""

    all: list[Check[S]] = field(factory=list)

    def __call__(self, name: str, rule: str) -> Callable[[Callable[[S], None]], Callable[[S], None]]:
        """Declare one: raise Violation or NotOffered in it, or let it end."""

        def declare(function: Callable[[S], None]) -> Callable[[S], None]:
            self.all.append(Check(name, rule, function))
            return function

        return declare

    def chosen(self, only: tuple[str, ...]) -> list[Check[S]]:
        """Those whose names contain one of `only`; all where it is empty. Raises LookupError where one names none."""
        for part in only:
            if not any(part in check.name for check in self.all):
                raise LookupError(f"there is no check {part!r}")
        return [check for check in self.all if not only or any(part in check.name for part in only)]
