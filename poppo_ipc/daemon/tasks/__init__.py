"""Tasks and their queues: stored, scheduled fairly, and given to whoever runs them."""

from poppo_ipc.daemon.tasks._control import QueueControl as QueueControl
from poppo_ipc.daemon.tasks._control import percentile as percentile
from poppo_ipc.daemon.tasks._options import Retry as Retry
from poppo_ipc.daemon.tasks._options import TaskOptions as TaskOptions
from poppo_ipc.daemon.tasks._queue import TaskQueue as TaskQueue
from poppo_ipc.daemon.tasks._router import tasks_router as tasks_router
from poppo_ipc.daemon.tasks._rows import NewTask as NewTask
from poppo_ipc.daemon.tasks._schedule import Schedule as Schedule
from poppo_ipc.daemon.tasks._schedule import Waiting as Waiting
