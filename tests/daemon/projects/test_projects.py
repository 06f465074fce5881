"""Projects: added, changed, started and stopped, with what that means for their tasks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from tasks.kit import LIMIT, START, Bench, Gate, Wall, bench
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.daemon.workers import Ending
from poppo_ipc.errors import Conflict, InvalidArgs

from .kit import add

pytestmark = pytest.mark.trio


# -- told of changes ------------------------------------------------------------------------------------------------


async def test_a_change_that_is_told_of_is_activity_of_the_project_it_names(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        outer, inner = await add(it, tmp_path / "here"), await add(it, tmp_path / "here" / "inside")
        unknown: list[Any] = [
            None, {}, [], {"projectId": "x"}, {"path": str(tmp_path)}, {"path": "here"}, {"path": "\0"},
        ]  # fmt: skip
        for data in unknown:
            assert await it.projects.noted(data) is None
        assert [project.last_activity for project in it.projects.list()] == [None, None]
        assert await it.projects.noted({"projectId": outer}) == outer
        assert it.projects.details(outer).last_activity is not None
        assert it.projects.details(inner).last_activity is None
        assert await it.projects.noted({"path": str(tmp_path / "here" / "a file")}) == outer
        assert await it.projects.noted({"projectId": 5, "path": str(tmp_path / "here" / "inside" / "a")}) == inner
        listed = it.projects.list()
        assert None not in [project.last_activity for project in listed]
    async with bench(tmp_path) as it:
        assert it.projects.list() == listed


# -- adding ---------------------------------------------------------------------------------------------------------


async def test_added_it_is_listed_told_and_there_after_a_start(tmp_path: Path) -> None:
    directory = tmp_path / "日本 project"
    directory.mkdir()
    async with bench(tmp_path) as it:
        answer = await it.projects.add(None, str(directory), None, {"weight": 2, "gone": None})
        reference = answer["project"]
        assert answer == {"message": "Project added successfully", "project": reference}
        assert (reference["name"], reference["path"]) == ("日本 project", str(directory.resolve()))
        assert it.told("project.added") == [
            {"projectId": reference["id"], "name": reference["name"], "path": reference["path"]}
        ]
        listed = it.projects.list()
        details = it.projects.details(reference["id"])
        assert (details.config, details.status, details.enabled) == ({"weight": 2}, "active", True)
        assert details.created_at is not None
        assert details.last_activity is None
    async with bench(tmp_path) as it:
        assert it.projects.list() == listed
        assert it.projects.details(reference["id"]) == details


@pytest.mark.parametrize(
    ("name", "kept"), [("mine", "mine"), ("  mine ", "mine"), ("", "here"), ("   ", "here"), (None, "here")]
)
async def test_its_name_is_that_of_its_directory_where_none_is_given(
    tmp_path: Path, name: str | None, kept: str
) -> None:
    async with bench(tmp_path) as it:
        await add(it, tmp_path / "here", name)
        assert [project.name for project in it.projects.list()] == [kept]


async def test_a_directory_is_one_project_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(tmp_path) as it:
        await add(it, tmp_path / "here")
        monkeypatch.setenv("USERPROFILE" if sys.platform == "win32" else "HOME", str(tmp_path))
        for path in ("here", "here/", "here/../here", "./here"):
            with pytest.raises(Conflict, match="is a project already"):
                await it.projects.add(None, f"{tmp_path}/{path}", "other", None)
        with pytest.raises(Conflict):
            await it.projects.add(None, "~/here", None, None)
        assert len(it.projects.list()) == 1
        assert len(it.told("project.added")) == 1


async def test_a_directory_is_one_project_behind_a_link(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await add(it, tmp_path / "here")
        os.symlink(tmp_path / "here", tmp_path / "link", target_is_directory=True)
        with pytest.raises(Conflict, match="is a project already"):
            await it.projects.add(None, str(tmp_path / "link"), "other", None)


async def test_added_twice_at_once_one_of_both_is_added(tmp_path: Path) -> None:
    outcomes: list[Any] = []
    async with bench(tmp_path) as it:

        async def attempt() -> None:
            try:
                outcomes.append(await it.projects.add(None, str(tmp_path), None, None))
            except Conflict as error:
                outcomes.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(attempt)
        assert sorted(isinstance(outcome, Conflict) for outcome in outcomes) == [False, True]
        assert len(it.projects.list()) == 1


async def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    async with bench(tmp_path) as it:
        for path in ("none", "file", "file/under", "loop", "a\0b", "x" * 5000):
            with pytest.raises(InvalidArgs) as caught:
                await it.projects.add(None, f"{tmp_path}/{path}", None, None)
            assert caught.value.details == {"field": "path", "problem": "expected a directory that exists"}
        with pytest.raises(InvalidArgs, match=r"config\.weight"):
            await it.projects.add(None, str(tmp_path), None, {"weight": 0})
        assert it.projects.list() == []


async def test_a_directory_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(odd)
    os.symlink(odd, tmp_path / "to-odd")
    async with bench(tmp_path) as it:
        with pytest.raises(InvalidArgs, match="expected a directory that exists"):
            await it.projects.add(None, f"{tmp_path}/to-odd", None, None)


# -- changing -------------------------------------------------------------------------------------------------------


async def test_started_and_stopped_it_is_told_where_it_changes_and_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        project = await add(it, tmp_path / "a")
        task = await it.submit(project=project)

        async def say(status: str, done: str) -> None:
            answer = await it.projects.set_status(None, project, status, done)
            assert answer == {"message": f"Project {done} successfully"}

        await say("active", "started")
        for _ in range(2):
            await say("inactive", "stopped")
        assert it.queue.schedule.pick(it.wall.ms) is None
        assert (it.projects.details(project).status, it.projects.details(project).enabled) == ("inactive", False)
        for _ in range(2):
            await say("active", "started")
        changes = [data["status"] for data in it.told("project.status-changed")]
        assert changes == ["inactive", "active"]
        assert (await it.claim()).task_id == task


async def test_stopped_it_stays_over_a_start_and_started_it_wakes_who_waits(tmp_path: Path) -> None:
    wall = Wall()
    async with bench(tmp_path, wall=wall) as it:
        project = await add(it, tmp_path / "a")
        task = await it.submit(project=project)
        await it.projects.set_status(None, project, "inactive", "stopped")
    async with bench(tmp_path, wall=wall) as it, trio.open_nursery() as nursery:
        jobs: list[str] = []

        async def work() -> None:
            jobs.append((await it.queue.next_job("w1")).task_id)

        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        assert jobs == []
        await it.projects.set_status(None, project, "active", "started")
        with trio.fail_after(LIMIT):
            while not jobs:
                await trio.lowlevel.checkpoint()
        assert jobs == [task]


async def test_restarting_tells_both(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        project = await add(it, tmp_path / "a")
        assert await it.projects.restart(None, project) == {"message": "Project restarted successfully"}
        await it.projects.set_status(None, project, "inactive", "stopped")
        await it.projects.restart(None, project)
        changes = [data["status"] for data in it.told("project.status-changed")]
        assert changes == ["inactive", "active", "inactive", "active"]
        assert it.projects.get(project).status == "active"


async def test_stopped_and_started_in_one_commit_memory_has_what_the_disk_has(tmp_path: Path) -> None:
    """Both were told of at once, and whoever woke last decided what memory said."""
    async with bench(tmp_path) as it:
        project = await add(it, tmp_path / "a")
        for number in range(8):
            wanted = ("active", "inactive")[number % 2]
            other = ("inactive", "active")[number % 2]
            async with Gate(it.store) as gate, trio.open_nursery() as nursery:
                for status in (other, wanted):
                    nursery.start_soon(it.projects.set_status, None, project, status, "x")
                    await wait_all_tasks_blocked()
                gate.open()
            assert it.projects.get(project).status == wanted
            assert (project in it.queue.schedule._stopped) == (wanted == "inactive")


async def test_updating_merges_and_what_is_wrong_changes_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        project = await add(it, tmp_path / "a", config={"weight": 2, "env": {"A": "1", "B": "2"}})
        answer = await it.projects.update(None, project, {"env": {"A": None, "C": "3"}, "x": 1})
        assert answer == {"message": "Project updated successfully"}
        config = {"weight": 2, "env": {"B": "2", "C": "3"}, "x": 1}
        assert it.projects.details(project).config == config
        for wrong in ({"weight": 0}, {"big": "x" * 70_000}):
            with pytest.raises(InvalidArgs):
                await it.projects.update(None, project, {"y": 2, **wrong})
        assert it.projects.details(project).config == config
    async with bench(tmp_path) as it:
        assert it.projects.details(project).config == config


async def test_updates_of_one_commit_are_all_there(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        project = await add(it, tmp_path / "a")
        async with Gate(it.store) as gate, trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(it.projects.update, None, project, {str(number): number})
            await wait_all_tasks_blocked()
            gate.open()
        assert it.projects.details(project).config == {str(number): number for number in range(10)}


async def test_a_weight_is_how_many_in_a_row_from_the_next_turn_on_and_after_a_start(tmp_path: Path) -> None:
    wall = Wall()

    async def order(it: Bench, count: int) -> list[str | None]:
        found = []
        for _ in range(count):
            job = await it.claim()
            found.append((await it.row(job.task_id))["project_id"])
            await it.end(job)
        return found

    async with bench(tmp_path, wall=wall) as it:
        heavy = await add(it, tmp_path / "heavy", config={"weight": 3})
        light = await add(it, tmp_path / "light")
        for project in (heavy, light):
            for _ in range(16):
                await it.submit(project=project)
        assert await order(it, 8) == [*[heavy] * 3, light] * 2
    async with bench(tmp_path, wall=wall) as it:
        assert await order(it, 4) == [*[heavy] * 3, light]
        await it.projects.update(None, heavy, {"weight": None})
        assert await order(it, 7) == [*[heavy] * 3, light, heavy, light, heavy]


# -- looking --------------------------------------------------------------------------------------------------------


async def test_counts_and_when_it_last_did_something_over_a_start_and_after_its_tasks_are_gone(tmp_path: Path) -> None:
    """The time was that of the newest task, and went with it."""
    wall = Wall()
    async with bench(tmp_path, wall=wall) as it:
        project = await add(it, tmp_path / "a")
        for ending in (Ending.COMPLETED, Ending.FAILED):
            await it.submit(project=project)
            job = await it.claim()
            wall.ms += 1000
            await it.end(job, ending, error="x")
        await it.submit(project=project)
        await it.queue.cancel(None, await it.submit(project=project))
        tasks = it.projects.details(project).tasks
        assert (tasks.pending, tasks.running, tasks.completed, tasks.failed, tasks.cancelled) == (1, 0, 1, 1, 1)
        last = it.projects.list()[0].last_activity
        assert last is not None
        assert last.timestamp() * 1000 == START + 2000
        await it.control.clear(None, None, None)
    async with bench(tmp_path, wall=wall) as it:
        assert it.projects.list()[0].last_activity == last
        assert it.projects.details(project).tasks.completed == 0
        wall.ms += 5000
        await it.submit(project=project)
        await it.claim()
        started = it.projects.list()[0].last_activity
        assert started is not None
        assert started.timestamp() * 1000 == START + 7000
