"""Things that happen to a task in the same moment, in each order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.daemon.store import StoreError
from poppo_ipc.daemon.workers import Ending
from poppo_ipc.errors import Conflict

from .kit import LIMIT, Gate, bench

pytestmark = pytest.mark.trio


class Results:
    """What calls that ran side by side have given."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.given: dict[str, Any] = {}

    async def begin(self, name: str, call: Callable[[], Awaitable[Any]]) -> None:
        """Start a call, and wait until it waits for the store."""

        async def run() -> None:
            try:
                self.given[name] = await call()
            except (Conflict, StoreError) as error:
                self.given[name] = error

        self._nursery.start_soon(run)
        await wait_all_tasks_blocked()


async def test_cancelled_before_the_claim_is_stored_no_worker_gets_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit()
        results = Results(nursery)
        async with Gate(it.store) as gate:
            await results.begin("cancel", lambda: it.queue.cancel(None, task_id))
            await results.begin("claim", lambda: it.queue.next_job("w1"))
            gate.open()
        await it.check()
        assert set(results.given) == {"cancel"}
        assert await it.state(task_id) == "cancelled"
        assert it.heard == []
        # The worker waits on.
        other = await it.submit()
        await it.settle()
        await wait_all_tasks_blocked()
        assert results.given["claim"].task_id == other


async def test_cancelled_while_the_claim_is_stored_the_worker_that_has_it_is_asked(tmp_path: Path) -> None:
    """The pool was asked before it knew the task, so it could not stop it, and the task ran."""
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit(max_attempts=3)
        results = Results(nursery)

        def stop(task_id: str) -> bool:
            # The worker has it by now.
            assert results.given["claim"].task_id == task_id
            nursery.start_soon(it.end, results.given["claim"], Ending.CANCELLED)
            return True

        it.pool.cancel_job = stop  # type: ignore[method-assign]

        async with Gate(it.store) as gate:
            await results.begin("claim", lambda: it.queue.next_job("w1"))
            await results.begin("cancel", lambda: it.queue.cancel(None, task_id))
            gate.open()
        with trio.fail_after(LIMIT):
            while "cancel" not in results.given:
                await trio.lowlevel.checkpoint()
        assert results.given["cancel"] == {"message": f"Task {task_id} cancelled"}
        assert await it.state(task_id) == "cancelled"
        await it.check()


@pytest.mark.parametrize("first", ["claim", "clear"])
async def test_cleared_while_it_is_claimed_one_of_both_has_it(tmp_path: Path, first: str) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit()
        results = Results(nursery)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "claim": lambda: it.queue.next_job("w1"),
            "clear": lambda: it.control.clear(None, None, None),
        }
        async with Gate(it.store) as gate:
            for name in (first, *({*calls} - {first})):
                await results.begin(name, calls[name])
            gate.open()
        await it.check()
        if first == "claim":
            assert results.given["claim"].task_id == task_id
            assert results.given["clear"] == {"message": "Cleared 0 jobs from queue all"}
            assert await it.state(task_id) == "running"
        else:
            assert results.given == {"clear": {"message": "Cleared 1 jobs from queue all"}}
            assert await it.state(task_id) is None
        nursery.cancel_scope.cancel()


async def test_submitted_and_cleared_in_one_commit_nothing_of_it_is_left(tmp_path: Path) -> None:
    """Who submitted woke after who cleared, and put a task into the rotation that was no more."""
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        for _ in range(10):
            results = Results(nursery)
            async with Gate(it.store) as gate:
                await results.begin("submit", lambda: it.submit())
                await results.begin("clear", lambda: it.control.clear(None, None, None))
                gate.open()
            await it.check()
            assert results.given["clear"]["message"].startswith("Cleared 1 ")


async def test_paused_and_resumed_in_one_commit_memory_has_what_the_disk_has(tmp_path: Path) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        for number in range(8):
            last = bool(number % 2)
            results = Results(nursery)
            async with Gate(it.store) as gate:
                await results.begin("first", partial(it.control.set_paused, None, "q", not last))
                await results.begin("last", partial(it.control.set_paused, None, "q", last))
                gate.open()
            await it.settle()
            assert it.queue.schedule.is_paused("q") is last


async def test_two_cancel_what_waits_and_one_of_them_has_done_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit()
        results = Results(nursery)
        async with Gate(it.store) as gate:
            for name in ("first", "second"):
                await results.begin(name, lambda: it.queue.cancel(None, task_id))
            gate.open()
        await it.check()
        assert results.given["first"] == {"message": f"Task {task_id} cancelled"}
        assert isinstance(results.given["second"], Conflict)


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.COMPLETED])
@pytest.mark.parametrize("first", ["end", "cancel"])
async def test_cancelled_in_the_moment_of_its_end(tmp_path: Path, first: str, ending: Ending) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit(max_attempts=2)
        job = await it.claim()
        results = Results(nursery)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "end": lambda: it.end(job, ending),
            "cancel": lambda: it.queue.cancel(None, task_id),
        }
        async with Gate(it.store) as gate:
            for name in (first, *({*calls} - {first})):
                await results.begin(name, calls[name])
            gate.open()
        with trio.fail_after(LIMIT):
            while len(results.given) < 2:
                await trio.lowlevel.checkpoint()
        await it.check()
        if ending is Ending.COMPLETED:
            assert isinstance(results.given["cancel"], Conflict)
            assert await it.state(task_id) == "completed"
        else:
            assert results.given["cancel"] == {"message": f"Task {task_id} cancelled"}
            assert await it.state(task_id) == "cancelled"
