"""`poppo-ipc` in a console of its own, in which Ctrl-C is pressed at each line on stdin: `console.py ARGUMENT...`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

assert sys.platform == "win32"


def press() -> None:
    """Press it for all that this console has, which is this program too."""
    for _ in sys.stdin:
        os.kill(0, signal.CTRL_C_EVENT)


def main() -> int:
    """Run the program to its end; gives its exit code."""
    signal.signal(signal.SIGINT, lambda *_: None)
    with subprocess.Popen([sys.executable, "-m", "poppo_ipc", *sys.argv[1:]], stdin=subprocess.DEVNULL) as program:
        threading.Thread(target=press, daemon=True).start()
        return program.wait()


if __name__ == "__main__":
    sys.exit(main())
