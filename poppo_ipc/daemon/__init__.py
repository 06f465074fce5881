"""The daemon: projects, a queue, workers and their monitoring on real state. Take it whole, or single parts of it.

Names are loaded when first used: a worker process imports parts of this package too, and has no use for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from poppo_ipc._lazy import lazily

if TYPE_CHECKING:
    from poppo_ipc.daemon._config import ConfigError as ConfigError
    from poppo_ipc.daemon._config import DaemonConfig as DaemonConfig
    from poppo_ipc.daemon._config import HealthConfig as HealthConfig
    from poppo_ipc.daemon._config import QueueConfig as QueueConfig
    from poppo_ipc.daemon._config import load_config as load_config
    from poppo_ipc.daemon._daemon import Daemon as Daemon
    from poppo_ipc.daemon._daemon import PoolFactory as PoolFactory
    from poppo_ipc.daemon._notify import Notifier as Notifier
    from poppo_ipc.daemon._workers_router import Pool as Pool

#: Where each public name lives; a test compares it with the imports above.
_HOMES: Final = {
    "ConfigError": "_config",
    "Daemon": "_daemon",
    "DaemonConfig": "_config",
    "HealthConfig": "_config",
    "Notifier": "_notify",
    "Pool": "_workers_router",
    "PoolFactory": "_daemon",
    "QueueConfig": "_config",
    "load_config": "_config",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
