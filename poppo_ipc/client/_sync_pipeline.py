"""Many calls in few writes, without an event loop; and the guard that keeps a second thread out."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from poppo_ipc.client._call import Call, PipelinedCall
from poppo_ipc.client._options import DEFAULT, Default
from poppo_ipc.client._typed import result_reader
from poppo_ipc.client._window import Window
from poppo_ipc.errors import LocalProtocolError

if TYPE_CHECKING:
    from poppo_ipc.client._sync import SyncClient
    from poppo_ipc.commands import CommandSpec

__all__ = ["Alone", "SyncPipeline"]


class Alone:
    """One thread at a time, and no second entry from a signal handler: both would tear what the first is doing."""

    __slots__ = ("_lock",)

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(False):
            raise LocalProtocolError(
                "This SyncClient is in use by another thread, or by what a signal interrupted: give each its own"
            )

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


class SyncPipeline:
    """Collects calls, sends them at the end of its block and waits for all answers."""

    def __init__(self, client: SyncClient, window: int) -> None:
        if window < 1:
            raise ValueError(f"window has to be at least 1, not {window}")
        self._client = client
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
        call = self._client._build(command, args, named, timeout=timeout, idempotent=idempotent, key=idempotency_key)
        self._calls.append(call)
        read = None if result is None and type(command) is str else result_reader(command, result)
        return PipelinedCall(call, read)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None or not self._calls:
            return
        client = self._client
        with client._alone():
            client._look()
            window = Window(client._engine, self._calls, self._size, _nobody)
            try:
                window.start()
                client._run_until(lambda: window.done)
            finally:
                window.abandon()


def _nobody() -> None:
    pass
