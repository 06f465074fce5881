"""Many calls, one write, no task for each."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
from anyio.lowlevel import checkpoint

from poppo_ipc.client._call import Call, PipelinedCall
from poppo_ipc.client._engine import Engine
from poppo_ipc.client._options import DEFAULT, Default, Options
from poppo_ipc.client._typed import build_call, result_reader

if TYPE_CHECKING:
    from poppo_ipc.commands import CommandSpec

__all__ = ["Pipeline"]


class Pipeline:
    """Collects calls, sends them at the end of its block and waits for all answers."""

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine
        self._options = options
        self._calls: list[Call] = []
        self._open = 0
        self._done = anyio.Event()

    def call(
        self,
        command: str | CommandSpec[Any, Any],
        args: Any = None,
        /,
        *,
        result: type[Any] | None = None,
        timeout: float | Default | None = DEFAULT,
        idempotent: bool | None = None,
        idempotency_key: str | None = None,
        **named: Any,
    ) -> PipelinedCall:
        """Add a call; arguments as in `Client.call`. The time limit runs from now on."""
        call = build_call(
            self._engine,
            self._options,
            anyio.current_time(),
            command,
            args,
            named,
            timeout=timeout,
            idempotent=idempotent,
            key=idempotency_key,
        )
        call.wake = self._one_done
        self._calls.append(call)
        return PipelinedCall(call, result_reader(command, result))

    def _one_done(self) -> None:
        self._open -= 1
        if not self._open:
            self._done.set()

    async def __aenter__(self) -> Self:
        await checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None or not self._calls:
            return
        self._open = len(self._calls)
        try:
            for call in self._calls:
                try:
                    self._engine.submit(call, flush=False)
                except Exception as error:  # what one call's args cannot do is that call's error
                    call.fail(error)
            self._engine.flush()
            await self._done.wait()
        finally:
            for call in self._calls:
                if not call.done:
                    self._engine.abandon(call)
