"""A fake daemon in the test's own Trio run, over memory streams: with a clock that jumps, no wait takes any time."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import trio
from trio.testing import MockClock

from poppo_ipc.client import DEFAULT, Client, connect
from poppo_ipc.client._options import Default
from poppo_ipc.commands import Router
from poppo_ipc.limits import Limits
from poppo_ipc.protocol import ALL_CAPABILITIES
from poppo_ipc.testing._core import DaemonCore
from poppo_ipc.testing._expecting import Expecting
from poppo_ipc.transport import Address, AddressKind

__all__ = ["MemoryDaemon"]

T = TypeVar("T")

_numbers: Final = itertools.count(1)


class MemoryDaemon(Expecting):
    """Answers commands as a test says, to clients in the same Trio run: `async with MemoryDaemon() as daemon:`.

    With Trio's MockClock and its autojump (the fixture `daemon_clock`, or `run` for plain tests) backoff, timeouts and
    reconnects are tested in no time, and the same way each time. Args and the check at the end of the block are those
    of `FakeDaemon`; the environment is left alone.
    """

    def __init__(
        self,
        router: Router | Iterable[Router] | None = None,
        *,
        token: str | Default | None = DEFAULT,
        assert_all_called: bool = True,
        allow_unexpected: bool = False,
        limits: Limits | None = None,
        capabilities: tuple[str, ...] = ALL_CAPABILITIES,
    ) -> None:
        core = DaemonCore(
            router,
            token=token,
            assert_all_called=assert_all_called,
            allow_unexpected=allow_unexpected,
            limits=limits,
            capabilities=capabilities,
        )
        super().__init__(core, self._in_run)
        #: Where it listens, in the event loop that it runs in.
        self.address = Address(AddressKind.MEMORY, f"fake-daemon-{next(_numbers)}")
        self._nurseries: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._nursery: trio.Nursery | None = None

    @property
    def token(self) -> str | None:
        """The token that it takes."""
        return self._core.token

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        """A client of it, with the options of `connect`: `async with daemon.connect(timeout=5) as client:`."""
        return connect(self.address, token=self.token, **options)

    def run(self, main: Callable[[Self], Awaitable[T]]) -> T:
        """Run `main(daemon)` in a Trio run with a clock that jumps over every wait, for tests without an event loop."""
        __tracebackhide__ = True

        async def inside() -> T:
            async with self:
                return await main(self)

        return trio.run(inside, clock=MockClock(autojump_threshold=0))

    async def __aenter__(self) -> Self:
        if self._nurseries is not None:
            raise RuntimeError("this memory daemon has been used already; make a new one")
        self._nurseries = trio.open_nursery()
        self._nursery = await self._nurseries.__aenter__()
        await self._nursery.start(self._core.serve, self.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        assert self._nurseries is not None
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        self._nursery = None
        await self._nurseries.__aexit__(None, None, None)
        if value is None:
            self.verify()
        elif isinstance(value, Exception):
            value.add_note(f"the memory daemon:\n{self.account()}")

    def _in_run(self, function: Callable[[], Any]) -> Any:
        __tracebackhide__ = True
        if self._nursery is None:
            raise RuntimeError("this memory daemon does not run: use it as `async with MemoryDaemon() as daemon:`")
        return function()
