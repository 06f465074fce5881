"""A Trio run in a thread of its own, for programs under test that have another event loop, or none."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import trio

from poppo_ipc._groups import sole

__all__ = ["Main", "TrioThread"]

T = TypeVar("T")

#: Seconds that starting, stopping or one call take at the most, on a machine that has much else to do.
_PATIENCE = 60.0


class Main(Protocol):
    """What runs in the thread."""

    def __call__(self, *, task_status: trio.TaskStatus[Any]) -> Awaitable[None]:
        """Run until cancelled; `started()` once it is ready."""


class TrioThread:
    """Runs `main` from `start` to `stop`. What it raises comes out of the one or the other."""

    def __init__(self, main: Main, name: str) -> None:
        self._main = main
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start, and wait until `main` is ready."""
        self._thread.start()
        if not self._ready.wait(_PATIENCE):
            raise TimeoutError(f"the thread {self._thread.name} did not get ready within {_PATIENCE:g} s")
        self._raise_failure()

    def stop(self, ask: Callable[[], None] | None = None) -> None:
        """End `main`, by `ask` called in the thread or else by cancelling it, and wait for the thread. Idempotent."""
        if self._thread.is_alive() and self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):  # it has ended by itself
                self._token.run_sync_soon(self._scope.cancel if ask is None else ask)
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                raise TimeoutError(f"the thread {self._thread.name} did not end within {_PATIENCE:g} s")
        self._raise_failure()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the thread and give its result, or raise what it raises. Blocks for that moment."""
        if threading.current_thread() is self._thread:
            return function()
        if self._token is None:
            raise RuntimeError("the daemon does not run: use it inside its `with` block")
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(function())
            except BaseException as error:
                outcome.set_exception(error)

        try:
            self._token.run_sync_soon(run)
        except trio.RunFinishedError:
            self._raise_failure()
            raise RuntimeError("the daemon has ended: use it inside its `with` block") from None
        return outcome.result(_PATIENCE)

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Await an async function in the thread and give its result, or raise what it raises. Blocks meanwhile."""
        if self._token is None:
            raise RuntimeError("the thread does not run")
        return trio.from_thread.run(function, trio_token=self._token)

    def _run(self) -> None:
        try:
            trio.run(self._run_main)
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _run_main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._main)
                self._ready.set()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise sole(failure)
