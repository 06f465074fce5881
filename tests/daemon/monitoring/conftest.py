"""Trio; with a clock that jumps over every wait where a test asks for `clock`."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from poppo_ipc.commands import Router


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    if "clock" in request.fixturenames:
        return "trio", {"clock": request.getfixturevalue("clock")}
    return "trio"


class FakeContext:
    """The context of a command that a test runs by itself; keeps the items as they are on the wire."""

    request_id = "1"
    deadline = math.inf
    cancelled = False

    def __init__(self, *, wants_items: bool = False) -> None:
        self.wants_items = wants_items
        self.items: list[Any] = []
        self.encode: Any = None
        self.gate: trio.Event | None = None

    async def send_item(self, data: Any) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.items.append(self.encode(data))
        await trio.lowlevel.checkpoint()


async def call(router: Router, name: str, args: dict[str, Any] | None = None, ctx: FakeContext | None = None) -> Any:
    """Run a command as a server does, from the args of the wire to the result of the wire."""
    command = router.commands[name]
    ctx = ctx or FakeContext()
    ctx.encode = command.encode_item
    return command.encode_result(await command.start(ctx, command.bind(args or {})))  # type: ignore[arg-type]
