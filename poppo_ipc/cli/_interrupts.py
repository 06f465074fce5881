"""Ctrl-C, and what is the same to a program."""

from __future__ import annotations

import signal
import sys
import threading

__all__ = ["INTERRUPTS", "break_interrupts"]

if sys.platform == "win32":
    #: The signals by which a person interrupts a program: Ctrl-C, and Ctrl-Break, which Windows has beside it.
    INTERRUPTS = (signal.SIGINT, signal.SIGBREAK)
else:
    #: The signals by which a person interrupts a program.
    INTERRUPTS = (signal.SIGINT,)


def break_interrupts() -> None:
    """From here on Ctrl-Break raises KeyboardInterrupt as Ctrl-C does, where there is such a thing.

    Left alone, it would end the program with no chance to take leave.
    """
    if sys.platform == "win32" and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGBREAK, signal.default_int_handler)
