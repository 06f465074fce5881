"""What the environment of whoever runs the tests holds is no part of them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POPPO_TOKEN", "POPPO_TOKEN_FILE", "POPPO_SOCKET"):
        monkeypatch.delenv(name, raising=False)
