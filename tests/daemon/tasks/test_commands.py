"""`task.*` and `queue.*` as a client sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from addresses import native_address

from poppo_ipc.client import Client, connect
from poppo_ipc.commands import Router
from poppo_ipc.daemon.projects import projects_router
from poppo_ipc.daemon.tasks import tasks_router
from poppo_ipc.daemon.workers import Ending
from poppo_ipc.errors import CommandError, Conflict, InvalidArgs, NotFound
from poppo_ipc.server import Server

from .kit import LIMIT, Bench, bench

pytestmark = pytest.mark.trio


@attrs.define
class Served:
    bench: Bench
    client: Client

    async def refused(self, command: str, **args: Any) -> CommandError:
        with pytest.raises(CommandError) as caught:
            await self.client.call(command, **args)
        return caught.value


async def ignored(event: str, data: Any) -> None:
    """Nobody has to know."""


@asynccontextmanager
async def served(directory: Path, **options: Any) -> AsyncIterator[Served]:
    async with bench(directory, **options) as it:
        with native_address() as address:
            async with _served(it, address) as client:
                yield Served(it, client)


@asynccontextmanager
async def _served(it: Bench, address: str) -> AsyncIterator[Client]:
    router = Router()
    router.include(tasks_router(it.queue, it.control, lambda: ("work", "play"), it.projects.__contains__))
    router.include(projects_router(it.projects, ignored))
    server = Server(
        router,
        address=address,
        log=it.events.log,
        answers=it.answers,
        publisher=it.events.publish,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        with trio.fail_after(LIMIT):
            async with connect(address, reconnect=False) as client:
                yield client
        nursery.cancel_scope.cancel()


async def test_a_task_from_its_submission_to_its_result(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        client = it.client
        added = (await client.call("project.add", path=str(tmp_path)))["project"]
        project = added["id"]
        answer = await client.call(
            "task.submit",
            type="work",
            projectId=project,
            queue="q",
            payload={"a": 1},
            priority=3,
            timeoutMs=1500,
            maxAttempts=2,
        )
        assert set(answer) == {"taskId"}
        task_id = answer["taskId"]
        job = await it.bench.claim()
        assert (job.task_id, job.cwd, job.timeout, job.payload) == (task_id, added["path"], 1.5, {"a": 1})
        it.bench.queue.job_output(job, "stdout", "grüße\n".encode())
        await it.bench.end(job, Ending.FAILED, error="broken")
        it.bench.wall.ms += 1000
        job = await it.bench.claim("w2")
        it.bench.wall.ms += 500
        await it.bench.end(job, result=[1, None], worker="w2")
        assert await client.call("task.status", taskId=task_id) == {
            "id": task_id,
            "type": "work",
            "status": "completed",
            "projectId": project,
            "createdAt": "2023-11-14T22:13:20.000Z",
            "startedAt": "2023-11-14T22:13:21.000Z",
            "completedAt": "2023-11-14T22:13:21.500Z",
            "error": None,
            "queue": "q",
            "priority": 3,
            "payload": {"a": 1},
            "maxAttempts": 2,
            "runAt": "2023-11-14T22:13:21.000Z",
            "result": [1, None],
            "attempts": [
                {
                    "number": 1,
                    "status": "failed",
                    "workerId": "w1",
                    "startedAt": "2023-11-14T22:13:20.000Z",
                    "completedAt": "2023-11-14T22:13:20.000Z",
                    "error": "broken",
                },
                {
                    "number": 2,
                    "status": "completed",
                    "workerId": "w2",
                    "startedAt": "2023-11-14T22:13:21.000Z",
                    "completedAt": "2023-11-14T22:13:21.500Z",
                    "error": None,
                },
            ],
        }
        async with client.stream("task.output", taskId=task_id) as items:
            assert [item async for item in items] == [{"text": "grüße\n", "stream": "stdout", "attempt": 1}]
            assert items.result == {
                "taskId": task_id, "status": "completed", "error": None, "outputBytes": 8, "output": None,
            }  # fmt: skip


async def test_a_list_has_the_newest_first_and_pages(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        ids = [(await it.client.call("task.submit", type="work"))["taskId"] for _ in range(5)]
        await it.bench.run_one(Ending.FAILED, error="broken")
        listed = await it.client.call("task.list")
        assert (listed["count"], [task["id"] for task in listed["tasks"]]) == (5, ids[::-1])
        assert set(listed["tasks"][0]) == {
            "id", "type", "status", "projectId", "createdAt", "startedAt", "completedAt", "error",
        }  # fmt: skip
        page = await it.client.call("task.list", limit=2, offset=1)
        assert [task["id"] for task in page["tasks"]] == [ids[3], ids[2]]
        failed = await it.client.call("task.list", status="failed")
        assert [(task["id"], task["error"]) for task in failed["tasks"]] == [(ids[0], "broken")]
        assert (await it.client.call("task.list", limit=0))["count"] == 0
        assert (await it.client.call("task.list", status="cancelled")) == {"count": 0, "tasks": []}


@pytest.mark.parametrize(
    ("args", "field", "problem"),
    [
        ({}, "type", "is missing"),
        ({"type": "unknown"}, "type", "expected one of: command, play, work"),
        ({"type": "command"}, "payload", "expected an object, got null"),
        ({"type": "command", "payload": {"argv": []}}, "payload.argv", "must have at least 1 item"),
        ({"type": "command", "payload": {"argv": ["a", 1]}}, "payload.argv[1]", "expected a string, got an integer"),
        ({"type": "command", "payload": {}}, "payload.argv", "is missing"),
        ({"type": "command", "payload": {"argv": ["a"], "shell": True}}, "payload.shell", "is unknown"),
        (
            {"type": "command", "payload": {"argv": ["a"], "Cwd": "/"}},
            "payload.Cwd",
            "is unknown; did you mean 'payload.cwd'?",
        ),
        (
            {"type": "command", "payload": {"argv": ["a"], "env": {"A": "b", "C.D": 1}}},
            'payload.env["C.D"]',
            "expected a string, got an integer",
        ),
        ({"type": "work", "priority": 2**60}, "priority", f"must be at most {2**53}"),
    ],
)
async def test_what_cannot_be_submitted(tmp_path: Path, args: dict[str, Any], field: str, problem: str) -> None:
    async with served(tmp_path) as it:
        error = await it.refused("task.submit", **args)
        assert isinstance(error, InvalidArgs)
        assert error.details == {"field": field, "problem": problem}
        assert (await it.client.call("task.list"))["count"] == 0


async def test_a_program_can_be_submitted(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        payload = {"argv": ["true", "ü"], "cwd": "/", "env": {"A": "b"}, "stdin": "x"}
        await it.client.call("task.submit", type="command", payload=payload)
        assert (await it.bench.claim()).payload == payload


async def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        for command in ("task.status", "task.cancel", "task.retry", "task.output"):
            error = await it.refused(command, taskId="t-none")
            assert isinstance(error, NotFound), command
            assert error.message == "There is no task t-none"
        error = await it.refused("task.submit", type="work", projectId="p-none")
        assert (type(error), error.message) == (NotFound, "There is no project p-none")


async def test_cancelling_and_trying_again(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        task_id = (await it.client.call("task.submit", type="work", payload=[1], queue="q", priority=2))["taskId"]
        error = await it.refused("task.retry", taskId=task_id)
        assert isinstance(error, Conflict)
        assert error.message == f"Task {task_id} is pending; only failed and cancelled tasks can be retried"
        assert await it.client.call("task.cancel", taskId=task_id) == {"message": f"Task {task_id} cancelled"}
        answer = await it.client.call("task.retry", taskId=task_id)
        again = answer["newTaskId"]
        assert answer == {"message": f"Task {task_id} retried", "newTaskId": again}
        found = await it.client.call("task.status", taskId=again)
        assert (found["payload"], found["queue"], found["priority"], found["status"]) == ([1], "q", 2, "pending")


async def test_what_belonged_to_a_project_that_was_removed_is_not_tried_again(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        project = (await it.client.call("project.add", path=str(tmp_path)))["project"]["id"]
        task_id = (await it.client.call("task.submit", type="work", projectId=project))["taskId"]
        await it.client.call("project.remove", projectId=project)
        assert (await it.client.call("task.status", taskId=task_id))["status"] == "cancelled"
        error = await it.refused("task.retry", taskId=task_id)
        assert isinstance(error, Conflict)
        assert error.message == f"Task {task_id} belongs to a project that was removed"


async def test_the_time_to_run_at(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        task_id = (await it.client.call("task.submit", type="work", runAt="2023-11-14T23:13:21.5+01:00"))["taskId"]
        assert (await it.client.call("task.status", taskId=task_id))["runAt"] == "2023-11-14T22:13:21.500Z"
        assert it.bench.queue.schedule.pick(it.bench.wall.ms + 1499) is None
        it.bench.wall.ms += 1500
        assert (await it.bench.claim()).task_id == task_id
        past = (await it.client.call("task.submit", type="work", runAt="1901-01-01T00:00:00Z"))["taskId"]
        assert (await it.bench.claim()).task_id == past


async def test_the_same_key_in_the_args_adds_no_second_task(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        first = await it.client.call("task.submit", type="work", idempotencyKey="k")
        assert await it.client.call("task.submit", type="work", idempotencyKey="k") == first
        assert isinstance(await it.refused("task.submit", type="play", idempotencyKey="k"), Conflict)
        assert (await it.client.call("task.list"))["count"] == 1
    async with served(tmp_path) as it:
        assert await it.client.call("task.submit", type="work", idempotencyKey="k") == first


async def test_a_key_finds_its_task_also_when_the_project_is_gone(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        project = (await it.client.call("project.add", path=str(tmp_path)))["project"]["id"]
        args = {"type": "work", "projectId": project}
        first = await it.client.call("task.submit", **args, idempotencyKey="k")
        await it.client.call("project.remove", projectId=project)
        assert await it.client.call("task.submit", **args, idempotencyKey="k") == first
        for key in ({}, {"idempotencyKey": "new"}):
            assert isinstance(await it.refused("task.submit", **args, **key), NotFound)


async def test_queues(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        client = it.client
        await client.call("task.submit", type="work", queue="q")
        assert await client.call("queue.pause", queue="q") == {"message": "Queue q paused"}
        counts = {"total": 1, "pending": 1, "running": 0, "completed": 0, "failed": 0}
        assert await client.call("queue.status", queue="q") == {**counts, "paused": True}
        assert await client.call("queue.status") == {**counts, "paused": False}
        assert await client.call("queue.resume") == {"message": "Queue all resumed"}
        assert await client.call("queue.clear", queue="q") == {"message": "Cleared 1 jobs from queue q"}
        stats = await client.call("queue.stats", period="5m")
        assert (stats["queue"], stats["period"], stats["waitMs"]) == (
            "all",
            "5m",
            {"p50": None, "p95": None, "p99": None},
        )
        error = await it.refused("queue.stats", period="0s")
        assert isinstance(error, InvalidArgs)


async def test_an_answer_is_sent_once_what_it_says_can_be_seen(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        for _ in range(8):
            task_id = (await it.client.call("task.submit", type="work"))["taskId"]
            assert task_id in it.bench.queue.schedule
            assert (await it.client.call("task.status", taskId=task_id))["status"] == "pending"
        assert (await it.client.call("queue.status"))["pending"] == 8
