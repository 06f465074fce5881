"""The daemon: projects, a queue, workers and their monitoring on real state. Take it whole, or single parts of it.

Names are loaded when first used: a worker process imports parts of this package too, and has no use for the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from poppo_ipc.daemon._config import ConfigError as ConfigError
    from poppo_ipc.daemon._config import DaemonConfig as DaemonConfig
    from poppo_ipc.daemon._config import load_config as load_config
    from poppo_ipc.daemon._daemon import Daemon as Daemon
    from poppo_ipc.daemon._notify import Notifier as Notifier

#: Where each public name lives; a test compares it with the imports above.
_HOMES: Final = {
    "ConfigError": "_config",
    "Daemon": "_daemon",
    "DaemonConfig": "_config",
    "Notifier": "_notify",
    "load_config": "_config",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
