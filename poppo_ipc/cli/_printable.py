"""What a task printed, for a terminal: its lines and, where they are wanted, its colours; nothing else is obeyed."""

from __future__ import annotations

import re
from typing import Final, TextIO

from poppo_ipc.cli._output import colours_on
from poppo_ipc.cli._safe import safe

__all__ = ["PrintedText"]

_KEPT: Final = re.compile("(\x1b\\[[0-9;:]*m|\r\n|[\r\n\t])")
#: The beginning of what may become a colour, or the end of a line, with the next piece.
_OPEN_END: Final = re.compile("(?:\x1b(?:\\[[0-9;:]{0,32})?|\r)$")
_RESET: Final = "\x1b[0m"


class PrintedText:
    """Writes pieces of one stream of a task to one stream of ours; to a file or a pipe as they are."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._colours = colours_on(stream)
        self._held = ""
        self._coloured = False

    def write(self, text: str) -> None:
        """The next piece, shown at once."""
        if self._terminal:
            text = self._held + text
            open_end = _OPEN_END.search(text)
            self._held = open_end[0] if open_end else ""
            text = self._shown(text[: len(text) - len(self._held)])
        self._stream.write(text)
        self._stream.flush()

    def close(self) -> None:
        """There is no more: show what was held back, and leave the terminal with its own colours."""
        rest, self._held = self._held, ""
        if rest:
            self._stream.write("" if rest == "\r" else safe(rest))
        if self._coloured:
            self._stream.write(_RESET)
        self._stream.flush()

    def _shown(self, text: str) -> str:
        parts = _KEPT.split(text)
        return "".join(self._kept(part) if at % 2 else safe(part) for at, part in enumerate(parts))

    def _kept(self, part: str) -> str:
        if part.startswith("\x1b"):
            self._coloured = self._coloured or self._colours
            return part if self._colours else ""
        # A lone return would let a line be written over what was shown before.
        return "\n" if part.startswith("\r") else part
