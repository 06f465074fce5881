"""`poppo-ipc` whose files cannot grow, nor be written to, from SIGUSR1 to SIGUSR2: `limited_program.py ARGUMENTS`."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import resource
import signal
from types import FrameType

from poppo_ipc.cli import main

HARD = resource.getrlimit(resource.RLIMIT_FSIZE)[1]


def set_limit(number: int, frame: FrameType | None) -> None:
    """The kernel refuses writes to files (not to pipes and sockets), and says so by an error alone."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0 if number == signal.SIGUSR1 else HARD, HARD))
    os.write(1, b"limit set\n")


if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, set_limit)
    signal.signal(signal.SIGUSR2, set_limit)
    sys.exit(main())
