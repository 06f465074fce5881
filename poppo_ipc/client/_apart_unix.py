"""A process apart on Unix: a session of its own, whose group is what it has started.

By `subprocess`, and not by forking twice: nothing runs between fork and exec in a program that may have threads; the
new process is our child, so its pid cannot have become another's when it has to be ended, and its exit code is ours to
read. What a second fork would add, that a terminal it opens cannot become its own, matters to no daemon.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

__all__ = ["Apart"]


class Apart:
    """A program that was started; Ctrl-C and the end of the terminal do not reach it. It outlives this one.

    Args:
        argv: the program and its arguments.
        output: the descriptor that its stdout and stderr go to.
        cwd: its working directory; None for ours.
        environ: its environment.
        private: whether what it makes is for its owner alone (umask 077).

    Raises OSError where it cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        output: int,
        *,
        cwd: str | os.PathLike[str] | None,
        environ: Mapping[str, str],
        private: bool = False,
    ) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o077 if private else -1,
            cwd=cwd,
            env=environ,
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def poll(self) -> int | None:
        """How it ended (negative: by that signal); None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for its end; gives how it ended."""
        return self._process.wait()

    def ask_to_end(self) -> None:
        """Have it end in order. Without effect on one that has ended."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with all that it has started, also where it has ended itself. To be called once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # A group that lives on without its first process keeps the number from others.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
