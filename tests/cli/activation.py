"""A service manager in miniature: listen at a path, and become `serve` with the socket as file descriptor 3.

Usage: activation.py COPIES PATH ARGUMENT...
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import socket


def main() -> None:
    copies, path, *arguments = sys.argv[1:]
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    listening.listen()
    # Out of the way first: it may be number 3 itself.
    spare = os.dup2(listening.fileno(), 30)
    for number in range(3, 3 + int(copies)):
        os.dup2(spare, number)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": copies}
    os.execv(sys.executable, [sys.executable, "-m", "poppo_ipc", "serve", *arguments])


if __name__ == "__main__":
    main()
