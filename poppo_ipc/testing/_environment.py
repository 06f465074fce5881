"""Where programs find a daemon: the environment, changed for a while."""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["Environment"]


class Environment:
    """Variables of this process, set from `apply` to `restore`; None takes one away."""

    def __init__(self, variables: Mapping[str, str | None]) -> None:
        self._variables = dict(variables)
        self._before: dict[str, str | None] = {}

    def apply(self) -> None:
        """Set them."""
        self._before = {name: os.environ.get(name) for name in self._variables}
        _set(self._variables)

    def restore(self) -> None:
        """Set what was there before. Idempotent."""
        before, self._before = self._before, {}
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
