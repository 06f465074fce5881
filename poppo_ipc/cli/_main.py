"""Where the program begins: its exit code, and the sentence where what it is built on is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code. What went wrong is told, and never raised."""
    if find_spec("click") is None:
        print("poppo-ipc: the command line needs click; run: pip install 'poppo-ipc[cli]'", file=sys.stderr)
        return 1
    try:
        from poppo_ipc.cli._root import root

        return root.run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130  # before anything could see to it: what a shell calls the end by SIGINT
