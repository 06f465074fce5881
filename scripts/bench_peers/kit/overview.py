"""All systems and modes in one table: how many a second, and how many times the base of the same round."""

from __future__ import annotations

from typing import Any, Final

from bench_peers.kit.report import aligned

__all__ = ["overview"]

_HEADS: Final = {
    "one": "1 in flight", "in-flight": "64 in flight", "clients": "16 clients", "fan-1": "burst to 1",
    "fan-10": "burst to 10", "fan-100": "burst to 100", "fan-1-single": "event to 1", "fan-10-single": "event to 10",
    "fan-100-single": "event to 100", "big": "1 MiB, MiB/s", "connect": "connects",
}  # fmt: skip


def overview(data: dict[str, Any]) -> str:
    """A table in Markdown of what `as_json` gives; a cell is the median rate, and the median ratio behind it."""
    modes = [mode for mode in data["modes"] if mode["name"] in _HEADS]
    names: dict[str, tuple[str, str]] = {}
    for mode in modes:
        names.update({key: (entry["title"], entry["load"]) for key, entry in mode["entries"].items()})
    lines = [["", "client", *(_HEADS[mode["name"]] for mode in modes)]]
    lines += [[*name, *(_cell(mode["entries"].get(key)) for mode in modes)] for key, name in names.items()]
    return "\n".join([*aligned(lines), ""]) if modes else ""


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None or "rate" not in entry["medians"]:
        return ""
    rate, ratio = entry["medians"]["rate"], entry["ratio"]
    shown = f"{rate / 1e6:.2f} M" if rate >= 1e6 else f"{rate / 1e3:.1f} k" if rate >= 1e4 else f"{rate:,.0f}"
    return shown if ratio is None else f"{shown} x{ratio:.2f}" if ratio < 10 else f"{shown} x{ratio:.1f}"
