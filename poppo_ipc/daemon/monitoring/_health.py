"""Is all well: named checks, run side by side, each under its own time limit."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import trio
from attrs import field, frozen, validators

from poppo_ipc.commands import Router
from poppo_ipc.commands.standard import HEALTH_CHECK
from poppo_ipc.errors import CommandError, DeclarationError

__all__ = ["SLOTS", "Check", "CheckResult", "HealthChecks", "HealthReport", "health_router"]

logger = logging.getLogger("poppo_ipc.daemon.health")

#: The checks that every answer has, whether or not this daemon has such a part.
SLOTS: Final = ("config", "queue", "workers", "api", "ipc")

#: What a check gives: whether all is well, and a sentence for people.
Verdict = bool | tuple[bool, str]
Check = Callable[[], Awaitable[Verdict] | Verdict]
C = TypeVar("C", bound=Check)

_CHECK_SECONDS: Final = 2.0
# A dashboard and a service manager that ask at once share an answer.
_CACHE_SECONDS: Final = 1.0


@frozen
class _Declared:
    name: str = field(validator=validators.min_len(1))
    check: Check
    critical: bool
    timeout: float = field(validator=validators.gt(0.0))


@frozen
class CheckResult:
    """What one check found. `seconds` is how long it took."""

    ok: bool
    text: str
    critical: bool
    seconds: float


@frozen
class HealthReport:
    """What all checks found at `timestamp`."""

    timestamp: datetime
    checks: dict[str, CheckResult]

    @property
    def status(self) -> str:
        """`unhealthy` where a critical check failed, else `degraded` where any did, else `healthy`."""
        failed = [result for result in self.checks.values() if not result.ok]
        if any(result.critical for result in failed):
            return "unhealthy"
        return "degraded" if failed else "healthy"


class HealthChecks:
    """The checks of one daemon.

    A check is a function without arguments, async or not, that gives `True`, `False`, or one of them with a sentence;
    an exception counts as `False`. It must not block: it runs in the event loop.

    Args:
        cache_seconds: for how long an answer holds.
    """

    def __init__(self, *, cache_seconds: float = _CACHE_SECONDS) -> None:
        self._declared: dict[str, _Declared] = {}
        self._cache_seconds = cache_seconds
        self._last: tuple[float, HealthReport] | None = None
        self._running = trio.Lock()
        self._failing: frozenset[str] = frozenset()

    def check(self, name: str, *, critical: bool = True, timeout: float = _CHECK_SECONDS) -> Callable[[C], C]:
        """Declare the function below as a check, and leave it as it is.

        Args:
            name: what the answer calls it.
            critical: whether the daemon is unhealthy where it fails, and not just degraded.
            timeout: seconds, after which it is cancelled and has failed.

        Raises DeclarationError where the name is taken or the time limit is none.
        """

        def declare(function: C) -> C:
            self.add(name, function, critical=critical, timeout=timeout)
            return function

        return declare

    def add(self, name: str, check: Check, *, critical: bool = True, timeout: float = _CHECK_SECONDS) -> None:
        """The same without a decorator."""
        if name in self._declared:
            raise DeclarationError(f"health check {name!r} is declared twice")
        try:
            self._declared[name] = _Declared(name, check, critical, timeout)
        except ValueError as error:
            raise DeclarationError(f"health check {name!r}: {error}") from None
        self._last = None

    @property
    def names(self) -> tuple[str, ...]:
        """The checks that there are."""
        return tuple(self._declared)

    async def report(self) -> HealthReport:
        """Run all checks at once, or give the last report where it is fresh. Who asks meanwhile waits for the same.

        Takes as long as the slowest check, at most the longest time limit. Cancelled, the checks are cancelled too.
        """
        async with self._running:
            if self._last is not None and trio.current_time() - self._last[0] < self._cache_seconds:
                return self._last[1]
            report = await self._run_all()
            self._last = trio.current_time(), report
            return report

    async def _run_all(self) -> HealthReport:
        results: dict[str, CheckResult] = {}
        timestamp = datetime.now(UTC)
        async with trio.open_nursery() as nursery:
            for declared in self._declared.values():
                nursery.start_soon(self._run, declared, results)
        report = HealthReport(timestamp, {name: results[name] for name in self._declared if name in results})
        self._log_changes(report)
        return report

    async def _run(self, declared: _Declared, results: dict[str, CheckResult]) -> None:
        began = trio.current_time()
        verdict: Verdict = (False, f"took more than {declared.timeout:g} s")
        with trio.move_on_after(declared.timeout):
            try:
                found = declared.check()
                verdict = await found if inspect.isawaitable(found) else found
            except CommandError as error:
                # Written for clients.
                verdict = False, error.message
            except Exception as error:
                # The text of a foreign exception is for the log: it may hold paths and worse.
                verdict = False, f"failed with {type(error).__name__}; see the log"
                if declared.name not in self._failing:
                    logger.warning("Health check %s failed", declared.name, exc_info=error)
        ok, text = verdict if isinstance(verdict, tuple) else (verdict, "")
        results[declared.name] = CheckResult(bool(ok), text, declared.critical, trio.current_time() - began)

    def _log_changes(self, report: HealthReport) -> None:
        failing = frozenset(name for name, result in report.checks.items() if not result.ok)
        for name in sorted(failing - self._failing):
            logger.warning("Health: %s is not well: %s", name, report.checks[name].text or "no reason given")
        for name in sorted(self._failing - failing):
            logger.info("Health: %s is well again", name)
        self._failing = failing


def health_router(health: HealthChecks) -> Router:
    """The command that runs the checks. A part that the daemon was built without is false, and changes no status."""
    router = Router()

    @router.command(HEALTH_CHECK)
    async def health_check() -> dict[str, Any]:
        report = await health.report()
        checks = {name: result.ok for name, result in report.checks.items()}
        details = {
            name: {
                "ok": result.ok,
                "critical": result.critical,
                "text": result.text,
                "ms": round(result.seconds * 1000, 3),
            }
            for name, result in report.checks.items()
        }
        return {
            "status": report.status,
            "timestamp": report.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "checks": {**dict.fromkeys(SLOTS, False), **checks},
            "details": details,
            "absent": [name for name in SLOTS if name not in checks],
        }

    return router
