"""Ctrl-C, and what is the same to a program."""

from __future__ import annotations

import signal
import sys
import threading

__all__ = ["break_interrupts"]


def break_interrupts() -> None:
    """From here on Ctrl-Break raises KeyboardInterrupt as Ctrl-C does, where there is such a thing.

    Left alone, it would end the program with no chance to take leave.
    """
    if sys.platform == "win32" and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGBREAK, signal.default_int_handler)
