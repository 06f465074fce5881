"""Places for sockets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for a socket in it, wherever the tests keep their own."""
    with tempfile.TemporaryDirectory(prefix="poppo-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment of whoever runs the tests holds is no part of them."""
    for name in ("POPPO_TOKEN", "POPPO_TOKEN_FILE", "POPPO_SOCKET", "POPPO_STATE_DIR", "LISTEN_FDS", "LISTEN_PID"):
        monkeypatch.delenv(name, raising=False)
