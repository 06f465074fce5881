"""The daemon of the demo, in a process of its own: built with the kit as anybody would build theirs."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path

import attrs
import trio

from poppo_ipc.cli._demo_tasks import fragile, report
from poppo_ipc.cli._foreground import ENDING, run_in_foreground
from poppo_ipc.commands import Context, Router
from poppo_ipc.daemon import Daemon, DaemonConfig
from poppo_ipc.daemon._config import QueueConfig
from poppo_ipc.server import TokenAuth

__all__ = ["BLOCK", "demo_router"]

#: What `demo.hash` hashes, over and over.
BLOCK = bytes(range(256)) * 1024
# A pause after each block, or the bar would be full before anybody saw it.
_PAUSE_SECONDS = 0.03
_STDIN = 0
_WORKERS = 2
# Before a task is tried again; a person watches.
_RETRY_SECONDS = 0.2


@attrs.frozen
class Digest:
    """What came of `demo.hash`."""

    bytes: int
    sha256: str


@attrs.frozen
class Built:
    """The data of the demo's events."""

    number: int


def demo_router() -> Router:
    """The demo's own commands and events."""
    router = Router()
    for name in ("build.started", "build.finished", "deploy.started", "deploy.finished"):
        router.event(name, Built)

    @router.command("demo.greet", idempotent=True)
    def greet(name: str, times: int = 1) -> str:
        """Greet somebody."""
        return " ".join([f"Hello, {name}!"] * times)

    @router.command("demo.hash", streaming=True)
    async def hash_blocks(ctx: Context, blocks: int) -> Digest:
        """Hash so many blocks, and tell how far it is."""
        digest = hashlib.sha256()
        for done in range(1, blocks + 1):
            digest.update(BLOCK)
            await ctx.progress(done, blocks)
            await trio.sleep(_PAUSE_SECONDS)
        return Digest(blocks * len(BLOCK), digest.hexdigest())

    @router.command("demo.wait")
    async def wait(ctx: Context) -> None:
        """Wait until cancelled, and tell of it."""
        await ctx.publish("wait.started")
        try:
            await trio.sleep_forever()
        finally:
            # In a cancelled command it goes out all the same; what waits behind it is cut short.
            await ctx.publish("wait.cancelled")

    @router.command("demo.build")
    async def build(ctx: Context, number: int) -> int:
        """Build and deploy, as far as events go; gives the number of the last of them."""
        seq = 0
        for name in ("build.started", "deploy.started", "deploy.finished", "build.finished"):
            seq = await ctx.publish(name, Built(number))
        return seq

    return router


async def _run(address: str, token_file: str, state_dir: str) -> None:
    queue = QueueConfig(backoff_base=_RETRY_SECONDS)
    config = DaemonConfig(socket=address, state_dir=Path(state_dir), workers=_WORKERS, queue=queue)
    daemon = Daemon(config, auth=TokenAuth.from_file(token_file), name="poppo_ipc demo")
    daemon.router.include(demo_router())
    for function in (report, fragile):
        daemon.task(f"demo.{function.__name__}")(function)
    with trio.open_signal_receiver(*ENDING) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_with_parent, nursery.cancel_scope)
            await run_in_foreground(daemon, signals)
            nursery.cancel_scope.cancel()


async def _end_with_parent(everything: trio.CancelScope) -> None:
    """The demo holds the other end of stdin, and so does nobody once it is gone, however it went."""
    if sys.platform == "win32":
        # The other end says nothing, so the read is over when that is closed.
        await trio.to_thread.run_sync(os.read, _STDIN, 1, abandon_on_cancel=True)
    else:
        async with trio.lowlevel.FdStream(os.dup(_STDIN)) as stdin:
            while await stdin.receive_some():
                pass
    everything.cancel()


def main() -> None:
    """Run the daemon until it is stopped, or the demo has gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--token-file", required=True)
    parser.add_argument("--state-dir", required=True)
    options = parser.parse_args()
    trio.run(_run, options.socket, options.token_file, options.state_dir)


if __name__ == "__main__":
    main()
