"""The signals by which a person interrupts a program."""

from __future__ import annotations

import signal
import sys

__all__ = ["INTERRUPTS"]

if sys.platform == "win32":
    #: Ctrl-C, and Ctrl-Break, which Windows has beside it.
    INTERRUPTS = (signal.SIGINT, signal.SIGBREAK)
else:
    #: Ctrl-C.
    INTERRUPTS = (signal.SIGINT,)
