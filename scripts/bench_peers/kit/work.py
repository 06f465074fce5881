"""What every server is asked, and what the right answer is: the same work for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

__all__ = [
    "BLOB_BYTES",
    "CHECKED_EVENTS",
    "EVENT",
    "EVENT_DATA",
    "LARGE_ARG_BYTES",
    "STATUS",
    "TOKEN",
    "WrongAnswer",
    "answer",
    "check",
    "check_event",
    "compute",
]

TOKEN: Final = "bench-token-0123456789abcdef"
STATUS: Final[dict[str, Any]] = {
    "status": "running",
    "version": "1.0.0",
    "pid": 4242,
    "uptime": 12345.678,
    "workers": {"active": 2, "idle": 1},
    "queue": {"pending": 5, "running": 2, "failed": 0},
    "ok": True,
}
EVENT: Final = "task.completed"
EVENT_DATA: Final[dict[str, Any]] = {
    "taskId": "3f0b1c52-7f7c-4d0e-9d57-0c4b9a1f2e11",
    "projectId": "alpha",
    "durationMs": 1234,
    "ok": True,
    "n": 7,
}
BLOB_BYTES: Final = 1024 * 1024
BLOB: Final = "x" * BLOB_BYTES
# A frame of 16 MiB, with what stands around the argument.
LARGE_ARG_BYTES: Final = 16 * 1024 * 1024 - 1024
# Events that are looked into before and after those that are only counted.
CHECKED_EVENTS: Final = 3


class WrongAnswer(Exception):
    """A server gave another answer than the right one: its numbers are worth nothing."""


def answer(command: str, args: dict[str, Any]) -> Any:
    """The answer of a server to a command that only asks. Raises KeyError for others."""
    match command:
        case "bench.status" | "bench.emit":
            return dict(STATUS)
        case "bench.big":
            return {"blob": BLOB}
        case "bench.swallow":
            return {"length": len(args["blob"])}
        case "bench.broadcast" | "bench.heavy":
            return {"ok": True}
    raise KeyError(command)


def check(command: str, args: dict[str, Any], result: Any) -> None:
    """Raise WrongAnswer where `result` is not what the server had to say."""
    if result != answer(command, args):
        raise WrongAnswer(f"{command} was answered with {str(result)[:200]}")


def check_event(data: Any) -> None:
    """Raise WrongAnswer where the data of an event are not those that were published."""
    if data != EVENT_DATA:
        raise WrongAnswer(f"an event came with {str(data)[:200]}")


def compute(seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
    """Keep the processor busy."""
    until = clock() + seconds
    while clock() < until:
        pass
