"""Removing projects, with what that means for their tasks; and projects as a client sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from tasks.kit import LIMIT, Gate, bench
from tasks.test_commands import served
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.daemon.workers import Ending
from poppo_ipc.errors import CommandError, Conflict, NotFound

from .kit import add

pytestmark = pytest.mark.trio


async def test_removed_its_waiting_tasks_are_cancelled_and_the_ended_ones_stay(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        project = await add(it, tmp_path / "a", name="mine")
        other = await it.submit(id="other")
        done = await it.submit(project=project, priority=5)
        await it.run_one()
        waiting = [await it.submit(project=project) for _ in range(3)]
        assert await it.projects.remove(None, project, False) == {"message": "Project removed successfully"}
        for task in waiting:
            row = await it.row(task)
            assert (row["status"], row["error"]) == ("cancelled", "its project was removed")
        assert await it.state(done) == "completed"
        assert it.told("project.removed") == [
            {"projectId": project, "name": "mine", "path": str((tmp_path / "a").resolve())}
        ]
        assert project not in it.projects
        await it.check()
        assert (await it.claim()).task_id == other
        with pytest.raises(NotFound):
            await it.submit(project=project)
        assert project not in it.queue.schedule._weights
    async with bench(tmp_path) as it:
        assert it.projects.list() == []
        # The directory can be added again.
        assert await add(it, tmp_path / "a") != project


async def test_with_running_tasks_it_is_not_removed_and_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        project = await add(it, tmp_path / "a")
        await it.submit(project=project)
        waiting = await it.submit(project=project)
        job = await it.claim()
        with pytest.raises(Conflict, match="are running"):
            await it.projects.remove(None, project, False)
        assert it.told("project.removed") == []
        await it.end(job)
        assert (await it.claim()).task_id == waiting


async def test_by_force_running_tasks_are_all_stopped_at_once_and_then_it_goes(tmp_path: Path) -> None:
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        project = await add(it, tmp_path / "a")
        tasks = [await it.submit(project=project, max_attempts=9) for _ in range(4)]
        jobs = [await it.claim() for _ in range(3)]
        removed = trio.Event()

        async def remove() -> None:
            await it.projects.remove(None, project, True)
            removed.set()

        nursery.start_soon(remove)
        with trio.fail_after(LIMIT):
            while len(it.pool.stopped) < 3:
                await trio.lowlevel.checkpoint()
        assert sorted(it.pool.stopped) == tasks[:3]
        # Nothing more of it starts meanwhile.
        assert it.queue.schedule.pick(it.wall.ms) is None
        for job in jobs:
            assert not removed.is_set()
            await it.end(job, Ending.CANCELLED)
        with trio.fail_after(LIMIT):
            await removed.wait()
        for task in tasks:
            assert await it.state(task) == "cancelled"
        assert project not in it.projects
        await it.check()


async def test_by_force_a_task_that_is_being_claimed_is_stopped_too(tmp_path: Path) -> None:
    """It ran when the removal was stored, which was refused then, for all its force."""
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        project = await add(it, tmp_path / "a")
        task = await it.submit(project=project)

        async def work() -> None:
            job = await it.queue.next_job("w1")
            with trio.fail_after(LIMIT):
                while not it.pool.stopped:
                    await trio.lowlevel.checkpoint()
            await it.end(job, Ending.CANCELLED)

        async with Gate(it.store) as gate, trio.open_nursery() as removing:
            nursery.start_soon(work)
            await wait_all_tasks_blocked()
            removing.start_soon(it.projects.remove, None, project, True)
            await wait_all_tasks_blocked()
            gate.open()
        assert project not in it.projects
        assert await it.state(task) == "cancelled"
        await it.check()


async def test_who_removes_by_force_may_give_up_and_it_goes_on_as_before(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        project = await add(it, tmp_path / "a")
        await it.submit(project=project)
        waiting = await it.submit(project=project)
        job = await it.claim()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(it.projects.remove, None, project, True)
                with trio.CancelScope(shield=True):
                    while not it.pool.stopped:
                        await it.settle()
                scope.cancel()
        await it.end(job, Ending.CANCELLED)
        assert (await it.claim()).task_id == waiting


# -- as a client sees it --------------------------------------------------------------------------------------------


async def test_the_commands(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        client = it.client
        (tmp_path / "a").mkdir()
        added = await client.call("project.add", path=str(tmp_path / "a"), config={"x": 1})
        project = added["project"]["id"]
        listed = await client.call("project.list")
        assert listed["count"] == 1
        assert listed["projects"] == [
            {"id": project, "name": "a", "path": added["project"]["path"], "status": "active", "enabled": True,
             "lastActivity": None}
        ]  # fmt: skip
        texts = {"start": "started", "stop": "stopped", "restart": "restarted"}
        for verb, done in texts.items():
            answer = await client.call(f"project.{verb}", projectId=project)
            assert answer == {"message": f"Project {done} successfully"}
        await client.call("project.update", projectId=project, config={"x": None, "y": 2})
        status = await client.call("project.status", projectId=project)
        assert status["config"] == {"y": 2}
        assert status["tasks"] == {"pending": 0, "running": 0, "completed": 0, "failed": 0, "cancelled": 0}
        told = await client.call("notify-project-change", event="saved", data={"file": "x"})
        assert told == {"success": True, "event": "saved", "processed": True}
        await client.call("task.submit", type="work", projectId=project)
        job = await it.bench.claim()
        assert isinstance(await it.refused("project.remove", projectId=project), Conflict)
        await it.bench.end(job)
        answer = await client.call("project.remove", projectId=project, force=True)
        assert answer == {"message": "Project removed successfully"}
        for verb in ("start", "stop", "restart", "remove", "status"):
            error = await it.refused(f"project.{verb}", projectId=project)
            assert (type(error), error.message) == (NotFound, f"There is no project {project}")
        with pytest.raises(CommandError) as caught:
            await client.call("project.update", projectId=project, config={})
        assert caught.value.code == "NOT_FOUND"
