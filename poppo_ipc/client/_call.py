"""One call, from the asking to its outcome, however many connections that takes."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import frozen

from poppo_ipc.client._session import Session
from poppo_ipc.errors import CallTimeout

__all__ = ["Call", "Exposure", "PipelinedCall", "fresh"]


@frozen
class Exposure:
    """A server that is gone may have run the command."""

    session: Session
    """The session in which it was handed over, the latest of these."""

    heard: float
    """When that session was last heard of, by the engine's clock."""


def fresh(error: Exception) -> Exception:
    """A copy to raise: one error may end many calls, and tracebacks must not pile up on a shared one."""
    duplicate = copy.copy(error)
    duplicate.__cause__ = error.__cause__
    return duplicate


def _nobody() -> None:
    pass


class Call:
    """A command on its way. The engine moves it on; its owner waits until `done`.

    `wake` is called, in the thread of the engine, when it is done, and when an item came.
    """

    __slots__ = (
        "args",
        "command",
        "credit",
        "deadline",
        "done",
        "due",
        "error",
        "exposed",
        "handed",
        "id",
        "idempotent",
        "internal",
        "item_count",
        "items",
        "key",
        "result",
        "timeout",
        "wake",
    )

    def __init__(
        self,
        command: str,
        args: Any,
        *,
        timeout: float | None = None,
        deadline: float = math.inf,
        idempotent: bool = False,
        key: str | None = None,
        credit: int | None = None,
        wake: Callable[[], None] = _nobody,
    ) -> None:
        self.command = command
        self.args = args
        self.timeout = timeout  # seconds, for the text of an error
        self.deadline = deadline  # by the engine's clock
        self.due = deadline  # when this side gives up: later than the deadline where the server knows it
        self.idempotent = idempotent
        self.key = key
        self.credit = credit
        self.wake = wake
        self.id = ""  # of the latest sending
        self.handed = False  # in the present session
        self.exposed: Exposure | None = None  # handed over in an earlier one
        self.internal = False  # asked by the client itself; says nothing of how good a session is
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None
        self.items: deque[Any] | None = None if credit is None else deque()
        self.item_count = 0

    def resolve(self, result: Any) -> None:
        """The answer came."""
        if not self.done:
            self.done = True
            self.result = result
            self.wake()

    def fail(self, error: Exception) -> None:
        """The call is over with an error."""
        if not self.done:
            self.done = True
            self.error = error
            self.wake()

    def item(self, data: Any) -> None:
        """One more item came."""
        if self.items is not None and not self.done:
            self.item_count += 1
            self.items.append(data)
            self.wake()

    def timed_out(self, sent: bool, held: bool = False) -> CallTimeout:
        """The error for its time being over: `sent` where a server may have it, `held` where its turn never came."""
        name, limit = f"{self.command!r}", f"{self.timeout:g} s" if self.timeout is not None else "its time"
        if sent:
            return CallTimeout(f"{name} was not answered within {limit}; it may have done part of its work")
        if held:
            text = f"{name} was not sent: the calls before it in its pipeline were not answered within {limit}"
            return CallTimeout(text, {"sent": False})
        return CallTimeout(f"{name} was not sent: there was no connection within {limit}", {"sent": False})

    def value(self) -> Any:
        """The result of a call that is done. Raises its error."""
        if self.error is not None:
            raise fresh(self.error)
        return self.result


class PipelinedCall:
    """One call of a pipeline."""

    __slots__ = ("_call", "_read")

    def __init__(self, call: Call, read: Callable[[Any], Any] | None) -> None:
        self._call = call
        self._read = read

    def result(self) -> Any:
        """The result, once the pipeline's block is over. Raises the call's error, as `call` does."""
        if not self._call.done:
            raise RuntimeError("the pipeline has no answers yet: leave its block first")
        value = self._call.value()
        return value if self._read is None else self._read(value)
