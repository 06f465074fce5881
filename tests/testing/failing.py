"""Fake daemons whose test has to fail in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from poppo_ipc.testing import FakeDaemon, Unmet


@contextmanager
def unmet(text: str, **options: Any) -> Iterator[FakeDaemon]:
    """A fake daemon; at the end of the block it has to raise Unmet with a text that this pattern is found in."""
    with pytest.raises(Unmet, match=text), FakeDaemon(**options) as daemon:
        yield daemon
