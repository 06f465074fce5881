"""What a test expects to be asked, and what it promises to answer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, Self

from attrs import define, field, frozen

from poppo_ipc.commands import Command
from poppo_ipc.errors import CommandError
from poppo_ipc.testing._calls import written
from poppo_ipc.testing._errors import Mispromise
from poppo_ipc.testing._matchers import differences
from poppo_ipc.testing._schemas import Schemas

__all__ = ["Answer", "Emission", "Expectation"]

_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]*\Z")


@frozen(eq=False)
class Emission:
    """An event that goes out before an answer."""

    event: str
    data: Any


@define(eq=False)
class Answer:
    """One answer of an expectation, for one call or several."""

    kind: Literal["none", "reply", "fail", "stream", "call"] = "none"
    value: Any = None
    error: CommandError | None = None
    items: tuple[Any, ...] = ()
    function: Callable[..., Any] | None = None
    delay: float = 0.0
    emissions: list[Emission] = field(factory=list)
    least: int = 1
    most: float = 1
    used: int = 0

    @property
    def spent(self) -> bool:
        """Whether it answers no more calls."""
        return self.used >= self.most


class Expectation:
    """Calls of one command that a test expects: made by `on`, then told what to answer, in one chain.

    An answer serves one call unless `times` or `always` says otherwise; `then` begins the next one:
    `on("task.status", taskId="t").reply(running).times(2).then.reply(done)`.
    """

    def __init__(self, schemas: Schemas, command: Command, args: Mapping[str, Any], where: str) -> None:
        self.command = command.name
        self.args = dict(args)
        self.where = where
        self.answers = [Answer()]
        self._schemas = schemas
        self._declaration = command

    def __str__(self) -> str:
        return f"{written(self.command, self.args)} at {self.where}"

    # -- what is answered ---------------------------------------------------------------------------------------

    def reply(self, result: Any = None, *, unchecked: bool = False) -> Self:
        """Answer with a result: JSON or an attrs instance.

        Raises Mispromise where it is not what the command is declared to give; `unchecked` sends it all the same, for
        a program that has to survive such a daemon.
        """
        __tracebackhide__ = True
        value = result if unchecked else self._schemas.result(self._declaration, result)
        return self._set(kind="reply", value=value)

    def fail(self, code: str | CommandError, message: str = "", details: dict[str, Any] | None = None) -> Self:
        """Answer with an error: by its code, message and details, or a `CommandError`. Raises Mispromise."""
        __tracebackhide__ = True
        if isinstance(code, CommandError):
            return self._set(kind="fail", error=code)
        if not _CODE.match(code):
            raise Mispromise(f"{code!r} is no code of an error: write upper case, digits and _, as NOT_FOUND")
        return self._set(kind="fail", error=CommandError.from_wire(code, message or f"{code} by the test", details))

    def stream(self, items: Iterable[Any], *, result: Any = None, unchecked: bool = False) -> Self:
        """Answer with items, and `result` at the end. An item that is a `CommandError` ends the stream with it.

        Raises Mispromise as `reply` does.
        """
        __tracebackhide__ = True
        promised = list(items)
        failure = promised.pop() if promised and isinstance(promised[-1], CommandError) else None
        if not unchecked:
            promised = [self._schemas.item(self._declaration, item, index) for index, item in enumerate(promised)]
            if failure is None:
                result = self._schemas.closing(self._declaration, result)
        return self._set(kind="stream", items=tuple(promised), value=result, error=failure)

    def call(self, function: Callable[..., Any]) -> Self:
        """Answer with what `function(call)` gives, a plain function or an async one (of Trio), in the daemon's thread.

        A `CommandError` that it raises is the answer; any other exception, or a result that does not fit, fails the
        test at its end. Where the function gives an async iterator, that is streamed.
        """
        __tracebackhide__ = True
        return self._set(kind="call", function=function)

    # -- how ----------------------------------------------------------------------------------------------------

    def delay(self, seconds: float) -> Self:
        """Wait so long before answering, by the daemon's clock."""
        self._current.delay = seconds
        return self

    def emit(self, event: str, data: Any = None, *, unchecked: bool = False) -> Self:
        """Send an event right before the answer. Raises Mispromise where it is not declared so."""
        __tracebackhide__ = True
        checked = data if unchecked else self._schemas.event(event, data)
        self._current.emissions.append(Emission(event, checked))
        return self

    def times(self, count: int) -> Self:
        """Answer so many calls in this way, neither fewer nor more."""
        __tracebackhide__ = True
        if count < 1:
            raise Mispromise(f"times({count}) expects nothing: leave the expectation out, or say assert_not_called")
        self._current.least = self._current.most = count
        return self

    def always(self) -> Self:
        """Answer any number of calls in this way, one at least."""
        self._current.most = math.inf
        return self

    @property
    def then(self) -> Self:
        """Begin the answer for the calls after those."""
        __tracebackhide__ = True
        if self._current.kind == "none":
            raise Mispromise(f"{self} has no answer yet: say .reply(...) or another before .then")
        if self._current.most == math.inf:
            raise Mispromise(f"{self} always gives the answer before .then: say .times(n) in its place")
        self.answers.append(Answer())
        return self

    # -- what became of it --------------------------------------------------------------------------------------

    @property
    def calls_answered(self) -> int:
        """How many calls it has answered."""
        return sum(answer.used for answer in self.answers)

    @property
    def current(self) -> Answer | None:
        """What it answers the next call with; None where it takes no more."""
        return next((answer for answer in self.answers if not answer.spent), None)

    def differences(self, args: Mapping[str, Any]) -> list[str]:
        """In what args differ from those expected; arguments that the test does not name may be anything."""
        found: list[str] = []
        for name, expected in self.args.items():
            found += differences(expected, self._schemas.given(self.command, name, args, expected), name)
        return found

    @property
    def unmet(self) -> str | None:
        """What is still to happen, in words."""
        if all(answer.used >= answer.least for answer in self.answers):
            return None
        if self._current.kind == "none":
            return f"{self} has no answer: say .reply(...), .fail(...), .stream(...) or .call(...)"
        wanted = sum(answer.least for answer in self.answers)
        if not self.calls_answered:
            return f"{self} was never called" + (f", and {wanted} calls are expected" if wanted > 1 else "")
        return f"{self} was called {_times(self.calls_answered)}, and {wanted} calls are expected"

    @property
    def _current(self) -> Answer:
        return self.answers[-1]

    def _set(self, **values: Any) -> Self:
        __tracebackhide__ = True
        answer = self._current
        if answer.kind != "none":
            raise Mispromise(f"{self} has an answer already: say .then before the next one")
        for name, value in values.items():
            setattr(answer, name, value)
        return self


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
