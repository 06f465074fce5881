"""`poppo-ipc` with SIGBREAK raised in it at each line on stdin, as on Ctrl-Break: `raising.py ARGUMENT...`."""

from __future__ import annotations

import signal
import sys
import threading

from poppo_ipc.cli import main

assert sys.platform == "win32"


def press() -> None:
    """Raise it in a thread of no account, as the C runtime does."""
    for _ in sys.stdin:
        signal.raise_signal(signal.SIGBREAK)


if __name__ == "__main__":
    threading.Thread(target=press, daemon=True).start()
    sys.exit(main())
