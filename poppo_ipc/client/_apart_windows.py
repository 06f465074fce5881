"""A process apart on Windows: a console of its own that nobody sees, and a job that holds what it has started.

Not without a console (`DETACHED_PROCESS`): each console program that it starts would then open a window.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from poppo_ipc._win32.calls import ERROR_ACCESS_DENIED
from poppo_ipc._win32.jobs import Job

__all__ = ["Apart"]

_FLAGS: Final = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
#: The exit code of what is ended here: the same as that of `Popen.kill`.
_KILLED: Final = 1


class Apart:
    """A program that was started; Ctrl-C and the end of the console do not reach it. It outlives this one.

    Args:
        argv: the program and its arguments.
        output: the descriptor that its stdout and stderr go to.
        cwd: its working directory; None for ours.
        environ: its environment.
        private: without effect here, where new files have the rights of their directory.

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
        # As close_fds is on, it inherits these three handles and no other.
        def start(flags: int) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                creationflags=flags,
                cwd=cwd,
                env=environ,
            )

        try:
            # A job that we are in, as a terminal's or a service's, may end all that is in it.
            self._process = start(_FLAGS | subprocess.CREATE_BREAKAWAY_FROM_JOB)
        except OSError as error:
            if error.winerror != ERROR_ACCESS_DENIED:
                raise
            self._process = start(_FLAGS)
        self._job = Job(lasting=True)
        try:
            self._job.add(self._process.pid)
        except OSError:
            if self._process.poll() is None:  # else it has ended already, and that is no member
                self._process.kill()
                raise

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for its end; gives how it ended."""
        return self._process.wait()

    def ask_to_end(self) -> None:
        """The same as `kill`: a process that shares no console with us cannot be asked."""
        self.kill()

    def kill(self) -> None:
        """End it at once, with all that it has started since it was in its job, which is a moment after its start."""
        self._job.kill(_KILLED)
