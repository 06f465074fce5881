"""How many tasks a second a daemon runs that do nothing: submitted, claimed, run by a worker, ended, each step on disk.

    python scripts/bench_tasks.py [--quick] [--json] [--tasks 5000] [--workers 2]

The daemon runs in a process of its own, with its workers; this one submits the tasks and waits for the last of them.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"  # as bench_submit.py, which it uses

import argparse
import json
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench_submit import sync_seconds

from poppo_ipc import connect
from poppo_ipc.client import Client
from poppo_ipc.daemon import Daemon, DaemonConfig
from poppo_ipc.daemon._garbage import spare_garbage_collector

_TOGETHER = 50


def noop() -> None:
    """The task."""


async def serve(directory: Path, workers: int) -> None:
    """The daemon, until SIGTERM."""
    config = DaemonConfig(state_dir=directory, socket=str(directory / "d.sock"), workers=workers, no_auth=True)
    daemon = Daemon(config)
    daemon.task("noop")(noop)
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.serve)
        spare_garbage_collector()  # as the daemon program does
        print("ready", flush=True)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await anext(signals)
            daemon.stop_soon()


async def submit(client: Client, count: int) -> None:
    """Submit tasks, so many at once as the daemon takes from one client."""
    for first in range(0, count, _TOGETHER):
        async with client.pipeline() as pipeline:
            for _ in range(min(_TOGETHER, count - first)):
                pipeline.call("task.submit", type="noop")


async def measure(address: str, count: int, workers: int) -> float:
    """Seconds from the resumption of a queue that holds all tasks to the end of the last."""
    async with connect(address, token=None, timeout=None) as client:
        while (await client.call("worker.status"))["idle"] < workers:
            pass  # each question takes the daemon a moment, so this is no busy loop of ours
        await client.call("queue.pause")
        await submit(client, count)
        async with client.subscribe("task.completed") as events:
            began = time.perf_counter()
            await client.call("queue.resume")
            ended = 0
            while ended < count:
                await anext(events)
                ended += 1
            taken = time.perf_counter() - began
        status = await client.call("queue.status")
    assert status["completed"] == count, status
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few tasks, to see that it runs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        trio.run(serve, options.serve, options.workers)
        return
    count = 200 if options.quick else options.tasks
    with tempfile.TemporaryDirectory(prefix="poppo-") as name:
        directory = Path(name)
        command = [sys.executable, __file__, "--serve", name, "--workers", str(options.workers)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
            try:
                assert daemon.stdout is not None
                daemon.stdout.readline()
                taken = trio.run(measure, str(directory / "d.sock"), count, options.workers)
            finally:
                daemon.terminate()
        sync = sync_seconds(directory, 50)
    figures = {
        "tasks": count,
        "workers": options.workers,
        "tasksPerSecond": round(count / taken, 1),
        "diskSyncMs": round(sync * 1000, 3),
    }
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"{count} tasks on {options.workers} workers: {count / taken:.0f} a second; the disk syncs in "
              f"{sync * 1000:.2f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
