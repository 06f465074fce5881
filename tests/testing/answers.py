"""Answers that fit the standard commands, for tests that are about something else."""

from __future__ import annotations

from typing import Any

PATH = "/srv/blog"
ADDED: dict[str, Any] = {
    "message": "Project added successfully",
    "project": {"id": "p1", "name": "blog", "path": PATH},
}
DONE: dict[str, Any] = {"message": "Queue all paused"}
ENDED: dict[str, Any] = {"taskId": "t1", "status": "completed"}
STARTED: dict[str, Any] = {"taskId": "t1", "type": "build"}
