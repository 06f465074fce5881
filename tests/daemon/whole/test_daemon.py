"""Every standard command and event, of a daemon that `serve` runs, as an original client sees it."""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from addresses import NATIVE
from cli.processes import Serve

from poppo_ipc import Event, SyncClient
from poppo_ipc.commands.standard import STANDARD_COMMANDS, STANDARD_EVENTS

from .programs import FALSE, HELLO, SLEEP, TRUE
from .raw import OriginalClient

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PROJECT = {"id", "name", "path", "status", "enabled", "lastActivity"}
TASK = {"id", "type", "status", "projectId", "createdAt", "startedAt", "completedAt", "error"}
WORKER = {"id", "state", "status", "currentTask", "tasksCompleted", "uptime", "memory", "cpu"}
DAEMON = {"status", "version", "pid", "uptime", "started", "config", "system", "components"}
COUNTS = {"total", "pending", "running", "completed", "failed"}

#: What is asked, and the fields that the answer has at least.
READING: list[tuple[str, dict[str, Any], set[str]]] = [
    ("status", {}, {"daemon", "projects", "workers", "queue"}),
    ("daemon.status", {}, DAEMON),
    ("daemon.metrics", {}, {"timestamp", "metrics"}),
    ("project.list", {}, {"count", "projects"}),
    ("queue.status", {}, COUNTS | {"paused"}),
    ("queue.status", {"queue": "side"}, COUNTS | {"paused"}),
    ("queue.stats", {}, {"throughput", "waitMs", "runMs", "failures", "period"}),
    ("queue.stats", {"queue": "side", "period": "5m"}, {"throughput"}),
    ("worker.status", {}, {"total", "active", "idle", "workers"}),
    ("task.list", {}, {"count", "tasks"}),
    ("task.list", {"status": "failed", "limit": 1, "offset": 0}, {"count", "tasks"}),
    ("metrics.get", {}, {"type", "period", "metrics"}),
    ("metrics.get", {"type": "queue", "period": "1m"}, {"type", "period", "metrics"}),
    ("logs.tail", {}, {"lines", "level"}),
    ("logs.tail", {"lines": 3, "level": "info"}, {"lines", "level"}),
    ("health.check", {}, {"status", "timestamp", "checks"}),
    ("ipc.describe", {}, {"server", "commands", "events"}),
]  # fmt: skip

WRONG: list[Any] = [None, 1, "", [], {}]
TEXTS = [
    ("project.add", "path", "Project path required"),
    *((f"project.{name}", "projectId", "Project ID required")
      for name in ("remove", "status", "start", "stop", "restart", "update")),
    ("worker.scale", "count", "Invalid worker count"),
    *((f"task.{name}", "taskId", "Task ID required") for name in ("status", "cancel", "retry")),
]  # fmt: skip
NO_COUNT: list[Any] = [None, -1, "2", 1.5, [], True]


@pytest.mark.parametrize(("command", "args", "fields"), READING)
def test_what_reads_has_its_fields(
    original: OriginalClient, command: str, args: dict[str, Any], fields: set[str]
) -> None:
    assert fields <= set(original.call(command, args))


@pytest.mark.parametrize(("command", "field", "text"), TEXTS)
def test_a_missing_or_wrong_argument_gets_the_original_text(
    original: OriginalClient, command: str, field: str, text: str
) -> None:
    others: dict[str, Any] = {"config": {}} if command == "project.update" else {}
    wrong = NO_COUNT if field == "count" else WRONG
    for args in [others, *({**others, field: value} for value in wrong)]:
        error = original.fail(command, args)
        assert (error["code"], error["message"], error["details"]["field"]) == ("INVALID_ARGS", text, field), args


@pytest.mark.parametrize(
    ("command", "args"),
    [
        *((f"project.{name}", {"projectId": "p-none"}) for name in ("remove", "status", "start", "stop", "restart")),
        ("project.update", {"projectId": "p-none", "config": {}}),
        *((f"task.{name}", {"taskId": "t-none"}) for name in ("status", "cancel", "retry", "output")),
        ("worker.restart", {"workerId": "worker-none"}),
        ("task.submit", {"type": "command", "projectId": "p-none", "payload": {"argv": TRUE}}),
    ],
)
def test_what_is_not_there_is_not_found(original: OriginalClient, command: str, args: dict[str, Any]) -> None:
    assert original.fail(command, args)["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("task.list", {"limit": -1}),
        ("task.list", {"status": "odd"}),
        ("queue.stats", {"period": "soon"}),
        ("metrics.get", {"type": "odd"}),
        ("logs.tail", {"level": "odd"}),
        ("task.submit", {}),
        ("task.submit", {"type": "odd"}),
        ("notify-project-change", {"data": {}}),
        ("daemon.status", {"odd": 1}),
    ],
)
def test_other_wrong_arguments_are_named(original: OriginalClient, command: str, args: dict[str, Any]) -> None:
    error = original.fail(command, args)
    assert error["code"] == "INVALID_ARGS"
    assert {"field", "problem"} <= set(error["details"])


def test_every_standard_command_and_event_is_described(original: OriginalClient) -> None:
    described = original.call("ipc.describe")
    assert {spec.name for spec in STANDARD_COMMANDS} <= {command["name"] for command in described["commands"]}
    assert {event.name for event in STANDARD_EVENTS} - {"ipc.events-dropped"} <= {
        event["name"] for event in described["events"]
    }


def test_the_daemon_tells_of_itself(original: OriginalClient, served: Serve) -> None:
    status = original.call("daemon.status")
    assert (status["status"], status["pid"]) == ("running", served.pid)
    assert TIME.fullmatch(status["started"])
    config = status["config"]
    assert (config["maxProcesses"], config["logLevel"], type(config["port"])) == (2, "info", int)
    system = status["system"]
    assert (system["platform"], system["arch"]) == (sys.platform, platform.machine())
    assert system["pythonVersion"] == platform.python_version()
    assert system["memory"]["rss"] > 1_000_000
    assert set(system["cpu"]) == {"user", "system"}
    assert status["components"] == {
        "projectManager": True, "queueManager": True, "workerPool": True, "apiServer": True, "ipcServer": True
    }  # fmt: skip
    whole = original.call("status")
    assert set(whole["daemon"]) >= DAEMON
    assert whole["workers"].keys() == {"total", "active", "idle", "workers"}


def test_it_is_healthy(original: OriginalClient) -> None:
    health = original.call("health.check")
    assert {"config", "queue", "workers", "api", "ipc"} <= set(health["checks"])
    assert health["status"] in ("healthy", "degraded"), health  # a loaded machine makes the loop late
    assert all(health["checks"][name] for name in ("config", "queue", "api", "ipc"))


def test_metrics_are_real(original: OriginalClient) -> None:
    metrics = original.call("metrics.get", {"type": "queue"})
    assert (metrics["type"], metrics["period"]) == ("queue", "5m")
    assert TIME.fullmatch(original.call("daemon.metrics")["timestamp"])


def test_the_log_has_what_happened(original: OriginalClient, client: SyncClient) -> None:
    lines = original.call("logs.tail", {"lines": 1000})["lines"]
    assert {"timestamp", "level", "logger", "message"} <= set(lines[0])
    assert any(line["message"].startswith(f"Serving on {NATIVE}:") for line in lines)
    with client.stream("logs.tail", lines=1, follow=True) as items:
        for item in items:
            if "something-new" in item["message"]:
                break
            original.call("notify-project-change", {"event": "something-new", "data": {}})


def test_the_life_of_a_project(original: OriginalClient, tmp_path: Path) -> None:
    answer = original.call("project.add", {"path": str(tmp_path), "name": "one", "config": {"priority": 1}})
    assert answer["message"] == "Project added successfully"
    reference = answer["project"]
    assert reference == {"id": reference["id"], "name": "one", "path": str(tmp_path.resolve())}
    ref = {"projectId": reference["id"]}
    assert original.event("project.added") == {**ref, "name": "one", "path": reference["path"]}
    assert original.fail("project.add", {"path": str(tmp_path)})["code"] == "CONFLICT"
    listed = original.call("project.list")
    assert listed["count"] == len(listed["projects"])
    mine = next(project for project in listed["projects"] if project["id"] == reference["id"])
    assert set(mine) >= PROJECT
    assert (mine["status"], mine["enabled"]) == ("active", True)
    assert reference["id"] in original.call("status")["projects"]
    changes = [
        ("stop", "stopped", ["inactive"]),
        ("start", "started", ["active"]),
        ("restart", "restarted", ["inactive", "active"]),
    ]
    for verb, said, states in changes:
        assert original.call(f"project.{verb}", ref) == {"message": f"Project {said} successfully"}
        for state in states:
            assert original.event("project.status-changed") == {**ref, "status": state}
    assert original.call("project.update", {**ref, "config": {"priority": 5}}) == {
        "message": "Project updated successfully"
    }
    whole = original.call("project.status", ref)
    assert set(whole) >= PROJECT | {"config", "createdAt", "tasks"}
    assert whole["config"]["priority"] == 5
    assert set(whole["tasks"]) == {"pending", "running", "completed", "failed", "cancelled"}
    assert original.call("project.remove", ref) == {"message": "Project removed successfully"}
    assert original.event("project.removed") == {**ref, "name": "one", "path": reference["path"]}
    assert original.fail("project.status", ref)["code"] == "NOT_FOUND"


def test_the_life_of_a_task(original: OriginalClient, project: str) -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr)"
    task = submit(original, [sys.executable, "-c", script], projectId=project)
    base = {"taskId": task, "type": "command", "projectId": project, "attempt": 1}
    started = original.event("task.started", taskId=task)
    assert started == {**base, "workerId": started["workerId"]}
    completed = original.event("task.completed", taskId=task)
    assert completed == {**started, "durationMs": completed["durationMs"]}
    whole = original.call("task.status", {"taskId": task})
    assert set(whole) >= TASK | {"attempts", "result"}
    assert (whole["status"], whole["result"], len(whole["attempts"])) == ("completed", {"exitCode": 0}, 1)
    assert all(TIME.fullmatch(whole[name]) for name in ("createdAt", "startedAt", "completedAt"))
    assert datetime.fromisoformat(whole["createdAt"]) <= datetime.fromisoformat(whole["completedAt"])
    listed = original.call("task.list", {"limit": 1})
    assert (listed["count"], [entry["id"] for entry in listed["tasks"]]) == (1, [task])
    assert set(listed["tasks"][0]) >= TASK
    assert sorted(original.call("task.output", {"taskId": task})["output"].splitlines()) == ["err", "out"]
    error = original.fail("task.retry", {"taskId": task})
    assert error["code"] == "CONFLICT"


def test_a_task_that_fails_says_why_and_can_be_retried(original: OriginalClient) -> None:
    task = submit(original, FALSE, maxAttempts=2)
    for attempt, again in ((1, True), (2, False)):
        failed = original.event("task.failed", taskId=task)
        assert set(failed) == {"taskId", "type", "projectId", "workerId", "attempt", "error", "willRetry"}
        assert (failed["attempt"], failed["willRetry"]) == (attempt, again)
        assert failed["error"]
    answer = original.call("task.retry", {"taskId": task})
    assert answer["message"] == f"Task {task} retried"
    original.event("task.started", taskId=answer["newTaskId"])


def test_a_running_task_is_cancelled(original: OriginalClient) -> None:
    task = submit(original, SLEEP)
    original.event("task.started", taskId=task)
    assert original.call("task.cancel", {"taskId": task}) == {"message": f"Task {task} cancelled"}
    assert original.event("task.failed", taskId=task)["willRetry"] is False
    assert original.call("task.status", {"taskId": task})["status"] == "cancelled"
    assert original.call("task.list", {"status": "cancelled"})["tasks"][0]["id"] == task


def test_queues_are_paused_resumed_and_cleared(original: OriginalClient) -> None:
    for command, state in (("pause", "paused"), ("resume", "running")):
        for args, name in (({"queue": "side"}, "side"), ({}, "all")):
            assert original.call(f"queue.{command}", args) == {
                "message": f"Queue {name} {state.replace('running', 'resumed')}"
            }
            told = original.event("queue.status-changed")
            assert (told["queue"], told["status"]) == (name, state)
            assert set(told) >= COUNTS
    original.call("queue.pause", {"queue": "side"})
    for _ in range(2):
        submit(original, TRUE, queue="side")
    assert original.call("queue.status", {"queue": "side"})["pending"] == 2
    cleared = original.call("queue.clear", {"queue": "side", "status": "pending"})
    assert cleared == {"message": "Cleared 2 jobs from queue side"}
    assert original.call("queue.status", {"queue": "side"})["pending"] == 0
    original.call("queue.resume", {"queue": "side"})


def test_workers_come_and_go(original: OriginalClient) -> None:
    settle(original, 2)
    original.events.clear()
    assert original.call("worker.scale", {"count": 3}) == {"message": "Worker pool scaled to 3 workers"}
    added = original.event("worker.added")["workerId"]
    status = settle(original, 3)
    assert (status["total"], len(status["workers"])) == (3, 3)
    assert set(status["workers"][0]) >= WORKER
    assert all(worker["state"] in ("starting", "idle", "busy", "stopping") for worker in status["workers"])
    assert original.call("worker.restart", {"workerId": added}) == {"message": f"Worker {added} restarted"}
    removed = original.event("worker.removed", workerId=added)
    assert set(removed) == {"workerId", "reason"}
    original.event("worker.added")
    settle(original, 3)
    assert original.call("worker.scale", {"count": 2}) == {"message": "Worker pool scaled to 2 workers"}
    original.event("worker.removed")
    assert original.call("worker.restart") == {"message": "All workers restarted"}
    for _ in range(2):
        original.event("worker.added")


def test_the_rest(original: OriginalClient) -> None:
    told = original.call("notify-project-change", {"event": "file", "data": {"a": 1}})
    assert told == {"success": True, "event": "file", "processed": True}
    reloaded = original.call("daemon.reload")
    assert reloaded["message"] == "Configuration reloaded"
    assert {"maxProcesses", "logLevel", "port"} <= set(reloaded["config"])


KILL = "import os, time; os.kill(os.getppid(), 9); time.sleep(1000)"
if sys.platform == "win32":
    DEADLY = [(KILL, "code 9")]
else:
    DEADLY = [(KILL, "SIGKILL"), (KILL.replace("9", "11"), "SIGSEGV")]


@pytest.mark.parametrize(("script", "says"), DEADLY)
def test_a_task_that_takes_its_worker_with_it_fails_and_the_daemon_lives(
    original: OriginalClient, served: Serve, script: str, says: str
) -> None:
    task = submit(original, [sys.executable, "-c", script], maxAttempts=1)
    failed = original.event("task.failed", taskId=task)
    assert says in failed["error"]
    assert failed["willRetry"] is False
    removed = original.event("worker.removed", workerId=failed["workerId"])
    assert says in removed["reason"]
    original.event("worker.added")
    assert original.call("daemon.status")["pid"] == served.pid
    assert original.call("task.status", {"taskId": task})["attempts"][0]["error"] == failed["error"]


def test_our_client_sees_the_same(client: SyncClient, original: OriginalClient) -> None:
    with client.subscribe("task.*", timeout=30) as events:
        for _, args, _ in [entry for entry in READING if entry[0] == "queue.status"]:
            assert client.call("queue.status", **args) == original.call("queue.status", args)
        task = client.call("task.submit", type="command", payload={"argv": HELLO})["taskId"]
        names = []
        for event in events:
            assert isinstance(event, Event)
            if event.data["taskId"] == task:
                names.append(event.name)
                if event.name == "task.completed":
                    break
        assert names == ["task.started", "task.completed"]
        with client.stream("task.output", taskId=task) as items:
            assert "".join(item["text"] for item in items) == "hello\n"


def settle(original: OriginalClient, count: int) -> Any:
    """Ask until so many workers are there, all idle; what they did before is then done."""
    while True:
        status = original.call("worker.status")
        if status["total"] == status["idle"] == count:
            return status


def submit(original: OriginalClient, argv: list[str], **more: Any) -> str:
    answer = original.call("task.submit", {"type": "command", "payload": {"argv": argv}, **more})
    assert set(answer) == {"taskId"}
    return str(answer["taskId"])


def test_stopping_is_told_last(tmp_path: Path) -> None:
    home = Path(os.path.realpath(tmp_path))
    with Serve(home / "s", "--workers", "0", "--no-auth") as daemon:
        daemon.until_ready()
        with OriginalClient(daemon.socket, None) as original:
            assert original.call("daemon.stop") == {"message": "Daemon shutdown initiated"}
            assert original.event("daemon.stopping") == {"pid": daemon.pid, "reason": "daemon.stop"}
        assert daemon.wait() == 0
