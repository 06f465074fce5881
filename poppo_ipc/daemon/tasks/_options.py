"""What can be chosen about tasks."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import field, frozen, validators

__all__ = ["Retry", "TaskOptions"]

_seconds = validators.ge(0.0)
_count = [validators.instance_of(int), validators.ge(1)]


@frozen(kw_only=True)
class Retry:
    """When a failed attempt is followed by another: exponential backoff with jitter.

    The attempt after attempt n waits between half and the whole of `base * factor ** (n - 1)` seconds, at most `cap`.
    """

    base: float = field(default=1.0, validator=_seconds)
    factor: float = field(default=2.0, validator=validators.ge(1.0))
    cap: float = field(default=300.0, validator=_seconds)
    random: Callable[[], float] = field(default=random.random, eq=False, repr=False)
    """A number from 0 to 1."""

    def delay(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt` failed."""
        # A power that large would be no float any more.
        whole = self.cap if attempt > 64 else min(self.cap, self.base * self.factor ** (attempt - 1))
        return whole * (0.5 + self.random() / 2)


@frozen(kw_only=True)
class TaskOptions:
    """How tasks are treated that say nothing themselves, and how long what they leave is kept."""

    max_attempts: int = field(default=1, validator=_count)
    """Attempts of a task that does not say."""
    retry: Retry = field(factory=Retry)
    output_bytes: int = field(default=1024 * 1024, validator=_count)
    """Bytes, in UTF-8, kept of what one task prints, all attempts together; the rest is counted and marked."""
    keep_seconds: float = field(default=7 * 24 * 3600.0, validator=_seconds)
    """How long a task that has ended is kept, with its result and output."""
    keep_count: int = field(default=100_000, validator=_count)
    """How many tasks that have ended are kept."""
