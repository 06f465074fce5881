"""A daemon that parts are left out of: `without.py SOCKET STATE PART...`."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from poppo_ipc.daemon import Daemon, DaemonConfig


async def main(socket: str, state: Path, parts: list[str]) -> None:
    """Serve until killed."""
    daemon = Daemon(DaemonConfig(state_dir=state, socket=socket, no_auth=True, workers=1), without=parts)
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.serve)
        print("ready", flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
