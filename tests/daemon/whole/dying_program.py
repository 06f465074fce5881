"""A daemon that dies when the failure of a task is on the disk, before anybody hears of it: `dying_program.py HOME`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[2]))

from cli.processes import at

from poppo_ipc.daemon import Daemon, DaemonConfig
from poppo_ipc.daemon.store import StoredEvents


class LastEvents(StoredEvents):
    """Its events go out, up to the one that it dies at."""

    def connect(self, emit: Callable[[str, int, bytes], None]) -> None:
        def send(name: str, seq: int, frame: bytes) -> None:
            if name == "task.failed":
                os.kill(os.getpid(), 9)
            emit(name, seq, frame)

        super().connect(send)


async def main(home: Path) -> None:
    """Serve, with one worker, for as long as it lives."""
    from poppo_ipc.daemon import _daemon

    _daemon.StoredEvents = LastEvents  # type: ignore[attr-defined]
    daemon = Daemon(DaemonConfig(state_dir=home, socket=at(home / "d.sock"), workers=1, no_auth=True, kill_grace=0.5))
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.serve)
        print("ready", flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
