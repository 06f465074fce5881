"""A small program with argparse."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from poppo_ipc import SyncClient


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pause")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    with SyncClient() as client:
        message = client.call("queue.pause")["message"]
    if not options.quiet:
        print(message)
        print("ask again to resume", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
