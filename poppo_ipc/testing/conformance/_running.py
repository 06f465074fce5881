"""Running one check after the other, whatever each comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from poppo_ipc.testing.conformance._findings import Check, Finding, NotOffered, Report, Status, Violation

__all__ = ["Subject", "run_check", "run_checks"]


class Subject(Protocol):
    """What is checked: a server, or a client program."""

    exchange: list[str]

    def begin(self) -> None:
        """Begin the next check."""

    def end(self) -> None:
        """Close what the check has left open."""


S = TypeVar("S", bound=Subject)


def run_check(check: Check[S], subject: S) -> Finding:
    """What one check finds. An OSError, as where nobody listens any more, is a failure like any other."""
    status, expected, got = Status.PASSED, "", ""
    try:
        subject.begin()
        check.run(subject)
    except NotOffered as why:
        status, got = Status.NOT_OFFERED, str(why)
    except Violation as violation:
        status, expected, got = Status.FAILED, violation.expected, violation.got
    except OSError as error:
        status, expected, got = Status.FAILED, "a connection that works", str(error)
    finally:
        subject.end()
    exchange = tuple(subject.exchange)
    return Finding(name=check.name, rule=check.rule, status=status, expected=expected, got=got, exchange=exchange)


def run_checks(
    checks: Iterable[Check[S]], subject: S, told: Callable[[Finding], None] = lambda finding: None
) -> Report:
    """What all of them find; `told` gets each as soon as it is there."""
    findings = []
    for check in checks:
        finding = run_check(check, subject)
        told(finding)
        findings.append(finding)
    return Report(findings=tuple(findings))
