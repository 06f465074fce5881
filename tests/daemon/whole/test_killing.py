"""The daemon is killed under load, at random moments, and nothing that it acknowledged is lost."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .killing import examine, kill_again_and_again

KILLS = int(os.environ.get("POPPO_TEST_KILLS", "50" if sys.platform != "win32" else "2"))
SEED = int(os.environ.get("POPPO_TEST_SEED", "1"))


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="poppo-") as directory:
        yield Path(directory)


@pytest.mark.timeout(60 + (10 if sys.platform != "win32" else 120) * KILLS)
@pytest.mark.trio
async def test_nothing_acknowledged_is_lost(home: Path) -> None:
    """Projects, tasks and pauses stay, each task is completed once, and each event is seen once, in order."""
    record = await kill_again_and_again(home, KILLS, SEED)
    assert record.tasks
    assert record.projects
    assert await examine(home, record) == []
