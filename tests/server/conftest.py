"""Every test of a server that serves runs twice: with the fast path, and with a task for each command."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .rawclient import Serve, serving_with


@pytest.fixture(params=[True, False], ids=["eager", "tasks"])
def eager(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def serve(eager: bool) -> Serve:
    """`async with serve(router, **options) as served`."""
    return serving_with(eager=eager)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A private directory whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path)
