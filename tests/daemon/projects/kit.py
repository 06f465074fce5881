"""A project to test with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tasks.kit import Bench


async def add(it: Bench, path: Path, name: str | None = None, config: dict[str, Any] | None = None) -> str:
    os.makedirs(path, exist_ok=True)
    answer = await it.projects.add(None, str(path), name, config)
    return str(answer["project"]["id"])
