"""What is counted for each answered command: the one place of the monitoring that runs with every request.

Plain integers, and not the children of `prometheus_client`: each of those takes a lock for each of the two or three
numbers that an answer changes, which costs several times the whole of this. They are read when somebody looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["LATENCY_BOUNDS", "UNKNOWN", "CommandSeries", "Observer", "RequestMetrics"]

#: The upper bounds of the latency histogram's buckets in seconds: from a handler that looks something up (50 µs) to
#: one that runs into the usual time limit (30 s).
# fmt: off
LATENCY_BOUNDS: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)
# fmt: on

#: Under this name all commands are counted that the daemon does not have: their names are a client's to choose.
UNKNOWN: Final = "unknown"
#: Under this one, error codes beyond the bound.
OTHER: Final = "other"
# The wire has 16 codes; an author may add about as many again.
_CODES: Final = 32

#: `on_answered(command, seconds, code)`: called once for each answer; `code` is the error's, or None.
Observer = Callable[[str, float, str | None], None]


class CommandSeries:
    """The answers to one command since the daemon started."""

    __slots__ = ("buckets", "errors", "seconds")

    def __init__(self) -> None:
        #: Answers by latency, one number for each bound and one for what took longer.
        self.buckets = [0] * (len(LATENCY_BOUNDS) + 1)
        #: The sum of the latencies in seconds.
        self.seconds = 0.0
        #: Answers that were errors, by their code.
        self.errors: dict[str, int] = {}

    @property
    def count(self) -> int:
        """All answers."""
        return sum(self.buckets)

    def failed(self, code: str) -> None:
        """One more error."""
        errors = self.errors
        if code not in errors and len(errors) >= _CODES:
            code = OTHER
        errors[code] = errors.get(code, 0) + 1


class RequestMetrics:
    """Counts answers by command; `on_answered` is what a server is given as its observer.

    Only for the event loop's thread. The number of series is bounded by the commands that are known.
    """

    def __init__(self, commands: Iterable[str] = ()) -> None:
        self._unknown = CommandSeries()
        self._series: dict[str, CommandSeries] = {UNKNOWN: self._unknown}
        #: Count one answer: the command's name, the seconds that it took, the code of its error or None.
        self.on_answered: Observer = _observer(self._series, self._unknown)
        self.know(commands)

    def know(self, commands: Iterable[str]) -> None:
        """Count these commands by name from now on."""
        for command in commands:
            self._series.setdefault(command, CommandSeries())

    @property
    def series(self) -> Mapping[str, CommandSeries]:
        """The commands that are known, and `unknown` for all others."""
        return MappingProxyType(self._series)


def _observer(series: Mapping[str, CommandSeries], unknown: CommandSeries) -> Observer:
    # A closure: its names are found faster than attributes of an instance.
    get, bounds = series.get, LATENCY_BOUNDS

    def on_answered(command: str, seconds: float, code: str | None) -> None:
        found = get(command, unknown)
        found.buckets[bisect_left(bounds, seconds)] += 1
        found.seconds += seconds
        if code is not None:
            found.failed(code)

    return on_answered
