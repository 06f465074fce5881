"""What the program under test asked of a daemon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from attrs import frozen

from poppo_ipc.testing._matchers import shown

__all__ = ["Call", "Calls", "written"]


@frozen(eq=False)
class Call:
    """One command that came in."""

    command: str
    """Its name."""

    args: dict[str, Any]
    """Its args, as they were on the wire."""

    number: int
    """Its place among all calls, from 1."""

    session: str = ""
    """The id of the connection that it came on."""

    idempotency_key: str | None = None
    """The key that it carried."""

    problem: str | None = None
    """Why no expectation took it; None where one did."""

    def __str__(self) -> str:
        return written(self.command, self.args)


class Calls(Sequence[Call]):
    """Calls in the order in which they came, as they were when this was asked for.

    `calls["project.add"]` are those of one command, `calls[0]` is the first one.
    """

    def __init__(self, calls: Iterable[Call], of: str = "") -> None:
        self._calls = tuple(calls)
        self._of = of

    @overload
    def __getitem__(self, which: int) -> Call: ...
    @overload
    def __getitem__(self, which: slice | str) -> Calls: ...
    def __getitem__(self, which: int | slice | str) -> Call | Calls:
        if isinstance(which, str):
            return Calls((call for call in self._calls if call.command == which), which)
        if isinstance(which, slice):
            return Calls(self._calls[which], self._of)
        __tracebackhide__ = True
        if not -len(self._calls) <= which < len(self._calls):
            raise AssertionError(f"there is no call number {which} of {self._of or 'any command'}; {self}")
        return self._calls[which]

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    def __str__(self) -> str:
        return f"calls: {', '.join(map(str, self._calls)) or 'none'}"

    __repr__ = __str__

    @property
    def first(self) -> Call:
        """The first one. Raises AssertionError where there is none."""
        __tracebackhide__ = True
        return self[0]

    @property
    def last(self) -> Call:
        """The last one. Raises AssertionError where there is none."""
        __tracebackhide__ = True
        return self[-1]

    @property
    def commands(self) -> list[str]:
        """The names of the commands, in order."""
        return [call.command for call in self._calls]


def written(command: str, args: Mapping[str, Any]) -> str:
    """A call as one would write it: `project.add(path='/srv')`."""
    return f"{command}({', '.join(f'{name}={shown(value)}' for name, value in args.items())})"
