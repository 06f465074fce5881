"""Killed at any moment under load, nothing that was acknowledged is lost, and nothing is done twice."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from . import victim
from .kit import Wall, bench

#: Without a fork each victim has to start, with all that it imports.
KILLS = 20 if sys.platform != "win32" else 4


@contextmanager
def zygote() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, victim.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_and_kill(process: subprocess.Popen[str], directory: Path, seed: str, after: int) -> list[list[Any]]:
    """What a victim said until it was killed, after so many lines or a few more."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([str(directory), seed]) + "\n")
    process.stdin.flush()
    said: list[list[Any]] = []
    pid: int | None = None
    killed = False
    for line in process.stdout:
        words = json.loads(line)
        if words[0] == "pid":
            pid = words[1]
        elif words[0] == "dead":
            break
        else:
            said.append(words)
        if pid is not None and len(said) >= after and not killed:
            killed = True
            os.kill(pid, 9)  # on Windows any number does that
    assert killed, said
    return said


class Record:
    """What was acknowledged by all victims so far, and what it means for what must be on disk."""

    def __init__(self) -> None:
        self.submitted: dict[str, str | None] = {}
        self.ended: dict[str, tuple[int, str]] = {}
        self.claimed: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.states: dict[tuple[str, str], set[Any]] = {}
        self.config: dict[str, int] = {}
        self.last_event = 0
        self.epochs: set[str] = set()

    def take(self, said: list[list[Any]]) -> None:
        self.config.clear()
        # What was tried and not acknowledged may have been stored or not; whatever it was, it is known now.
        for kind, *words in said:
            match kind:
                case "up":
                    self.epochs.add(words[0])
                    assert words[1] >= self.last_event
                    self.last_event = words[1]
                case "submitted":
                    self.submitted[words[0]] = words[1]
                case "claimed":
                    self.claimed[words[0]] = words[1]
                case "ended":
                    self.ended[words[0]] = (words[1], words[2])
                case "cancelled":
                    self.cancelled.add(words[0])
                case "try pause" | "try status":
                    at_first = False if kind == "try pause" else "active"
                    self.states.setdefault((kind[4:], words[0]), {at_first}).add(words[1])
                case "paused" | "status":
                    self.states["pause" if kind == "paused" else "status", words[0]] = {words[1]}
                case "config":
                    self.config[words[0]] = words[1]
                case "event":
                    # Sent in order, without gaps.
                    assert words[0] == self.last_event + 1
                    self.last_event = words[0]


def check_disk(path: Path, record: Record) -> None:
    """Before anything is recovered: all that was acknowledged is there."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        tasks = {row["id"]: row for row in db.execute("SELECT * FROM tasks")}
        for task_id, key in record.submitted.items():
            assert tasks[task_id]["submit_key"] == key
        for task_id in record.cancelled:
            assert tasks[task_id]["status"] == "cancelled"
        for task_id, attempt in record.claimed.items():
            row = tasks[task_id]
            assert row["attempt"] >= attempt or row["status"] in ("pending", "cancelled")
        completed = Counter(
            json.loads(row["frame"])[1]["taskId"]
            for row in db.execute("SELECT frame FROM events WHERE name = 'task.completed'")
        )
        for task_id, row in tasks.items():
            assert completed[task_id] == (row["status"] == "completed")
        for task_id, (attempt, ending) in record.ended.items():
            if ending == "completed":
                assert tasks[task_id]["status"] == "completed"
            texts = db.execute(
                "SELECT text FROM output WHERE task_id = ? AND attempt = ? ORDER BY part", (task_id, attempt)
            )
            assert "".join(row["text"] for row in texts).endswith("end\n")
        paused = dict(tuple(row) for row in db.execute("SELECT name, paused FROM queues"))
        projects = {row["id"]: row for row in db.execute("SELECT * FROM projects")}
        for (kind, name), allowed in record.states.items():
            found = bool(paused.get(name, 0)) if kind == "pause" else projects[name]["status"]
            assert found in allowed
        for project, number in record.config.items():
            assert json.loads(projects[project]["config"])["number"] >= number
        numbers = [row["seq"] for row in db.execute("SELECT seq FROM events ORDER BY seq")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= record.last_event


async def check_recovered(directory: Path, record: Record) -> None:
    """What a new daemon makes of it: nothing runs, and what ran is to be tried again or has failed."""
    with closing(sqlite3.connect(f"file:{directory / 'db'}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        ran = {row["id"]: row for row in db.execute("SELECT * FROM tasks WHERE status = 'running'")}
    async with bench(directory, wall=Wall()) as it:
        await it.check()
        assert it.queue.running == {}
        for task_id, before in ran.items():
            row = await it.row(task_id)
            if before["unwanted"]:
                assert row["status"] == "cancelled"
            elif before["attempt"] < before["max_attempts"]:
                assert (row["status"], row["attempt"]) == ("pending", before["attempt"])
            else:
                assert (row["status"], row["error"]) == ("failed", "the daemon died while the task ran")
        assert len(it.told("task.failed")) == len(ran)
        key = next((key for key in reversed(record.submitted.values()) if key), None)
        if key is not None:
            task_id = next(task for task, its in record.submitted.items() if its == key)
            row = await it.row(task_id)
            same = it.task(
                type=row["type"],
                project=row["project_id"],
                queue=row["queue"],
                payload=json.loads(row["payload"]),
                submit_key=key,
            )
            assert await it.queue.submit(None, same) == {"taskId": task_id}
        record.last_event = it.store.seq


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path) -> None:
    chance = random.Random(os.environ.get("CI") and 1)
    record = Record()
    recovered = 0
    with zygote() as process:
        for number in range(KILLS):
            said = run_and_kill(process, tmp_path, str(number), chance.randrange(1, 250))
            record.take(said)
            check_disk(tmp_path / "db", record)
            trio.run(check_recovered, tmp_path, record)
            recovered += len(record.claimed) > len(record.ended)
    assert len(record.epochs) == 1
    # There was load, and there were tasks running when it ended.
    assert len(record.submitted) > KILLS
    assert record.ended
    assert recovered
