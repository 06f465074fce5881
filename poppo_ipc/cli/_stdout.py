"""What stdout takes, on each system: any character, until nobody reads any more."""

from __future__ import annotations

import errno
import sys

__all__ = ["make_stdout_total", "nobody_reads"]

#: What Python makes of ERROR_NO_DATA, which Windows says to who writes to a pipe that nobody reads. No other write to
#: stdout ends so.
_WINDOWS_EPIPE = errno.EINVAL


def make_stdout_total() -> None:
    """Let no text end the program because the encoding lacks a character of it.

    On Windows what is no console gets UTF-8 with plain newlines, as everywhere: the code page there is what programs
    of thirty years ago expected.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
            if sys.platform == "win32" and not stream.isatty():
                reconfigure(encoding="utf-8", newline="\n")


def nobody_reads(error: OSError) -> bool:
    """Whether this says that what the program writes to is a pipe whose reader has gone."""
    if isinstance(error, BrokenPipeError):
        return True
    return sys.platform == "win32" and error.errno == _WINDOWS_EPIPE and error.filename is None
