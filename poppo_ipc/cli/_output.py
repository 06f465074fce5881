"""Where results go: text for a person at a terminal, JSON for a program; the only file that writes results."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from poppo_ipc.cli._plain import Style, render, render_item
from poppo_ipc.cli._safe import safe_json

__all__ = ["Output", "colours_on", "terminal_width"]


def colours_on(stream: TextIO) -> bool:
    """Whether colours make sense there: a terminal that knows them, and nobody who said no (NO_COLOR)."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return False
    if sys.platform == "win32":
        from poppo_ipc._win32.console import knows_colours

        return knows_colours(stream.fileno())
    else:
        return os.environ.get("TERM", "") not in ("", "dumb")


def terminal_width() -> int:
    """Columns of the terminal; 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


class Output:
    """Writes results to stdout. `as_json` None: JSON unless stdout is a terminal."""

    def __init__(self, *, as_json: bool | None = None, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self.for_person = self._stream.isatty() if as_json is None else not as_json
        """Whether a person reads it."""
        self._style = Style(colours_on(self._stream))

    @property
    def style(self) -> Style:
        """The colours, or none."""
        return self._style

    def show(
        self, value: Any, *, columns: Sequence[str] = (), text: Callable[[Any, Style, int], str] | None = None
    ) -> None:
        """A result: to a person as `text(value, style, width)` makes it, or a table or a tree; to a program as JSON.

        `columns` are those of the table of a list, where not all of its fields are shown. What `text` gives has to be
        safe for a terminal: see `Style` and `safe`.
        """
        if self.for_person:
            width = terminal_width()
            shown = render(value, self._style, width, columns) if text is None else text(value, self._style, width)
            self._write(shown)
        else:
            self._write(_json(value, pretty=self._stream.isatty()))

    def item(self, value: Any, *, text: Callable[[Any, Style], str] | None = None) -> None:
        """One item of a stream, on a line of its own, at once."""
        if self.for_person:
            self._write(render_item(value, self._style) if text is None else text(value, self._style))
        else:
            self._write(_json(value))
        self._stream.flush()

    def raw(self, text: str) -> None:
        """Text as it is: what was made to be written to a file or read by a program. Made safe by nobody."""
        self._stream.write(text)

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")


def _json(value: Any, *, pretty: bool = False) -> str:
    return safe_json(json.dumps(value, ensure_ascii=False, indent=2 if pretty else None))
