"""How a process ended, in words. Imported by worker processes too: nothing beyond the standard library."""

from __future__ import annotations

import signal
import sys
from typing import Final

__all__ = ["KILLED", "STOPPED", "exit_text"]

#: Codes on Windows, as NTSTATUS: of what was ended from outside (DBG_TERMINATE_PROCESS, which Windows itself uses when
#: a session ends), and of what Ctrl-C or Ctrl-Break has ended (STATUS_CONTROL_C_EXIT).
KILLED: Final = 0x40010004
STOPPED: Final = 0xC000013A

_FIRST_FAULT: Final = 0x80000000
_WORDS: Final = {
    0x80000003: "a breakpoint",
    0xC0000005: "an access violation",
    0xC0000006: "an error reading a page from its file",
    0xC0000017: "a lack of memory",
    0xC000001D: "an illegal instruction",
    0xC0000094: "a division by zero",
    0xC00000FD: "a stack overflow",
    0xC0000135: "a missing DLL",
    0xC0000139: "a function missing from a DLL",
    0xC0000142: "a DLL that did not start",
    0xC0000374: "a damaged heap",
    0xC0000409: "a fail-fast exception",
}


def exit_text(returncode: int, platform: str = sys.platform) -> str:
    """How a process ended, in words: `exited with code 3`, `killed by SIGSEGV`, `killed by an access violation (…)`.

    `returncode` is as of `subprocess`.
    """
    if platform == "win32":
        return _windows(returncode % 2**32)
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def _windows(code: int) -> str:
    if code == KILLED:
        return "killed"
    if code == STOPPED:
        return "stopped by Ctrl-C"
    if code >= _FIRST_FAULT:
        return f"killed by {_WORDS.get(code, 'an exception')} (0x{code:08X})"
    return f"exited with code {code}"
