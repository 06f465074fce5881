"""A terminal as a person has it before them: a program in a pseudo-terminal, and the screen that it draws."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import pexpect
import pyte

from .processes import PATIENCE, environment

__all__ = ["Terminal"]


class Terminal:
    """A program on a screen of `columns` x `lines`. Killed at the end of the block."""

    def __init__(self, command: list[str], env: Mapping[str, str], columns: int = 80, lines: int = 24) -> None:
        self.tail = ""
        """The last that came, as it came."""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        settings = {**environment(env), "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            settings.pop(name, None)
        self._child = pexpect.spawn(
            command[0], command[1:], env={**settings, **env}, encoding="utf-8", dimensions=(lines, columns)
        )

    @property
    def pid(self) -> int:
        assert self._child.pid is not None
        return self._child.pid

    @property
    def shown(self) -> str:
        """The screen, line by line, as it was last read."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def colours(self) -> set[str]:
        """The colours of what is written on it."""
        buffer = self._screen.buffer
        return {cell.fg for row in buffer.values() for cell in row.values() if cell.data.strip()}

    def press(self, keys: str) -> None:
        self._child.send(keys)

    def until(self, holds: Callable[[str], object]) -> str:
        """Read until something is true of the screen, which is given."""
        deadline = time.monotonic() + PATIENCE
        while not holds(self.shown):
            assert time.monotonic() < deadline, f"it never came:\n{self.shown}"
            self._read()
        return self.shown

    def until_shown(self, text: str) -> str:
        return self.until(lambda shown: text in shown)

    def wait(self) -> int:
        """Read to the end; gives the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, f"it does not end:\n{self.shown}"
        self._child.close()
        return self._child.exitstatus if self._child.exitstatus is not None else -int(self._child.signalstatus or 0)

    def _read(self) -> bool:
        try:
            text = self._child.read_nonblocking(65536, timeout=1)
            self.tail = (self.tail + text)[-4096:]
            self._stream.feed(text)
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._child.close(force=True)
