"""The standard commands and events are all there, named and worded as the protocol has them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import attrs
import jsonschema
import msgspec
import pytest

from poppo_ipc.commands import CommandSpec, Router, describe, standard
from poppo_ipc.commands.standard import STANDARD_COMMANDS, STANDARD_EVENTS
from poppo_ipc.errors import InvalidArgs

SPECS: dict[str, CommandSpec[Any, Any]] = {spec.name: spec for spec in STANDARD_COMMANDS}
EVENTS = {event.name: event for event in STANDARD_EVENTS}

#: Every command with its args on the wire; a `?` marks an optional one.
COMMANDS = {
    "status": "",
    "daemon.status": "",
    "daemon.stop": "",
    "daemon.reload": "",
    "daemon.metrics": "",
    "project.list": "",
    "project.add": "path name? config?",
    "project.remove": "projectId force?",
    "project.status": "projectId",
    "project.start": "projectId",
    "project.stop": "projectId",
    "project.restart": "projectId",
    "project.update": "projectId config",
    "queue.status": "queue?",
    "queue.pause": "queue?",
    "queue.resume": "queue?",
    "queue.clear": "queue? status?",
    "queue.stats": "queue? period?",
    "worker.status": "",
    "worker.scale": "count",
    "worker.restart": "workerId?",
    "task.list": "status? limit? offset?",
    "task.status": "taskId",
    "task.cancel": "taskId",
    "task.retry": "taskId",
    "task.submit": "type projectId? queue? payload? priority? timeoutMs? maxAttempts? runAt? idempotencyKey?",
    "task.output": "taskId follow?",
    "metrics.get": "type? period?",
    "logs.tail": "lines? level? follow?",
    "health.check": "",
    "notify-project-change": "event data",
    "events.subscribe": "events since?",
    "events.unsubscribe": "subscriptionId",
    "ipc.describe": "",
}

#: Every event with the data that it must have.
DATA = {
    "daemon.started": "pid",
    "daemon.stopping": "pid reason",
    "project.added": "projectId name path",
    "project.removed": "projectId name path",
    "project.status-changed": "projectId status",
    "queue.status-changed": "queue status total pending running completed failed",
    "worker.added": "workerId",
    "worker.removed": "workerId reason",
    "task.started": "taskId type projectId workerId attempt",
    "task.completed": "taskId type projectId workerId attempt durationMs",
    "task.failed": "taskId type projectId workerId attempt error willRetry",
    "ipc.events-dropped": "dropped firstSeq lastSeq",
}

PROJECT = "id name path status enabled lastActivity"
#: The fields that a result must have, at the least.
RESULTS = {
    "status": "daemon projects workers queue",
    "daemon.status": "status version pid uptime started config system components",
    "daemon.stop": "message",
    "daemon.reload": "message config",
    "daemon.metrics": "timestamp metrics",
    "project.list": "count projects",
    "project.add": "message project",
    "project.status": f"{PROJECT} config createdAt",
    "queue.status": "total pending running completed failed paused",
    "worker.status": "total active idle workers",
    "task.list": "count tasks",
    "task.retry": "message newTaskId",
    "task.submit": "taskId",
    "task.output": "taskId status error outputBytes output",
    "metrics.get": "type period metrics",
    "logs.tail": "lines level",
    "health.check": "status timestamp checks",
    "notify-project-change": "success event processed",
    "events.subscribe": "subscriptionId gap missed seq",
    "events.unsubscribe": "",
}


def router() -> Router:
    made = Router()
    for spec in STANDARD_COMMANDS:
        made.command(spec)(lambda args: args)
    for event in STANDARD_EVENTS:
        made.event(event)
    return made


def test_every_command_is_there_with_its_args() -> None:
    described = describe(router(), {})
    found = {}
    for command in described["commands"]:
        required = command["args"]["required"]
        names = [name if name in required else name + "?" for name in command["args"]["properties"]]
        found[command["name"]] = " ".join(names)
    assert found == COMMANDS


def test_every_event_is_there_with_its_data() -> None:
    described = describe(router(), {})
    assert {event["name"]: " ".join(event["data"]["properties"]) for event in described["events"]} == DATA


def test_results_have_no_field_less_than_the_protocol_says() -> None:
    for name, fields in RESULTS.items():
        missing = set(fields.split()) - set(SPECS[name].result_model.schema()["properties"])
        assert not missing, name


def test_every_schema_is_valid_and_everything_has_its_summary() -> None:
    described = describe(router(), {})
    for part in (*described["commands"], *described["events"]):
        assert part["summary"].endswith("."), part["name"]
        for key in ("args", "result", "item", "data"):
            if part.get(key) is not None:
                jsonschema.Draft202012Validator.check_schema(part[key])


def test_the_tuples_are_sorted_and_the_names_exported() -> None:
    assert [spec.name for spec in STANDARD_COMMANDS] == sorted(COMMANDS)
    assert [event.name for event in STANDARD_EVENTS] == sorted(DATA)
    exported = [getattr(standard, name) for name in standard.__all__]
    assert {id(spec) for spec in STANDARD_COMMANDS} <= {id(value) for value in exported}
    assert {id(event) for event in STANDARD_EVENTS} <= {id(value) for value in exported}
    assert len(standard.__all__) == len(set(standard.__all__))


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("project.add", {}, "Project path required"),
        ("project.add", {"path": ""}, "Project path required"),
        ("project.add", {"path": 1}, "Project path required"),
        *(
            (f"project.{verb}", {"config": {}} if verb == "update" else {}, "Project ID required")
            for verb in ("remove", "status", "start", "stop", "restart", "update")
        ),
        ("project.status", {"projectId": None}, "Project ID required"),
        ("worker.scale", {}, "Invalid worker count"),
        ("worker.scale", {"count": -1}, "Invalid worker count"),
        ("worker.scale", {"count": "3"}, "Invalid worker count"),
        ("worker.scale", {"count": 1.5}, "Invalid worker count"),
        *((f"task.{verb}", {}, "Task ID required") for verb in ("status", "cancel", "retry", "output")),
        (
            "queue.clear",
            {"status": "x"},
            "Invalid argument 'status': expected one of pending, running, completed, failed, cancelled",
        ),
        ("queue.stats", {"period": "1 h"}, "Invalid argument 'period': must match the pattern ^[0-9]{1,9}[smhd]$"),
        ("task.submit", {"type": "t", "timeoutMs": 0}, "Invalid argument 'timeoutMs': must be at least 1"),
        *(
            ("task.submit", {"type": "t", name: 2**63}, f"Invalid argument '{name}': must be at most {2**53}")
            for name in ("priority", "timeoutMs", "maxAttempts")
        ),
        ("task.list", {"offset": 2**63}, f"Invalid argument 'offset': must be at most {2**53}"),
        (
            "task.submit",
            {"type": "t", "runAt": "2030-01-01T00:00:00"},
            "Invalid argument 'runAt': expected a date and time with a time zone",
        ),
        ("events.subscribe", {"events": []}, "Invalid argument 'events': must have at least 1 item"),
        ("events.subscribe", {"events": [1]}, "Invalid argument 'events[0]': expected a string, got an integer"),
    ],
)
def test_wrong_args_get_the_text_of_the_protocol(name: str, args: Any, message: str) -> None:
    with pytest.raises(InvalidArgs) as caught:
        router().commands[name].bind(args)
    assert caught.value.message == message


def test_defaults_are_those_of_the_protocol() -> None:
    commands = router().commands
    assert commands["task.list"].bind({})[0] == (standard.TaskListArgs(None, 100, 0),)
    assert commands["logs.tail"].bind({})[0] == (standard.LogsTailArgs(100, None, False),)
    assert commands["queue.stats"].bind({})[0] == (standard.QueueStatsArgs(None, "1h"),)
    assert commands["metrics.get"].bind({})[0] == (standard.MetricsArgs(None, "5m"),)


def recorded() -> list[tuple[str, Any]]:
    """The results that an original server gave, with the commands they answer."""
    asked: dict[str, str] = {}
    answers = []
    for file in sorted((pathlib.Path(__file__).parent.parent / "data").glob("recorded-*.jsonl")):
        for line in file.read_text().splitlines():
            message = msgspec.json.decode(bytes.fromhex(json.loads(line)["frame"])[9:])
            if message["type"] == "command":
                asked[message["id"]] = message["command"]
            elif message["type"] == "response":
                answers.append((asked[message["id"]], message["result"]))
    return answers


def test_what_an_original_server_answers_can_be_read() -> None:
    answers = recorded()
    assert {name for name, _ in answers} >= {"daemon.status", "project.list", "queue.status", "health.check"}
    for name, result in answers:
        assert attrs.has(type(SPECS[name].decode_result(result))), name
    listed = next(result for name, result in answers if name == "project.list")
    assert standard.PROJECT_LIST.decode_result(listed).projects[0].name == "日本 project"
    assert standard.PROJECT_LIST.result_model.encode(standard.PROJECT_LIST.decode_result(listed)) == {
        **listed,
        "projects": [{**listed["projects"][0], "lastActivity": "2026-01-01T00:00:00.000Z"}],
    }
