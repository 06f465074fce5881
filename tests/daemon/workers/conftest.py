"""After each test: no process is left, no zombie, and no descriptor."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from .kit import children, open_descriptors


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert children() == [], "processes were left"
    gc.collect()
    assert open_descriptors() - before == set(), "descriptors were left"
