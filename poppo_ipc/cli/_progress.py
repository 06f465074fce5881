"""A bar on stderr for what takes long, fed by the items `{"progress": {"done": …, "total": …, "message": …}}`."""

from __future__ import annotations

import sys
import time
from typing import Any, Final, TextIO

from poppo_ipc.cli._safe import safe

__all__ = ["Bar", "progress_of"]

_CELLS: Final = 24
#: What is over sooner needs no bar.
_AFTER_SECONDS: Final = 1.0


def progress_of(item: Any) -> dict[str, Any] | None:
    """What an item tells of progress; None for one that is a piece of the answer."""
    if isinstance(item, dict) and set(item) == {"progress"} and isinstance(item["progress"], dict):
        return item["progress"]
    return None


class Bar:
    """One line on a terminal, drawn over again; nothing where stderr is none. Close it before anything else is said."""

    def __init__(self, stream: TextIO | None = None, *, after: float = _AFTER_SECONDS) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shows = self._stream.isatty()
        self._from = time.monotonic() + after
        self._drawn = False

    def update(self, progress: dict[str, Any]) -> None:
        """Show how far it is, once it has taken a second."""
        if self._shows and time.monotonic() >= self._from:
            self._drawn = True
            self._write(f"\r{_line(progress)}\x1b[K")

    def close(self) -> None:
        """Take the line away. Idempotent; the next `update` draws it again."""
        if self._drawn:
            self._drawn = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _line(progress: dict[str, Any]) -> str:
    done, total, message = progress.get("done"), progress.get("total"), progress.get("message")
    parts = []
    if isinstance(done, int | float) and isinstance(total, int | float) and total > 0:
        share = min(1.0, max(0.0, done / total))
        filled = round(share * _CELLS)
        parts.append(f"[{'#' * filled}{'.' * (_CELLS - filled)}] {share:4.0%}")
        parts.append(f"{done:g}/{total:g}")
    elif isinstance(done, int | float):
        parts.append(f"{done:g}")
    if isinstance(message, str) and message:
        parts.append(safe(message)[:80])
    return "  ".join(parts)
