"""Each step in the life of a task: what it leaves on disk, in memory, and what it tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.daemon.workers import Ending
from poppo_ipc.errors import Conflict, NotFound

from .kit import LIMIT, START, Bench, Wall, bench

pytestmark = pytest.mark.trio

STATES = ("pending", "running", "completed", "failed", "cancelled")


async def in_state(it: Bench, state: str) -> str:
    """A task in this state."""
    task_id = await it.submit()
    if state == "cancelled":
        await it.queue.cancel(None, task_id)
    elif state != "pending":
        job = await it.claim()
        assert job.task_id == task_id
        if state != "running":
            await it.end(job, Ending.COMPLETED if state == "completed" else Ending.FAILED, error="broken")
    assert await it.state(task_id) == state
    return task_id


async def test_submitted_claimed_and_completed(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit(payload={"ü": [1, None]}, timeout_ms=1500, max_attempts=3)
        assert it.queue.counts.of_queue("default")["pending"] == 1
        await it.check()
        it.wall.ms += 250
        job = await it.claim("w7")
        assert (job.task_id, job.attempt, job.type, job.payload) == (task_id, 1, "work", {"ü": [1, None]})
        assert (job.cwd, job.timeout) == (None, 1.5)
        row = await it.row(task_id)
        assert (row["status"], row["attempt"], row["worker_id"]) == ("running", 1, "w7")
        assert (row["created_ms"], row["started_ms"], row["completed_ms"]) == (START, START + 250, None)
        await it.check()
        it.wall.ms += 1000
        await it.end(job, result={"n": 1}, duration=0.99, worker="w7")
        row = await it.row(task_id)
        assert (row["status"], row["result"], row["completed_ms"]) == ("completed", '{"n":1}', START + 1250)
        assert await it.attempts(task_id) == [(1, "completed", None)]
        common = {"taskId": task_id, "type": "work", "projectId": None, "workerId": "w7", "attempt": 1}
        assert it.heard == [
            ["task.started", common, 1],
            ["task.completed", {**common, "durationMs": 990.0}, 2],
        ]
        await it.check()


@pytest.mark.parametrize(
    ("ending", "error", "told"),
    [
        (Ending.FAILED, "broken", "broken"),
        (Ending.TIMED_OUT, None, "timed-out"),
        (Ending.CRASHED, "worker was killed", "worker was killed"),
        (Ending.FAILED, "x" * 5000, "x" * 2000),
    ],
)
async def test_a_failure_is_tried_again_after_a_while_until_the_attempts_are_used_up(
    tmp_path: Path, ending: Ending, error: str | None, told: str
) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit(max_attempts=3)
        for attempt, delay in ((1, 1000), (2, 2000)):
            job = await it.claim()
            assert job.attempt == attempt
            await it.end(job, ending, error=error)
            row = await it.row(task_id)
            assert (row["status"], row["due_ms"], row["error"]) == ("pending", it.wall.ms + delay, told)
            assert it.queue.schedule.pick(it.wall.ms + delay - 1) is None
            await it.check()
            it.wall.ms += delay
        job = await it.claim()
        assert (await it.row(task_id))["error"] is None
        await it.end(job, ending, error=error, result={"exitCode": 3})
        row = await it.row(task_id)
        assert (row["status"], row["attempt"], row["error"], row["result"]) == ("failed", 3, told, '{"exitCode":3}')
        assert await it.attempts(task_id) == [(number, ending.value, told) for number in (1, 2, 3)]
        failures = it.told("task.failed")
        assert [(each["attempt"], each["willRetry"], each["error"]) for each in failures] == [
            (1, True, told), (2, True, told), (3, False, told),
        ]  # fmt: skip
        await it.check()


async def test_interrupted_it_is_due_at_once_and_no_attempt_is_used_up(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit(max_attempts=1)
        for _ in range(3):
            job = await it.claim()
            assert job.attempt == 1
            await it.end(job, Ending.INTERRUPTED)
            assert (await it.row(task_id))["attempt"] == 0
            assert it.told("task.failed")[-1]["willRetry"] is True
            await it.check()
        await it.run_one()
        assert await it.state(task_id) == "completed"
        assert await it.attempts(task_id) == [(1, "completed", None)]


async def test_a_result_that_is_no_json_fails_the_task_and_not_the_daemon(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        await it.run_one(result=object())
        row = await it.row(task_id)
        assert row["status"] == "failed"
        assert row["error"].startswith("The result is no JSON")
        await it.check()


async def test_the_time_to_run_at_is_waited_for(tmp_path: Path, mock_clock: MockClock) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:

        def clock() -> int:
            return START + int(trio.current_time() * 1000)

        it.queue.clock = clock
        began = clock()
        await it.submit(due_ms=began + 100_000)
        await it.submit(id="later", due_ms=began + 500_000)
        claimed: list[tuple[str, int]] = []

        async def work() -> None:
            while len(claimed) < 3:
                job = await it.queue.next_job("w1")
                claimed.append((job.task_id, clock() - began))

        nursery.start_soon(work)
        for _ in range(99):
            await wait_all_tasks_blocked()
            await it.settle()
            mock_clock.jump(1.0)
        await wait_all_tasks_blocked()
        await it.settle()
        assert claimed == []
        mock_clock.jump(1.0)
        await until(lambda: len(claimed) == 1)
        assert claimed == [("t-1", 100_000)]
        # One that comes in between is not held up by who waits for a later time.
        await it.submit(id="now")
        await until(lambda: len(claimed) == 2)
        assert claimed[1] == ("now", 100_000)
        for _ in range(400):
            mock_clock.jump(1.0)
            await wait_all_tasks_blocked()
        await until(lambda: len(claimed) == 3)
        assert claimed[2] == ("later", 500_000)


async def until(condition: Any) -> None:
    # The clock of the test stands still: only turns are counted.
    for _ in range(200_000):
        if condition():
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("it did not come to that")


async def test_a_clock_that_is_set_forward_is_noticed_within_a_minute(tmp_path: Path, mock_clock: MockClock) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        await it.submit(due_ms=START + 3_600_000)
        jobs: list[str] = []

        async def work() -> None:
            jobs.append((await it.queue.next_job("w1")).task_id)

        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        it.wall.ms += 3_600_000
        mock_clock.jump(60.0)
        await until(lambda: jobs)


# -- cancelling and trying again ------------------------------------------------------------------------------------


async def test_cancelling_what_waits(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        assert await it.queue.cancel(None, task_id) == {"message": f"Task {task_id} cancelled"}
        row = await it.row(task_id)
        assert (row["status"], row["error"], row["completed_ms"]) == ("cancelled", "cancelled", START)
        assert it.heard == []
        await it.check()


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.FAILED, Ending.INTERRUPTED, Ending.CRASHED])
async def test_cancelling_what_runs_waits_for_its_end_and_it_is_not_tried_again(tmp_path: Path, ending: Ending) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        task_id = await it.submit(max_attempts=5)
        job = await it.claim()
        answers: list[Any] = []

        async def cancel() -> None:
            answers.append(await it.queue.cancel(None, task_id))

        # Twice at once is as good as once.
        for _ in range(2):
            nursery.start_soon(cancel)
        while len(it.pool.stopped) < 2:
            await it.settle()
        assert answers == []
        assert await it.state(task_id) == "running"
        await it.end(job, ending, error="stopped")
        with trio.fail_after(LIMIT):
            while len(answers) < 2:
                await trio.lowlevel.checkpoint()
        assert answers == [{"message": f"Task {task_id} cancelled"}] * 2
        assert await it.state(task_id) == "cancelled"
        (failure,) = it.told("task.failed")
        assert (failure["error"], failure["willRetry"]) == ("cancelled", False)
        with pytest.raises(Conflict, match=f"Task {task_id} is cancelled already"):
            await it.queue.cancel(None, task_id)
        await it.check()


async def test_what_completes_although_it_was_to_be_cancelled_has_completed(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        job = await it.claim()
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                with pytest.raises(Conflict, match=f"Task {task_id} is completed already"):
                    await it.queue.cancel(None, task_id)

            nursery.start_soon(cancel)
            while not it.pool.stopped:
                await it.settle()
            await it.end(job, result=1)
        assert await it.state(task_id) == "completed"
        await it.check()


async def test_who_cancels_may_go_and_the_stopping_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit(max_attempts=3)
        job = await it.claim()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(it.queue.cancel, None, task_id)
                with trio.CancelScope(shield=True):
                    while not it.pool.stopped:
                        await it.settle()
                scope.cancel()
        await it.end(job, Ending.FAILED, error="stopped")
        assert await it.state(task_id) == "cancelled"


@pytest.mark.parametrize("state", STATES)
async def test_what_can_be_cancelled(tmp_path: Path, state: str) -> None:
    async with bench(tmp_path) as it:
        task_id = await in_state(it, state)
        if state in ("completed", "failed", "cancelled"):
            with pytest.raises(Conflict, match=f"Task {task_id} is {state} already"):
                await it.queue.cancel(None, task_id)
            assert await it.state(task_id) == state
        with pytest.raises(NotFound, match="There is no task t-none"):
            await it.queue.cancel(None, "t-none")
        await it.check()


@pytest.mark.parametrize("state", STATES)
async def test_what_can_be_tried_again(tmp_path: Path, state: str) -> None:
    async with bench(tmp_path) as it:
        task_id = await in_state(it, state)
        again = it.task(retry_of=task_id)
        if state in ("failed", "cancelled"):
            answer = await it.queue.retry(None, again)
            assert answer == {"message": f"Task {task_id} retried", "newTaskId": again.id}
            assert (await it.row(again.id))["retry_of"] == task_id
            assert (await it.claim()).task_id == again.id
        else:
            with pytest.raises(Conflict):
                await it.queue.retry(None, again)
            assert await it.row(again.id) == {}
        assert await it.state(task_id) == state
        await it.check()


# -- submitting twice -----------------------------------------------------------------------------------------------


async def test_a_key_adds_one_task_and_not_for_other_work(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        first = await it.submit(submit_key="k", payload={"a": [1, 2]})
        assert await it.submit(submit_key="k", payload={"a": [1, 2]}) == first
        await it.run_one()
        assert await it.submit(submit_key="k", payload={"a": [1, 2]}) == first
        for other in ({"payload": {"a": [2]}}, {"type": "other"}, {"queue": "other"}, {"priority": 1}):
            with pytest.raises(Conflict, match="idempotency key"):
                await it.submit(**{"submit_key": "k", "payload": {"a": [1, 2]}, **other})
        assert await it.submit(submit_key="k2") != first
        await it.check()
    async with bench(tmp_path) as it:
        assert await it.submit(submit_key="k", payload={"a": [1, 2]}) == first


async def test_a_task_of_a_project_that_is_not_there_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        with pytest.raises(NotFound, match="There is no project p-none"):
            await it.submit(project="p-none")
        assert len(it.queue.schedule) == 0
        await it.check()


# -- starting anew --------------------------------------------------------------------------------------------------


async def test_everything_is_as_it_was_after_a_start(tmp_path: Path) -> None:
    wall = Wall()
    async with bench(tmp_path, wall=wall) as it:
        states = {state: await in_state(it, state) for state in ("completed", "failed", "cancelled")}
        low = await it.submit(priority=-1)
        late = await it.submit(due_ms=wall.ms + 5000)
        other = await it.submit(queue="other")
        await it.control.set_paused(None, "other", True)
        last = await it.submit()
    async with bench(tmp_path, wall=wall) as it:
        await it.check()
        for state, task_id in states.items():
            assert await it.state(task_id) == state
        assert it.queue.schedule.is_paused("other")
        assert (await it.claim()).task_id == last
        assert (await it.claim()).task_id == low
        wall.ms += 5000
        assert (await it.claim()).task_id == late
        await it.control.set_paused(None, "other", False)
        assert (await it.claim()).task_id == other
        new = await it.submit()
        assert (await it.row(new))["number"] > (await it.row(last))["number"]
        await it.check()


async def die(directory: Path, wall: Wall) -> dict[str, str]:
    """A daemon that ends without a word while tasks run."""
    async with bench(directory, wall=wall) as it:
        first = await it.submit(max_attempts=2)
        only = await it.submit(max_attempts=1)
        unwanted = await it.submit(max_attempts=9)
        for _ in range(3):
            await it.claim()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(it.queue.cancel, None, unwanted)
                with trio.CancelScope(shield=True):
                    while not it.pool.stopped:
                        await it.settle()
                scope.cancel()
    return {"first": first, "only": only, "unwanted": unwanted}


async def test_what_ran_when_the_daemon_died_is_tried_again_or_has_failed(tmp_path: Path) -> None:
    wall = Wall()
    tasks = await die(tmp_path, wall)
    wall.ms += 1000
    async with bench(tmp_path, wall=wall) as it:
        assert await it.state(tasks["first"]) == "pending"
        assert await it.state(tasks["only"]) == "failed"
        assert (await it.row(tasks["only"]))["error"] == "the daemon died while the task ran"
        assert [each["willRetry"] for each in it.told("task.failed")] == [True, False, False]
        job = await it.claim()
        assert (job.task_id, job.attempt) == (tasks["first"], 2)
        await it.check()


async def test_what_was_to_be_cancelled_when_the_daemon_died_is_cancelled(tmp_path: Path) -> None:
    """It was run again, though who cancelled it could have been told that it was."""
    wall = Wall()
    tasks = await die(tmp_path, wall)
    async with bench(tmp_path, wall=wall) as it:
        row = await it.row(tasks["unwanted"])
        assert (row["status"], row["error"]) == ("cancelled", "cancelled")
        await it.check()
