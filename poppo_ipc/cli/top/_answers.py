"""What a daemon says, read into the model: tolerant, since an original one says less, and a newer one more."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from attrs import define, evolve

from poppo_ipc.cli._plain import cell
from poppo_ipc.cli._safe import safe
from poppo_ipc.cli.top._model import EventEntry, Lack, LogEntry, Model, Part, QueueFacts, TaskRow, WorkerRow

__all__ = ["Answers", "event_entry", "log_entry"]

#: How many of the tasks that wait, and of those that failed, are listed: the running ones come first.
_EACH: Final = 20
_PLAIN: Final = ("", "taskId", "type", "workerId", "projectId", "queue", "status", "reason", "error")
_ORDER: Final = ("running", "failed", "cancelled", "pending")


@define
class _Counted:
    """Counters as they were at a moment of the daemon's own clock, in seconds."""

    at: float
    answered: float
    errors: float
    busy_ms: float
    bytes_in: float
    bytes_out: float
    cpu: float


class Answers:
    """Reads answers into a model. Counters become rates, by the clock of the daemon that counts."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._before: _Counted | None = None
        self._tasks: dict[str, list[TaskRow]] = {}

    def begin(self) -> None:
        """A new session, maybe with a new daemon."""
        self._before = None
        self._tasks.clear()

    def take_status(self, answer: Any) -> None:
        """`daemon.status`."""
        facts = self._model.daemon
        facts.status = _text(answer, "status")
        facts.version = _text(answer, "version")
        pid = _number(answer, "pid")
        facts.pid = None if pid is None else int(pid)
        facts.uptime = _number(answer, "uptime")
        facts.memory = _number(answer, "system", "memory", "rss")

    def take_metrics(self, answer: Any) -> None:
        """`daemon.metrics`."""
        metrics = _at(answer, "metrics")
        answered, at = _number(metrics, "requests", "total", "answered"), _number(metrics, "process", "uptimeSeconds")
        if answered is None or at is None:
            self._model.lacks[Part.REQUESTS] = Lack("not measured by this daemon")
            return
        self._model.lacks.pop(Part.REQUESTS, None)
        latency = _at(metrics, "requests", "total", "latencyMs")
        now = _Counted(
            at=at,
            answered=answered,
            errors=_number(metrics, "requests", "total", "errors") or 0.0,
            busy_ms=(_number(latency, "avg") or 0.0) * (_number(latency, "count") or 0.0),
            bytes_in=_number(metrics, "sessions", "bytesIn") or 0.0,
            bytes_out=_number(metrics, "sessions", "bytesOut") or 0.0,
            cpu=_number(metrics, "process", "cpuSeconds") or 0.0,
        )
        self._take_counted(now)
        facts = self._model.requests
        facts.sessions = _count(metrics, "sessions", "connected")
        facts.running = _count(metrics, "sessions", "runningCommands")
        facts.subscriptions = _count(metrics, "sessions", "subscriptions")

    def _take_counted(self, now: _Counted) -> None:
        before, self._before = self._before, now
        if before is None or now.at <= before.at or now.answered < before.answered:
            return  # the first, asked twice, or another daemon: there is no rate yet
        facts, seconds = self._model.requests, now.at - before.at
        answered = now.answered - before.answered
        facts.rate = answered / seconds
        facts.errors = max(0.0, now.errors - before.errors) / seconds
        facts.latency = max(0.0, now.busy_ms - before.busy_ms) / answered if answered else None
        facts.bytes_in = max(0.0, now.bytes_in - before.bytes_in) / seconds
        facts.bytes_out = max(0.0, now.bytes_out - before.bytes_out) / seconds
        self._model.daemon.cpu = max(0.0, now.cpu - before.cpu) / seconds * 100

    def take_latency(self, answer: Any) -> None:
        """`metrics.get` of the requests."""
        spread = _at(answer, "metrics", "requests", "total", "latencyMs")
        self._model.requests.percentiles = (_number(spread, "p50"), _number(spread, "p95"), _number(spread, "p99"))

    def take_queue(self, answer: Any) -> None:
        """`queue.status`."""
        facts = self._model.queue
        paused = _at(answer, "paused")
        # One that does not tell is as we left it.
        self._model.queue = evolve(
            facts,
            pending=_count(answer, "pending"),
            running=_count(answer, "running"),
            completed=_count(answer, "completed"),
            failed=_count(answer, "failed"),
            paused=paused if isinstance(paused, bool) else facts.paused,
        )

    def take_statistics(self, answer: Any) -> None:
        """`queue.stats`."""
        facts: QueueFacts = self._model.queue
        facts.throughput = _number(answer, "throughput")
        facts.wait = _number(answer, "waitMs", "p95")
        facts.run = _number(answer, "runMs", "p95")

    def take_workers(self, answer: Any) -> None:
        """`worker.status`."""
        self._model.workers = [
            WorkerRow(
                id=_text(each, "id"),
                state=_text(each, "state") or _text(each, "status"),
                task=_text(each, "currentTask"),
                memory=_number(each, "memory"),
                cpu=_number(each, "cpu"),
                done=_count(each, "tasksCompleted"),
                uptime=_number(each, "uptime"),
            )
            for each in _objects(_at(answer, "workers"))
        ]

    def take_tasks(self, status: str, answer: Any) -> None:
        """`task.list` of one state."""
        self._tasks[status] = [
            TaskRow(
                id=_text(each, "id"),
                type=_text(each, "type"),
                status=_text(each, "status"),
                since=_since(each),
                error=_text(each, "error"),
            )
            for each in _objects(_at(answer, "tasks"))
        ][: None if status == "running" else _EACH]
        # One that came into another state between two answers is in both lists.
        rows: dict[str, TaskRow] = {}
        for state in _ORDER:
            for row in self._tasks.get(state, ()):
                rows.setdefault(row.id, row)
        self._model.tasks = list(rows.values())


def event_entry(name: str, data: Any, milliseconds: int) -> EventEntry:
    """An event as it came, safe for a terminal."""
    parts = data.items() if isinstance(data, dict) else [("", data)]
    text = " ".join(_part(str(key), value) for key, value in parts if value is not None)
    return EventEntry(milliseconds / 1000, safe(name), text)


def _part(key: str, value: Any) -> str:
    # What says by itself what it is needs no name, for which there is little room.
    return cell(value) if key in _PLAIN else f"{safe(key)}={cell(value)}"


def log_entry(line: Any) -> LogEntry:
    """A line of the log as it came, safe for a terminal."""
    if not isinstance(line, dict):
        return LogEntry(None, "", "", cell(line))
    return LogEntry(_moment(line.get("timestamp")), _text(line, "level"), _text(line, "logger"), _text(line, "message"))


def _since(task: Any) -> float | None:
    keys = {"pending": ("createdAt",), "running": ("startedAt",)}.get(_text(task, "status"), ("completedAt",))
    moments = (_moment(_at(task, key)) for key in (*keys, "createdAt"))
    return next((moment for moment in moments if moment is not None), None)


def _at(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _number(value: Any, *path: str) -> float | None:
    found = _at(value, *path)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def _count(value: Any, *path: str) -> int | None:
    found = _number(value, *path)
    return None if found is None else int(found)


def _text(value: Any, *path: str) -> str:
    found = _at(value, *path)
    return "" if found is None or isinstance(found, dict | list) else safe(str(found))


def _objects(value: Any) -> Iterable[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _moment(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
