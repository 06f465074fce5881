"""What every fake daemon offers to a test, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from poppo_ipc.testing._book import Book
from poppo_ipc.testing._calls import Calls
from poppo_ipc.testing._core import DaemonCore
from poppo_ipc.testing._expectations import Expectation
from poppo_ipc.testing._faults import Faults

__all__ = ["Expecting"]

T = TypeVar("T")


class Expecting:
    """Expectations, events, faults and what came. `run` calls a function where the daemon runs."""

    def __init__(self, core: DaemonCore, run: Callable[[Callable[[], Any]], Any]) -> None:
        self._core = core
        self._book: Book = core.book
        self._run = run
        #: What can go wrong, by name.
        self.faults = Faults(core, run, core.book.watch)

    # -- before -----------------------------------------------------------------------------------------------------

    def on(self, command: str, args: Mapping[str, Any] | None = None, /, **named: Any) -> Expectation:
        """Expect calls of a command: `on("project.add", path="/srv").reply({...})`.

        Args by the names of the wire, as a mapping or by name; what is not named may be anything, or be left out. A
        value may be a matcher: `ANY`, `ABSENT`, `partial(...)`, a pattern, a type, a function that is true for it.

        Of several that take a call, the first made that is not used up gets it. Raises Mispromise where no daemon has
        such a command, or the command no such argument.
        """
        __tracebackhide__ = True
        return self._book.expect(command, {**(args or {}), **named})

    def emit(self, event: str, data: Any = None, *, unchecked: bool = False) -> int:
        """Send an event to all who subscribed to it, now; gives its number.

        Raises Mispromise where it is not declared so; `unchecked` sends it all the same.
        """
        __tracebackhide__ = True
        checked = data if unchecked else self._book.schemas.event(event, data)
        return int(self._run(lambda: self._core.emit(event, checked)))

    # -- after ------------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> Calls:
        """The calls that came, unexpected ones too; `calls["project.add"].last.args`.

        Those of `events.*` and `ipc.describe` are not among them.
        """
        return self._book.calls

    def assert_called(self, command: str) -> None:
        """Raise AssertionError unless a command was called."""
        __tracebackhide__ = True
        self._book.assert_called(command, None, once=False)

    def assert_called_once(self, command: str) -> None:
        """Raise AssertionError unless a command was called exactly once."""
        __tracebackhide__ = True
        self._book.assert_called(command, None, once=True)

    def assert_called_with(self, command: str, args: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Raise AssertionError unless a command was called with these args and no others, with the differences.

        An argument that is left out counts as given with its default. Values may be matchers, as in `on`.
        """
        __tracebackhide__ = True
        self._book.assert_called(command, {**(args or {}), **named}, once=False)

    def assert_called_once_with(self, command: str, args: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """The same, for a command that was called exactly once."""
        __tracebackhide__ = True
        self._book.assert_called(command, {**(args or {}), **named}, once=True)

    def assert_not_called(self, command: str | None = None) -> None:
        """Raise AssertionError where a command was called; any command, where none is named."""
        __tracebackhide__ = True
        self._book.assert_not_called(command)

    def verify(self) -> None:
        """Raise Unmet where an expectation stayed unused, or a call came that no one expected.

        Asked at the end of the `with` block and of a fixture's test by itself.
        """
        __tracebackhide__ = True
        self._book.verify()

    def account(self) -> str:
        """What came, and what of it does not agree with the expectations, for people."""
        return self._book.account()
