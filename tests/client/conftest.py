"""Both event loops; on Trio with a clock that jumps over every wait."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    if request.param == "trio":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "asyncio"


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment of whoever runs the tests holds is no part of them."""
    for name in ("POPPO_TOKEN", "POPPO_TOKEN_FILE", "POPPO_SOCKET"):
        monkeypatch.delenv(name, raising=False)
