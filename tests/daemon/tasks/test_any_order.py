"""Whatever happens to tasks, side by side and in any order: memory and disk tell the same story."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.daemon.workers import Ending, Job, JobOutcome
from poppo_ipc.errors import Conflict, NotFound

from .kit import bench

pytestmark = pytest.mark.trio

ENDINGS = {
    "complete": Ending.COMPLETED,
    "exchange": Ending.COMPLETED,
    "fail": Ending.FAILED,
    "exchange failed": Ending.FAILED,
    "interrupt": Ending.INTERRUPTED,
}
STEPS = ("submit", "claim", *ENDINGS, "cancel", "clear", "pause", "resume", "retry", "settle")


@settings(max_examples=14, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(STEPS), max_size=40), chances=st.randoms(use_true_random=False))
async def test_whatever_happens_side_by_side_memory_and_disk_agree(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], chances: Any
) -> None:
    async with bench(tmp_path_factory.mktemp("any"), random=lambda: 0.0) as it:
        jobs: list[Job] = []
        known: list[str] = []
        refused: list[str] = []

        async def one(step: str, task_id: str | None, job: Job | None) -> None:
            try:
                await act(step, task_id, job)
            except (Conflict, NotFound):
                refused.append(step)

        async def act(step: str, task_id: str | None, job: Job | None) -> None:
            match step:
                case "submit":
                    known.append(await it.submit(max_attempts=2, queue=chances.choice("ab")))
                case "claim":
                    with trio.CancelScope() as scope:
                        waiting.append(scope)
                        jobs.append(await it.queue.next_job("w"))
                case "exchange" | "exchange failed" if job is not None:
                    following = await it.queue.exchange_job(job, "w", JobOutcome(ending=ENDINGS[step]))
                    if following is not None:
                        jobs.append(following)
                    it.wall.ms += 1000
                case "complete" | "fail" | "interrupt" if job is not None:
                    await it.queue.job_ended(job, "w", JobOutcome(ending=ENDINGS[step]))
                    it.wall.ms += 1000
                case "cancel" if task_id is not None:
                    with trio.CancelScope() as scope:
                        waiting.append(scope)
                        await it.queue.cancel(None, task_id)
                case "clear":
                    await it.control.clear(None, chances.choice(["a", "b", None]), None)
                case "pause" | "resume":
                    await it.control.set_paused(None, chances.choice(["a", None]), step == "pause")
                case "retry" if task_id is not None:
                    known.append((await it.queue.retry(None, it.task(retry_of=task_id)))["newTaskId"])

        waiting: list[trio.CancelScope] = []
        async with trio.open_nursery() as nursery:
            for step in steps:
                if step == "settle":
                    await it.settle()
                    continue
                job = jobs.pop() if jobs and step in ENDINGS else None
                nursery.start_soon(one, step, chances.choice(known) if known else None, job)
                for _ in range(chances.randrange(3)):
                    await trio.lowlevel.checkpoint()
            await it.settle()
            await wait_all_tasks_blocked()
            for scope in waiting:
                scope.cancel()
        await it.check()
