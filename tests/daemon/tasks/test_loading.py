"""A start with a hundred thousand tasks that wait: a few statements, and one step for each of them."""

from __future__ import annotations

import heapq
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from poppo_ipc.daemon.store import Transaction
from poppo_ipc.daemon.tasks import Schedule, TaskOptions, TaskQueue

from .kit import START, bench

COUNT = 100_000

MANY = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO tasks (id, number, type, status, queue, payload, priority, max_attempts, attempt, due_ms, created_ms)
    SELECT 't-' || i, i, 'work', 'pending', 'q' || (i % 5), 'null', i % 3, 1, 0,
        ? + (i % 10 = 0) * 1000000, ? FROM n
"""


@pytest.mark.trio
@pytest.mark.slow
async def test_loading_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path) as it:

        def fill(transaction: Transaction) -> None:
            transaction.execute(MANY, (COUNT, START, START))

        await it.store.write(fill)

        calls: Counter[str] = Counter()
        for name in ("add", "_enter", "_review"):
            real = getattr(Schedule, name)

            def counted(*args: Any, real: Any = real, name: str = name, **named: Any) -> Any:
                calls[name] += 1
                return real(*args, **named)

            monkeypatch.setattr(Schedule, name, counted)
        real_push = heapq.heappush

        def push(heap: list[Any], entry: Any) -> None:
            calls["heappush"] += 1
            real_push(heap, entry)

        monkeypatch.setattr(heapq, "heappush", push)
        statements: list[str] = []
        # The connections that there are do not tell.
        it.store._close_readers()
        real_connect = it.store._connect_reader

        def connect() -> Any:
            connection = real_connect()
            connection.set_trace_callback(statements.append)
            return connection

        monkeypatch.setattr(it.store, "_connect_reader", connect)
        queue = TaskQueue(it.store, it.answers, TaskOptions(), clock=it.wall)
        await queue.load()
        assert len(queue.schedule) == COUNT
        assert calls["add"] == COUNT
        assert calls["_enter"] == COUNT * 9 // 10
        assert calls["_review"] == 0
        # For each its place, and for each queue and priority one in the rotation.
        assert calls["heappush"] <= COUNT + 100
        assert len([statement for statement in statements if "SELECT" in statement]) == 4
        assert queue.counts.of_queue(None)["pending"] == COUNT
        assert next(queue.numbers) == COUNT + 1
        job = await queue.next_job("w1")
        assert job.task_id == "t-2"
