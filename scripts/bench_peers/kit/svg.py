"""The plot: for each mode a bar for each system with its own client, by its ratio to the base, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import escape

from bench_peers.kit.report import Row, rows
from bench_peers.kit.runner import Outcome

__all__ = ["draw"]

_WIDTH: Final = 860
_LEFT: Final = 250
_RIGHT: Final = 130
_BAR: Final = 16
_STEP: Final = 22
_TITLE: Final = 34
_TOP: Final = 56
_TIMES: Final = "\N{MULTIPLICATION SIGN}"
_TICKS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)

# Colours that hold on white and on black alike, and text that follows what the reader prefers.
_STYLE: Final = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.head { font-weight: 600; font-size: 15px }
.mode { font-weight: 600; font-size: 13px }
.faint { fill: #6e7781 }
.own { fill: #2f81f7 }
.other { fill: #8c959f }
.line { stroke: #8c959f; stroke-opacity: .35 }
.base { stroke: #8c959f; stroke-width: 1.5 }
.noise { stroke: #57606a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .faint { fill: #9198a1 }
  .noise { stroke: #d0d7de }
}
"""


def draw(outcomes: Sequence[Outcome], note: str) -> str:
    """The whole picture; `note` says in a line what was run where."""
    panels = [(outcome.mode.title, found) for outcome in outcomes if (found := _shown(outcome))]
    scale = _Scale([ratio for _, found in panels for row in found for ratio in row.ratios])
    body: list[str] = []
    y = float(_TOP)
    for title, found in panels:
        body += _panel(title, found, y, scale)
        y += _TITLE + _STEP * len(found) + 22
    height = y + 14
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="Ratios to asyncio streams and json">',
            f"<style>{_STYLE}</style>",
            _text(16, 26, "How many times as fast as asyncio streams + json", "head"),
            _text(16, 44, "Each system with its own client; thin lines: least to most of all rounds", "faint"),
            *body,
            _text(16, height - 10, note, "faint"),
            "</svg>",
            "",
        ]
    )


def _shown(outcome: Outcome) -> list[Row]:
    """What has a place in the picture: ratios of rates, of systems with their own clients, the fastest first."""
    if outcome.mode.metric != "rate" or len(outcome.mode.variants) > 1 or outcome.mode.by_hand:
        return []
    found = [row for row in rows(outcome) if row.ratios and row.load == "own"]
    return sorted(found, key=lambda row: -(row.ratio or 0.0))


class _Scale:
    """From a ratio to where it stands."""

    def __init__(self, ratios: Sequence[float]) -> None:
        self.low = min([0.5, *ratios]) / 1.1
        self.high = max([2.0, *ratios]) * 1.1

    def __call__(self, ratio: float) -> float:
        part = math.log(ratio / self.low) / math.log(self.high / self.low)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    def ticks(self) -> Iterable[float]:
        return (tick for tick in _TICKS if self.low <= tick <= self.high)


def _panel(title: str, found: Sequence[Row], y: float, scale: _Scale) -> Iterable[str]:
    bottom = y + _TITLE + _STEP * len(found)
    yield _text(16, y + 18, title, "mode")
    for tick in scale.ticks():
        x = scale(tick)
        yield _line("base" if tick == 1 else "line", x, y + 26, x, bottom)
        yield _text(x, bottom + 13, f"{tick:g}{_TIMES}", "faint", "middle")
    for number, row in enumerate(found):
        yield from _bar(row, y + _TITLE + _STEP * number, scale)


def _bar(row: Row, y: float, scale: _Scale) -> Iterable[str]:
    ratio = row.ratio or 1.0
    start, end = sorted((scale(1.0), scale(ratio)))
    middle = y + _BAR / 2
    low, high = scale(min(row.ratios)), scale(max(row.ratios))
    kind = "own" if row.own else "other"
    yield _text(_LEFT - 8, middle + 4, row.title, "", "end")
    width = max(end - start, 1.0)
    yield f'<rect class="{kind}" x="{start:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}" rx="2"/>'
    yield _line("noise", low, middle, high, middle)
    yield _text(max(end, high) + 6, middle + 4, f"{ratio:.2g}{_TIMES}  {row.values['rate']:,.0f}/s", "")


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
