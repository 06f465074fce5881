"""A program in a console of its own, whose keys are pressed from outside: `console.py COMMAND ARGUMENT...`.

Each line `CTRL_C` or `CTRL_BREAK` on stdin is that key. Ends as the program does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

assert sys.platform == "win32"

KEYS = {"CTRL_C": signal.CTRL_C_EVENT, "CTRL_BREAK": signal.CTRL_BREAK_EVENT}


def press() -> None:
    """Pass the keys on to all that this console has, which is this program too."""
    for line in sys.stdin:
        os.kill(0, KEYS[line.strip()])


def main() -> int:
    """Run the program to its end."""
    for number in (signal.SIGINT, signal.SIGBREAK):
        signal.signal(number, lambda *_: None)
    with subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL) as program:
        threading.Thread(target=press, daemon=True).start()
        return program.wait()


if __name__ == "__main__":
    sys.exit(main())
