"""Every test of a server that serves runs twice: with the fast path, and with a task for each command."""

from __future__ import annotations

import pytest

from .rawclient import Serve, serving_with


@pytest.fixture(params=[True, False], ids=["eager", "tasks"])
def eager(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def serve(eager: bool) -> Serve:
    """`async with serve(router, **options) as served`."""
    return serving_with(eager=eager)
