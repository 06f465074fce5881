"""A disk that takes nothing more, under a whole daemon: clear errors, nothing half-done, nothing lost, no restart."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from cli.processes import Program

from poppo_ipc import SyncClient, Unavailable
from poppo_ipc.client import Client
from poppo_ipc.daemon import Daemon
from poppo_ipc.daemon.store import Store, Transaction

from .programs import TRUE
from .raw import OriginalClient
from .test_embedded import config, serving, until

LIMITED = Path(__file__).with_name("limited_program.py")
PRINTED = 200_000
#: More than any page has room for.
LARGE = {"argv": TRUE, "stdin": "x" * 50_000}


@pytest.fixture
def home(short_dir: Path) -> Path:
    return short_dir


def waiting(go: Path) -> dict[str, Any]:
    """A task that prints much once it is told to."""
    script = (
        "import os, sys, time\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
        f"sys.stdout.write('x' * {PRINTED})"
    )
    return {"argv": [sys.executable, "-c", script, str(go)]}


async def set_room(store: Store, pages: int) -> None:
    """Let the database grow by so many pages: SQLite tells of it as of a full disk."""

    def limit(transaction: Transaction) -> None:
        here = transaction.execute("PRAGMA page_count").fetchone()[0]
        transaction.execute(f"PRAGMA max_page_count = {here + pages}")

    await store.write(limit)


async def tasks(client: Client) -> int:
    return len((await client.call("task.list", limit=1000))["tasks"])


@pytest.mark.trio
async def test_a_full_disk(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    daemon = Daemon(config(home, workers=1))
    go = home / "go"
    async with serving(daemon) as client, client.subscribe("task.*") as events:
        assert daemon._queue is not None
        store = daemon._queue.store
        task = (await client.call("task.submit", type="command", payload=waiting(go)))["taskId"]
        await until(events, "task.started")
        await set_room(store, 0)

        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await client.call("task.submit", type="command", payload=LARGE, idempotency_key="k")
            error = caught.value
            assert error.message == "The daemon cannot store changes: the disk is full. Free some space and try again"
            assert (error.code, error.details) == ("UNAVAILABLE", {"reason": "full"})
        assert await tasks(client) == 1
        assert str(home / "state.db") in caplog.text
        assert "SQLITE_FULL" in caplog.text

        go.touch()
        with trio.fail_after(30):
            while f"The end of task {task} could not be stored" not in caplog.text:  # noqa: ASYNC110 - filled elsewhere
                await trio.sleep(0.01)
        assert (await client.call("task.status", taskId=task))["status"] == "running"

        await set_room(store, 100_000)
        answer = await client.call("task.submit", type="command", payload=LARGE, idempotency_key="k")
        assert answer == await client.call("task.submit", type="command", payload=LARGE, idempotency_key="k")
        assert (await until(events, "task.completed")).data["taskId"] == task
        assert (await client.call("task.status", taskId=task))["status"] == "completed"
        assert (await client.call("task.output", taskId=task))["outputBytes"] == PRINTED
        # The worker goes on.
        assert (await until(events, "task.completed")).data["taskId"] == answer["taskId"]
        assert await tasks(client) == 2


def test_served_with_files_that_cannot_be_written(home: Path) -> None:
    """Of a real process, refused by the kernel; and healthy again without a restart."""
    if sys.platform == "win32":
        raise NotImplementedError
    socket, go = home / "sock", home / "go"
    options: list[str | Path] = ["--socket", socket, "--state-dir", home / "state", "--workers", "1", "--no-auth"]
    with Program(sys.executable, LIMITED, "serve", *options) as daemon:
        daemon.wait_for("ready on ")
        with SyncClient(socket, token=None) as client, OriginalClient(socket, None) as original:
            task = client.call("task.submit", type="command", payload=waiting(go))["taskId"]
            original.event("task.started", taskId=task)
            daemon.send(signal.SIGUSR1)
            daemon.wait_for("limit set")

            refused: list[tuple[str, dict[str, Any]]] = [
                ("task.submit", {"type": "command", "payload": LARGE}),
                ("task.cancel", {"taskId": task}),
                ("queue.pause", {}),
                ("queue.clear", {}),
                ("project.add", {"path": str(home)}),
            ]
            for command, args in refused:
                for key in (None, command):
                    named = args if key is None else {**args, "idempotency_key": key}
                    with pytest.raises(
                        Unavailable, match=r"^The daemon cannot store changes: the disk fails"
                    ) as caught:
                        client.call(command, **named)
                    assert caught.value.details == {"reason": "io-error"}
                    assert str(home) not in caught.value.message
            assert client.call("queue.status")["paused"] is False
            assert client.call("project.list")["count"] == 0
            assert client.call("task.list")["count"] == 1
            health = client.call("health.check")
            assert health["status"] == "unhealthy"
            assert (health["checks"]["database"], health["checks"]["queue"]) == (False, False)
            assert "cannot store changes" in health["details"]["database"]["text"]
            client.call("worker.scale", count=2)
            go.touch()
            for late in ("worker.added", f"The end of task {task}"):
                while f"{late} could not be stored" not in daemon.output:
                    daemon.wait_for("")

            daemon.send(signal.SIGUSR2)
            daemon.wait_for("limit set")
            original.event("worker.added", workerId="worker-2")
            assert client.call("queue.pause", idempotency_key="queue.pause") == {"message": "Queue all paused"}
            again = client.call("task.submit", type="command", payload=LARGE, idempotency_key="task.submit")["taskId"]
            original.event("task.completed", taskId=task)
            assert len(original.call("task.output", {"taskId": task})["output"]) == PRINTED
            client.call("queue.resume")
            original.event("task.completed", taskId=again)
            assert client.call("task.list")["count"] == 2
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0, daemon.output
        assert "SQLITE_IOERR" in daemon.output
