"""How many tasks a second can be submitted, each on disk before it is acknowledged.

A daemon's store, task queue and server run in one process; this one is the client: one connection, with so many
commands outstanding at any time, each with an idempotency key. Also printed: how long the disk takes to sync, which
bounds what any program can do that waits for it one command at a time.

    python scripts/bench_submit.py [--quick] [--json] [--tasks 40000] [--outstanding 256] [--key command|args|both|none]
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"  # it measures a Unix socket

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

MAGIC = b"POPPO"
PROJECTS = 4


def sync_seconds(directory: Path, count: int) -> float:
    """The median time that the disk takes to write and sync 4 KiB."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            getattr(os, "fdatasync", os.fsync)(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)


# -- the server's process -------------------------------------------------------------------------------------------


def serve(directory: Path) -> None:
    """Serve until SIGTERM."""
    import trio

    from poppo_ipc.commands import Router
    from poppo_ipc.daemon._garbage import spare_garbage_collector
    from poppo_ipc.daemon.projects import Projects, projects_router
    from poppo_ipc.daemon.store import StoredAnswers, StoredEvents, open_store
    from poppo_ipc.daemon.tasks import QueueControl, TaskOptions, TaskQueue, tasks_router
    from poppo_ipc.limits import Limits
    from poppo_ipc.server import Server, encode_event

    def encode(name: str, data: Any, seq: int) -> bytes:
        return bytes(encode_event(name, data, 1 << 24, seq).frame)

    async def notified(event: str, data: Any) -> None:
        pass

    async def main() -> None:
        limits = Limits(running_per_client=4096)
        async with open_store(directory / "state.db", encode) as store:
            events = await StoredEvents.load(store, limits.kept_events, limits.kept_event_bytes)
            answers = await StoredAnswers.load(
                store, limits.kept_answers, limits.kept_answer_bytes, limits.kept_answer_seconds
            )
            queue = TaskQueue(store, answers, TaskOptions())
            projects = Projects(store, answers, queue)
            router = Router()
            router.include(projects_router(projects, notified))
            router.include(
                tasks_router(queue, QueueControl(queue), lambda: ("bench",), lambda project: project in projects)
            )
            server = Server(
                router,
                address=str(directory / "bench.sock"),
                limits=limits,
                log=events.log,
                answers=answers,
                publisher=events.publish,
            )
            events.connect(server.emit)
            await projects.load()
            await queue.load()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(events.trim)
                await nursery.start(server.serve)
                spare_garbage_collector()  # as the daemon program does
                print("ready", flush=True)
                began = time.process_time()
                with trio.open_signal_receiver(signal.SIGTERM) as signals:
                    async for _ in signals:
                        break
                nursery.cancel_scope.cancel()
            seconds = time.process_time() - began
            print(json.dumps({"commits": store.commits, "changes": store.changes, "seconds": seconds}), flush=True)

    trio.run(main)


# -- the client -----------------------------------------------------------------------------------------------------


class Connection:
    """Frames over a blocking socket: as little of a client as there can be, so that the server is what is measured."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._buffer = b""
        self._decode = msgspec.json.Decoder().decode
        self.read()
        self.send(frame({"type": "auth", "id": "auth", "capabilities": ["idempotency", "subscribe"]}))
        self.read()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read(self) -> list[dict[str, Any]]:
        """The messages that have come, events aside; waits for one at least."""
        found: list[dict[str, Any]] = []
        while not found:
            self._buffer += self._socket.recv(256 * 1024)
            at = 0
            while len(self._buffer) - at >= 9:
                end = at + 9 + int.from_bytes(self._buffer[at + 5 : at + 9], "big")
                if end > len(self._buffer):
                    break
                message = self._decode(self._buffer[at + 9 : end])
                if message["type"] != "event":
                    found.append(message)
                at = end
            self._buffer = self._buffer[at:]
        return found

    def call(self, command: str, args: dict[str, Any]) -> Any:
        """One command, alone."""
        self.send(frame({"type": "command", "id": "call", "command": command, "args": args}))
        (answer,) = self.read()
        return answer["result"]


def frame(message: dict[str, Any]) -> bytes:
    payload = msgspec.json.encode({"version": "1.0.0", "timestamp": int(time.time() * 1000), **message})
    return MAGIC + len(payload).to_bytes(4, "big") + payload


def submission(number: int, run: str, key: str, project: str) -> bytes:
    args: dict[str, Any] = {"type": "bench", "projectId": project, "payload": {"number": number}}
    message: dict[str, Any] = {"type": "command", "id": str(number), "command": "task.submit", "args": args}
    if key in ("command", "both"):
        message["idempotencyKey"] = f"{run}-{number}"
    if key in ("args", "both"):
        args["idempotencyKey"] = f"{run}-{number}"
    return frame(message)


def load(connection: Connection, tasks: int, outstanding: int, key: str) -> dict[str, Any]:
    """Submit, and measure from the first command to the last answer."""
    run = os.urandom(6).hex()
    ids = []
    for _ in range(PROJECTS):
        directory = tempfile.mkdtemp()
        ids.append(connection.call("project.add", {"path": directory})["project"]["id"])
        os.rmdir(directory)
    frames = [submission(number, run, key, ids[number % PROJECTS]) for number in range(tasks)]
    began_at = [0.0] * tasks
    took: list[float] = []
    sent = 0
    began = time.perf_counter()
    while len(took) < tasks:
        until = min(tasks, len(took) + outstanding)
        if until > sent:
            now = time.perf_counter()
            began_at[sent:until] = [now] * (until - sent)
            connection.send(b"".join(frames[sent:until]))
            sent = until
        answers = connection.read()
        now = time.perf_counter()
        for answer in answers:
            if answer["type"] != "response":
                raise SystemExit(f"refused: {answer}")
            took.append(now - began_at[int(answer["id"])])
    seconds = time.perf_counter() - began
    took.sort()
    return {
        "acknowledgedPerSecond": round(tasks / seconds),
        "tasks": tasks,
        "seconds": round(seconds, 3),
        "latencyMs": {f"p{p}": round(took[min(tasks - 1, tasks * p // 100)] * 1000, 2) for p in (50, 95, 99)},
    }


def measure(tasks: int, outstanding: int, key: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=".") as name:
        directory = Path(name)
        sync = sync_seconds(directory, 50)
        # A socket's path is short; the state is where the disk is that was measured.
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", os.path.relpath(directory)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            server.stdout.readline()
            connection = Connection(Path(os.path.relpath(directory / "bench.sock")))
            load(connection, min(2000, tasks), outstanding, key)  # to warm up
            result = load(connection, tasks, outstanding, key)
            server.send_signal(signal.SIGTERM)
            store = json.loads(server.stdout.readline())
            server.wait()
        finally:
            server.kill()
            server.wait()
            if server.stdout is not None:
                server.stdout.close()
    return {
        "diskSyncMs": round(sync * 1000, 3),
        "outstanding": outstanding,
        "key": key,
        **result,
        "changesPerCommit": round(store["changes"] / store["commits"], 1),
        "serverMicrosecondsPerTask": round(store["seconds"] / store["changes"] * 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=40_000)
    parser.add_argument("--outstanding", type=int, default=256)
    parser.add_argument("--key", choices=("command", "args", "both", "none"), default="command")
    parser.add_argument("--quick", action="store_true", help="less than three seconds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    result = measure(4_000 if options.quick else options.tasks, options.outstanding, options.key)
    if options.json:
        print(json.dumps(result))
        return
    print(f"disk sync          {result['diskSyncMs']} ms")
    print(f"acknowledged       {result['acknowledgedPerSecond']} tasks/s ({result['tasks']} in {result['seconds']} s)")
    print(f"latency            {result['latencyMs']} ms with {result['outstanding']} outstanding")
    print(f"changes a commit   {result['changesPerCommit']}")
    print(f"server's CPU       {result['serverMicrosecondsPerTask']} microseconds a task")


if __name__ == "__main__":
    main()
