"""The worker processes of a daemon: a pool that runs tasks in them, and what a task may ask about itself.

Names are loaded when first used: a worker process imports this package too, and has no use for Trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from poppo_ipc._lazy import lazily

if TYPE_CHECKING:
    from poppo_ipc.daemon.workers._context import TaskContext as TaskContext
    from poppo_ipc.daemon.workers._context import current_task as current_task
    from poppo_ipc.daemon.workers._functions import FunctionRef as FunctionRef
    from poppo_ipc.daemon.workers._functions import Functions as Functions
    from poppo_ipc.daemon.workers._model import Ending as Ending
    from poppo_ipc.daemon.workers._model import Job as Job
    from poppo_ipc.daemon.workers._model import JobOutcome as JobOutcome
    from poppo_ipc.daemon.workers._model import JobSource as JobSource
    from poppo_ipc.daemon.workers._model import PoolOptions as PoolOptions
    from poppo_ipc.daemon.workers._model import PoolStatus as PoolStatus
    from poppo_ipc.daemon.workers._model import WorkerEvents as WorkerEvents
    from poppo_ipc.daemon.workers._model import WorkerInfo as WorkerInfo
    from poppo_ipc.daemon.workers._pool import WorkerPool as WorkerPool

#: Where each public name lives; a test compares it with the imports above.
_HOMES: Final = {
    "Ending": "_model",
    "FunctionRef": "_functions",
    "Functions": "_functions",
    "Job": "_model",
    "JobOutcome": "_model",
    "JobSource": "_model",
    "PoolOptions": "_model",
    "PoolStatus": "_model",
    "TaskContext": "_context",
    "WorkerEvents": "_model",
    "WorkerInfo": "_model",
    "WorkerPool": "_pool",
    "current_task": "_context",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
