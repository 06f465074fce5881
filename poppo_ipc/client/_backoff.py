"""How long to wait before the next try to connect: exponential backoff with full jitter. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import field, frozen, validators

__all__ = ["Backoff"]

_positive = validators.gt(0.0)


@frozen(kw_only=True)
class Backoff:
    """The policy of waiting between tries.

    Before try n+1 the wait is evenly distributed between 0 and `min(cap, start * factor ** n)`: of many clients that
    lost one daemon, no two come back in step ("full jitter"). Raises ValueError for values that make no sense.
    """

    start: float = field(default=0.1, validator=_positive)
    """Seconds that the first wait is bounded by: a daemon that restarts is back in about this time."""

    factor: float = field(default=2.0, validator=validators.ge(1.0))
    """By how much the bound grows from wait to wait."""

    cap: float = field(default=30.0, validator=_positive)
    """Seconds that the bound grows to: somebody who starts the daemon by hand does not want to wait for longer."""

    attempts: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    """How many waits there may be before it is given up; None for no limit."""

    total: float | None = field(default=None, validator=validators.optional(validators.gt(0.0)))
    """Seconds after which it is given up, counted from the first wait; None for no limit."""

    def bound(self, attempt: int) -> float:
        """Seconds that wait number `attempt`, counted from 0, is bounded by."""
        try:
            return min(self.cap, self.start * self.factor**attempt)
        except OverflowError:  # a daemon that is away for a month gets there
            return self.cap

    def delays(self, random: Callable[[], float], clock: Callable[[], float]) -> Iterator[float]:
        """The waits in seconds, one for each try; ends where the limits say that it is to be given up.

        `random` gives numbers from 0 to 1, `clock` seconds. With `total`, the last wait is cut short so that one
        try falls on the very end.
        """
        began = clock()
        attempt = 0
        while self.attempts is None or attempt < self.attempts:
            delay = random() * self.bound(attempt)
            if self.total is not None:
                left = began + self.total - clock()
                if left <= 0:
                    return
                delay = min(delay, left)
            yield delay
            attempt += 1
