"""A daemon as a program of its own, for tests that kill it: `daemon_program.py HOME WORKERS`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[2]))

from cli.processes import at

from poppo_ipc.daemon import Daemon, DaemonConfig


def note(text: str) -> dict[str, str]:
    """A task that does next to nothing."""
    return {"noted": text}


async def main(home: Path, workers: int) -> None:
    """Serve until SIGTERM, or `daemon.stop`."""
    daemon = Daemon(DaemonConfig(state_dir=home, socket=at(home / "d.sock"), workers=workers, no_auth=True))
    daemon.task("note")(note)
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.serve)
        print("ready", flush=True)
        if sys.platform == "win32":
            return  # stopped by a command
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                daemon.stop_soon()
                break


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
