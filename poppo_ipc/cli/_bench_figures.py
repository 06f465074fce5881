"""What `bench` measures, and what it has measured so far."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final

from attrs import field, frozen

from poppo_ipc.cli._spread import Spread

__all__ = ["Figures", "Measurement"]

#: What is not counted at the beginning: of the whole time, and in seconds at the most.
_WARM_SHARE: Final = 0.1
_WARM_SECONDS: Final = 0.5


@frozen(kw_only=True)
class Measurement:
    """What is to be measured."""

    command: str
    args: dict[str, Any] = field(factory=dict)
    seconds: float
    in_flight: int = 1

    @property
    def warm_up(self) -> float:
        """Seconds before those that count."""
        return min(_WARM_SECONDS, self.seconds * _WARM_SHARE)


class Figures:
    """What was measured so far. Times are seconds of one clock."""

    def __init__(self, what: Measurement) -> None:
        self.what = what
        self.spread = Spread()
        """Seconds that answers took."""
        self.errors: Counter[str] = Counter()
        """Answers that were errors, by their codes. They are answers too, and counted above."""
        self.server = ""
        """The server's name and version, where it tells them."""
        self._warm_until = self._until = math.inf
        self._last = math.inf

    def begin(self, now: float) -> None:
        """The time runs from now."""
        self._warm_until = self._last = now + self.what.warm_up
        self._until = self._warm_until + self.what.seconds

    def add(self, began: float, ended: float, error: str | None = None) -> bool:
        """One answer; gives whether there is to be another question."""
        if ended > self._warm_until:
            self.spread.add(ended - began)
            self._last = max(self._last, ended)
            if error is not None:
                self.errors[error] += 1
        return ended < self._until

    @property
    def seconds(self) -> float:
        """How long it was measured."""
        return self._last - self._warm_until if self.spread.count else 0.0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.spread.count / self.seconds if self.seconds > 0 else 0.0
