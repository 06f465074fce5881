"""An event, or a place where some are missing, as a line for people or as an object for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from poppo_ipc.cli._plain import Style, render_item
from poppo_ipc.cli._safe import safe

if TYPE_CHECKING:
    from poppo_ipc.client import Event, Gap

__all__ = ["clock_text", "event_line", "event_object", "gap_line", "gap_object", "iso_text"]

_BAD = ("failed", "dropped")
_GOOD = ("completed", "started", "added")
_REASONS = {
    "restarted": "the daemon was started anew",
    "expired": "the daemon no longer keeps them",
    "no-replay": "the connection was lost, and this daemon cannot repeat events",
    "server-dropped": "the daemon dropped them, since they were read too slowly",
    "slow-consumer": "they came faster than they could be shown",
}


def event_object(event: Event, epoch: str | None) -> dict[str, Any]:
    """For programs. `epoch` is the numbering that its `seq` is one of."""
    return {
        "event": event.name,
        "data": event.data,
        "seq": event.seq,
        "epoch": epoch if event.seq is not None else None,
        "timestamp": iso_text(event.timestamp),
    }


def gap_object(gap: Gap) -> dict[str, Any]:
    """For programs: an object without `event`."""
    return {"gap": True, "missed": gap.missed, "reason": gap.reason.value}


def event_line(event: Event, style: Style, clock: str) -> str:
    """For people. `clock` is `local`, `utc` or `none`."""
    name = safe(event.name)
    last = event.name.rpartition(".")[2]
    painted = style.bad(name) if last in _BAD else style.good(name) if last in _GOOD else style.strong(name)
    number = "" if event.seq is None else style.faint(f"#{event.seq}")
    data = "" if event.data in (None, {}) else render_item(event.data, style)
    time = "" if clock == "none" else style.faint(clock_text(event.timestamp, clock))
    return "  ".join(part for part in (time, number, painted, data) if part)


def gap_line(gap: Gap, style: Style) -> str:
    """For people: a line that nobody takes for an event."""
    how_many = "events are missing" if gap.missed is None else f"up to {gap.missed} events are missing"
    return style.wary(f"---- gap: {how_many}; {_REASONS.get(gap.reason.value, gap.reason.value)} ----")


def clock_text(milliseconds: int, clock: str = "local") -> str:
    """The date and the time of a moment in Unix milliseconds; dashes for one that no clock has."""
    moment = _moment(milliseconds)
    if moment is None:
        return "-" * 19
    shown = moment if clock == "utc" else moment.astimezone()
    return shown.strftime("%Y-%m-%d %H:%M:%S.") + f"{shown.microsecond // 1000:03d}" + ("Z" if clock == "utc" else "")


def iso_text(milliseconds: int) -> str | None:
    """The same as ISO 8601 in UTC; None for one that no clock has."""
    moment = _moment(milliseconds)
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(milliseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
