"""Many calls in few writes, with no task for each."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
from anyio.lowlevel import checkpoint

from poppo_ipc.client._call import Call, PipelinedCall
from poppo_ipc.client._engine import Engine
from poppo_ipc.client._options import DEFAULT, Default, Options
from poppo_ipc.client._typed import build_call, result_reader
from poppo_ipc.client._window import Window

if TYPE_CHECKING:
    from poppo_ipc.commands import CommandSpec

__all__ = ["Pipeline"]


class Pipeline:
    """Collects calls, sends them at the end of its block and waits for all answers."""

    def __init__(self, engine: Engine, options: Options, window: int) -> None:
        if window < 1:
            raise ValueError(f"window has to be at least 1, not {window}")
        self._engine = engine
        self._options = options
        self._size = window
        self._calls: list[Call] = []

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
        self._calls.append(call)
        read = None if result is None and type(command) is str else result_reader(command, result)
        return PipelinedCall(call, read)

    async def __aenter__(self) -> Self:
        await checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None or not self._calls:
            return
        over = anyio.Event()
        window = Window(self._engine, self._calls, self._size, over.set)
        try:
            window.start()
            await over.wait()
        finally:
            window.abandon()
