"""The three clients behind one face, so that a test is written once: no event loop, Trio and asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import trio

from poppo_ipc import Backoff, SyncClient, connect

#: Waits of milliseconds in place of those that people need.
QUICK: dict[str, Any] = {"backoff": Backoff(start=0.001, cap=0.01), "initial": Backoff(start=0.001, attempts=2)}


class AnyClient(Protocol):
    """What the tests use of a client."""

    async def call(self, command: str, /, **args: Any) -> Any: ...
    def subscribe(self, *patterns: str) -> Any: ...


Scenario = Callable[[AnyClient], Awaitable[Any]]


class _Plain:
    """A client without an event loop; nothing here ever waits for one."""

    def __init__(self, client: SyncClient) -> None:
        self._client = client

    async def call(self, command: str, /, **args: Any) -> Any:
        return self._client.call(command, **args)

    @asynccontextmanager
    async def subscribe(self, *patterns: str) -> AsyncIterator[Any]:
        events = self._client.subscribe(*patterns, timeout=30)

        async def each() -> AsyncIterator[Any]:
            for event in events:
                yield event

        yield each()


def run_sync(scenario: Scenario, **options: Any) -> Any:
    """Run a scenario with a SyncClient."""
    with SyncClient(**{**QUICK, **options}) as client:
        steps = scenario(_Plain(client)).__await__()
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        raise AssertionError("a scenario waited for an event loop that there is not")


async def _main(scenario: Scenario, options: dict[str, Any]) -> Any:
    async with connect(**{**QUICK, **options}) as client:
        return await scenario(client)


def run_trio(scenario: Scenario, **options: Any) -> Any:
    """Run a scenario with the client for event loops, on Trio."""
    return trio.run(_main, scenario, options)


def run_asyncio(scenario: Scenario, **options: Any) -> Any:
    """The same on asyncio."""
    return asyncio.run(_main(scenario, options))


RUNNERS = {"sync": run_sync, "trio": run_trio, "asyncio": run_asyncio}
