"""`sys.stdout` and `sys.stderr` of a worker: text that goes straight to the pipes, in order.

What is exact: the order within each stream, whoever writes to it; and the order between the two for text that
Python code writes to `sys.stdout` and `sys.stderr`, and for commands where their relay tells it, on Linux (see
`_relay.py`).
Between the two, what a function's child processes and `os.write` print is in the order in which the daemon came to
read it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress

__all__ = ["flush_all", "install", "pass_on"]

#: Waits until the daemon has read what is in the stream of this descriptor, or for a time. Then the order is lost,
#: not the task.
Settle = Callable[[int], None]


class _Turns:
    """Whose text came last."""

    def __init__(self, settle: Settle) -> None:
        self.settle = settle
        self.last: _Stream | None = None


class _Stream(io.TextIOWrapper):
    """One of the two. Before it takes the turn, what the other has written must have been read."""

    def __init__(self, fd: int, turns: _Turns) -> None:
        raw = io.FileIO(fd, "w", closefd=False)
        super().__init__(
            io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=True
        )
        self._turns = turns
        self._fd = fd

    def write(self, text: str) -> int:
        self._take_turn()
        return super().write(text)

    def pass_on(self, data: bytes) -> None:
        """Write bytes past the buffer, in turn."""
        self._take_turn()
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def _take_turn(self) -> None:
        last = self._turns.last
        if last is not self:
            if last is not None:
                last.settle()
            self._turns.last = self

    def settle(self) -> None:
        """Write all out and wait until the daemon has it."""
        if not self.closed:
            _flush(self)
            self._turns.settle(self._fd)


def _flush(stream: _Stream) -> None:
    with suppress(OSError):  # a task that closed the descriptor has lost its text
        stream.flush()


_streams: list[_Stream] = []


def install(settle: Settle) -> None:
    """Put the two in place of those of the interpreter, for good; a function may have closed or replaced them."""
    turns = _Turns(settle)
    _streams[:] = [_Stream(1, turns), _Stream(2, turns)]
    sys.stdout, sys.stderr = _streams


def pass_on(number: int, data: bytes) -> None:
    """Write what a command has written to its stdout (0) or stderr (1), in order."""
    with suppress(OSError):  # the daemon is gone, and so is this process soon
        _streams[number].pass_on(data)


def flush_all() -> None:
    """Write out what is buffered, and undo what a task has done to the streams."""
    stdout, stderr = _streams
    if sys.stdout is not stdout or sys.stderr is not stderr or stdout.closed or stderr.closed:
        for stream in _streams:
            if not stream.closed:
                _flush(stream)
        install(stdout._turns.settle)
        return
    _flush(stdout)
    _flush(stderr)
    stdout._turns.last = None
