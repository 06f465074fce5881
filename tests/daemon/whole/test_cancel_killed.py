"""A daemon that is killed when a task that was to be cancelled has ended, and before its client has the answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from cli.processes import Program, at

from poppo_ipc.client import connect
from poppo_ipc.errors import Conflict

from .killing import PROGRAM
from .programs import SLEEP
from .test_embedded import until

DYING = Path(__file__).with_name("dying_program.py")


@pytest.fixture
def home(short_dir: Path) -> Path:
    return short_dir


@pytest.mark.trio
async def test_who_asks_the_next_daemon_has_the_answer_of_the_first(home: Path) -> None:
    """It was CONFLICT: the task that this very command had cancelled was cancelled already."""
    answers: list[Any] = []
    with Program(sys.executable, DYING, home) as first, trio.fail_after(60):
        first.wait_for("ready")
        async with connect(at(home / "d.sock"), token=None, timeout=60.0) as client, trio.open_nursery() as nursery:
            async with client.subscribe("task.started") as events:
                task = (await client.call("task.submit", type="command", payload={"argv": SLEEP}))["taskId"]
                await until(events, "task.started")
            answered = trio.Event()

            async def cancel() -> None:
                answers.append(await client.call("task.cancel", taskId=task, idempotency_key="k"))
                answered.set()

            nursery.start_soon(cancel)
            assert await trio.to_thread.run_sync(first.wait) == (9 if sys.platform == "win32" else -9)
            assert answers == []
            with Program(sys.executable, PROGRAM, home, "1") as second:
                await trio.to_thread.run_sync(second.wait_for, "ready")
                # The client has connected again by itself, and asks with the same key.
                await answered.wait()
                answers.append(await client.call("task.cancel", taskId=task, idempotency_key="k"))
                assert answers == [{"message": f"Task {task} cancelled"}] * 2
                assert (await client.call("task.status", taskId=task))["status"] == "cancelled"
                with pytest.raises(Conflict):
                    await client.call("task.cancel", taskId=task, idempotency_key="another")
