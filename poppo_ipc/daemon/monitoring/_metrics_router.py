"""`daemon.metrics` and `metrics.get`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import attrs

from poppo_ipc.commands import Arg, Router
from poppo_ipc.commands.standard import DAEMON_METRICS, METRICS_GET, DaemonMetrics
from poppo_ipc.commands.standard import Metrics as MetricsAnswer
from poppo_ipc.daemon.monitoring._families import METRIC_TYPES
from poppo_ipc.daemon.monitoring._metrics import Metrics
from poppo_ipc.daemon.monitoring._period import parse_period
from poppo_ipc.daemon.monitoring._ring import DEFAULT_TIERS
from poppo_ipc.daemon.monitoring._summary import moment, period
from poppo_ipc.errors import InvalidArgs, Unavailable

__all__ = ["metrics_router"]

_LONGEST = DEFAULT_TIERS[-1][0] * DEFAULT_TIERS[-1][1]


@attrs.frozen
class MetricsGetArgs:
    """As `commands.standard.MetricsArgs`; checked by the handler, so that the error can name the choices."""

    type: Annotated[str | None, Arg(doc=f"One of {', '.join(METRIC_TYPES)}; all where none is given.")] = None
    period: Annotated[str, Arg(doc="How far back, as a number and s, m, h or d: 5m. At most 1d.")] = "5m"


def metrics_router(metrics: Metrics) -> Router:
    """The commands that show metrics; `metrics.run` has to run for there to be a past."""
    router = Router()

    @router.command(DAEMON_METRICS)
    async def daemon_metrics() -> DaemonMetrics:
        await metrics.refresh()
        sections = _sections("all", metrics)
        return DaemonMetrics(datetime.now(UTC), moment(metrics.read(), sections))

    @router.command(
        METRICS_GET.name, summary=METRICS_GET.summary, idempotent=METRICS_GET.idempotent, result=METRICS_GET.result
    )
    async def metrics_get(args: MetricsGetArgs) -> dict[str, Any]:
        kind = "all" if args.type is None else args.type
        seconds = parse_period(args.period, longest=_LONGEST)
        sections = _sections(kind, metrics)
        await metrics.refresh()
        window = metrics.window(seconds)
        answer = MetricsAnswer(kind, args.period, period(window, sections))
        return {**attrs.asdict(answer, recurse=False), "seconds": round(window.seconds, 3)}

    return router


def _sections(kind: str, metrics: Metrics) -> tuple[str, ...]:
    if kind not in METRIC_TYPES:
        error = InvalidArgs.of("type", f"expected one of {', '.join(METRIC_TYPES)}")
        error.details = {**(error.details or {}), "choices": list(METRIC_TYPES)}
        raise error
    if kind == "all":
        return tuple(name for name in METRIC_TYPES[1:] if name not in metrics.missing)
    if kind in metrics.missing:
        raise Unavailable(f"This daemon has no {kind} to measure")
    return (kind,)
