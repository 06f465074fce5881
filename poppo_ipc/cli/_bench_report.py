"""The figures of a measurement, for people and for programs. Pure."""

from __future__ import annotations

from typing import Any, Final

from poppo_ipc.cli._bench_figures import Figures
from poppo_ipc.cli._plain import Style
from poppo_ipc.cli._safe import safe

__all__ = ["report_object", "report_text", "time_text"]

_ROWS: Final = 14
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def report_object(figures: Figures) -> dict[str, Any]:
    """For programs: times in milliseconds."""
    spread = figures.spread
    return {
        "command": figures.what.command,
        "inFlight": figures.what.in_flight,
        "server": figures.server,
        "seconds": round(figures.seconds, 3),
        "answers": spread.count,
        "errors": dict(figures.errors),
        "perSecond": round(figures.per_second, 1),
        "latencyMs": {
            "min": _milliseconds(spread.least if spread.count else None),
            "mean": _milliseconds(spread.mean),
            **{name: _milliseconds(spread.percentile(share)) for name, share in _SHARES.items()},
            "max": _milliseconds(spread.greatest if spread.count else None),
        },
        "histogram": [
            {"fromMs": _milliseconds(low), "toMs": _milliseconds(high), "count": count}
            for low, high, count in spread.histogram(_ROWS)
        ],
    }


def report_text(figures: Figures, style: Style, width: int) -> str:
    """For people: the figures, and a histogram of the times."""
    what, spread = figures.what, figures.spread
    if not spread.count:
        return "No answer came in the time that counts."
    times = {"min": spread.least, **{name: spread.percentile(share) for name, share in _SHARES.items()}}
    times["max"] = spread.greatest
    server = f"  {style.faint(safe(figures.server))}" if figures.server else ""
    lines = [
        f"{style.strong(safe(what.command))}, {what.in_flight} in flight, {figures.seconds:.1f} s{server}",
        "",
        f"{style.strong(f'{figures.per_second:,.0f}')} answers a second ({spread.count:,} in all)",
    ]
    if figures.errors:
        told = ", ".join(f"{safe(code)} {count:,}" for code, count in figures.errors.most_common())
        lines.append(style.bad(f"of these, errors: {told}"))
    names, values = "", ""
    for name, seconds in times.items():
        names += f"{name.replace('p999', 'p99.9'):>10}"
        values += f"{time_text(seconds or 0.0):>10}"
    lines += ["", style.faint(names), values, "", *_bars(figures, style, width)]
    return "\n".join(lines)


def _bars(figures: Figures, style: Style, width: int) -> list[str]:
    rows = figures.spread.histogram(_ROWS)
    most = max(count for _, _, count in rows)
    room = max(10, min(60, width - 42))
    lines = []
    for low, high, count in rows:
        eighths = round(count / most * room * 8)
        if count:
            eighths = max(1, eighths)
        bar = _EIGHTHS[8] * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
        label = f"{time_text(low):>10} - {time_text(high):<10}"
        share = f"{count / figures.spread.count:7.2%}"
        lines.append(f"{style.faint(label)} {share} {style.good(bar)}".rstrip())
    return lines


def time_text(seconds: float) -> str:
    """A short time with three digits: `123 us`, `1.23 ms`."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        value = seconds * factor
        if value < 999.5:
            digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
            return f"{value:.{digits}f} {unit}"
    return f"{seconds:.2f} s"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 4)
