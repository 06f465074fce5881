"""What is told of the measurements: medians and ratios, as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any, Final

from attrs import frozen

from bench_peers.kit.runner import Outcome

__all__ = ["Row", "aligned", "as_json", "rows", "table"]

_DISTRIBUTIONS: Final = (
    "poppo-ipc", "trio", "anyio", "msgspec", "uvloop", "rpyc", "Pyro5", "pyzmq", "grpcio", "dbus-fast", "uvicorn",
    "httptools", "aiohttp",
)  # fmt: skip
_RATE: Final = (("rate", "{unit}"), ("p50", "p50 µs"), ("p99", "p99 µs"), ("cpu", "CPU µs each"))
_COLUMNS: Final = {
    "resident": (("resident", "process KiB each"), ("kernel", "kernel KiB each")),
    "wall": (("wall", "ms"),),
}


@frozen(kw_only=True)
class Row:
    """One entry of a mode over all rounds."""

    key: str
    title: str
    load: str
    own: bool
    values: dict[str, float]
    """Medians."""
    ratios: tuple[float, ...]
    """To the base, within each round; over 1 is better."""

    @property
    def ratio(self) -> float | None:
        """The median ratio; None where the base is missing."""
        return statistics.median(self.ratios) if self.ratios else None


def rows(outcome: Outcome) -> list[Row]:
    """The entries that were measured, in the order of the peers."""
    return [
        Row(
            key=key,
            title=title,
            load=outcome.loads[key],
            own=key in outcome.own,
            values=_medians([samples[key] for samples in outcome.rounds if key in samples]),
            ratios=tuple(_ratios(outcome, key)),
        )
        for key, title in outcome.titles.items()
        if any(key in samples for samples in outcome.rounds)
    ]


def _medians(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(sample[name] for sample in samples if name in sample) for name in samples[0]}


def _ratios(outcome: Outcome, key: str) -> Iterable[float]:
    metric = outcome.mode.metric
    for samples in outcome.rounds:
        if key in samples and (base := samples.get(outcome.bases[key])) is not None:
            mine, other = samples[key].get(metric, 0.0), base.get(metric, 0.0)
            above, below = (mine, other) if metric == "rate" else (other, mine)
            if above > 0 and below > 0:
                yield above / below


# -- for people -----------------------------------------------------------------------------------------------------


def table(outcome: Outcome) -> str:
    """A table in Markdown, which is readable as it is."""
    found = rows(outcome)
    columns = [
        (name, head.format(unit=outcome.mode.rate_unit))
        for name, head in _COLUMNS.get(outcome.mode.metric, _RATE)
        if any(name in row.values for row in found)
    ]
    lines = [["", "client", *(head for _, head in columns), "ratio", "min..max"]]
    for row in found:
        cells = [_number(row.values.get(name)) for name, _ in columns]
        spread = f"{min(row.ratios):.2f}..{max(row.ratios):.2f}" if row.ratios else ""
        lines.append([row.title, row.load, *cells, _number(row.ratio), spread])
    notes = [f"Failed: {key}: {why}" for key, why in outcome.failures.items()]
    notes += [f"Left out: {key}: {why}" for key, why in outcome.left_out.items()]
    return "\n".join([f"### {outcome.mode.title}", "", *aligned(lines), *([""] if notes else []), *notes, ""])


def aligned(lines: list[list[str]]) -> Iterable[str]:
    """The lines of a table in Markdown; the first two columns are text, the others numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        cells = [
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            dashes = ["-" * width if index < 2 else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
            yield f"| {' | '.join(dashes)} |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


# -- for programs ---------------------------------------------------------------------------------------------------


def as_json(outcomes: Iterable[Outcome], missing: dict[str, str], options: dict[str, Any]) -> dict[str, Any]:
    """Everything, the raw rounds included. Nothing of it says whose machine it was."""
    return {
        "machine": _machine(),
        "versions": _versions(),
        "options": options,
        "missing": missing,
        "modes": [_mode_json(outcome) for outcome in outcomes],
    }


def _mode_json(outcome: Outcome) -> dict[str, Any]:
    mode = outcome.mode
    return {
        "name": mode.name,
        "title": mode.title,
        "metric": mode.metric,
        "unit": mode.unit,
        "entries": {
            row.key: {
                "title": row.title,
                "load": row.load,
                "base": outcome.bases[row.key],
                "medians": row.values,
                "ratio": row.ratio,
                "ratios": row.ratios,
            }
            for row in rows(outcome)
        },
        "rounds": outcome.rounds,
        "failures": outcome.failures,
        "leftOut": outcome.left_out,
    }


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "loadAverage": os.getloadavg(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
