"""The standard commands' declarations, imported when the first of them is used: a plain call need not pay for them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["standard"]

if TYPE_CHECKING:
    from poppo_ipc.commands import standard
else:

    class _Later:
        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module("poppo_ipc.commands.standard"), name)
            setattr(self, name, value)  # the next look-up does not come here
            return value

    standard = _Later()
