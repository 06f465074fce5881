"""How the daemon is doing: metrics, logs and health, each a part of its own with its commands."""

from poppo_ipc.daemon.monitoring._families import METRIC_TYPES as METRIC_TYPES
from poppo_ipc.daemon.monitoring._health import Check as Check
from poppo_ipc.daemon.monitoring._health import CheckResult as CheckResult
from poppo_ipc.daemon.monitoring._health import HealthChecks as HealthChecks
from poppo_ipc.daemon.monitoring._health import HealthReport as HealthReport
from poppo_ipc.daemon.monitoring._health import health_router as health_router
from poppo_ipc.daemon.monitoring._health_checks import disk_space_check as disk_space_check
from poppo_ipc.daemon.monitoring._health_checks import loop_lag_check as loop_lag_check
from poppo_ipc.daemon.monitoring._http import serve_metrics as serve_metrics
from poppo_ipc.daemon.monitoring._lag import LoopLag as LoopLag
from poppo_ipc.daemon.monitoring._logring import LEVELS as LEVELS
from poppo_ipc.daemon.monitoring._logring import Follower as Follower
from poppo_ipc.daemon.monitoring._logring import LogRing as LogRing
from poppo_ipc.daemon.monitoring._logring import parse_level as parse_level
from poppo_ipc.daemon.monitoring._logs import DaemonLogs as DaemonLogs
from poppo_ipc.daemon.monitoring._logs import daemon_logging as daemon_logging
from poppo_ipc.daemon.monitoring._logs_router import logs_router as logs_router
from poppo_ipc.daemon.monitoring._metrics import Metrics as Metrics
from poppo_ipc.daemon.monitoring._metrics_router import metrics_router as metrics_router
from poppo_ipc.daemon.monitoring._period import parse_period as parse_period
from poppo_ipc.daemon.monitoring._redact import MASK as MASK
from poppo_ipc.daemon.monitoring._redact import Redactor as Redactor
from poppo_ipc.daemon.monitoring._requests import Observer as Observer
from poppo_ipc.daemon.monitoring._requests import RequestMetrics as RequestMetrics
from poppo_ipc.daemon.monitoring._sources import ProcessReader as ProcessReader
from poppo_ipc.daemon.monitoring._sources import QueueCounts as QueueCounts
from poppo_ipc.daemon.monitoring._sources import QueueSource as QueueSource
from poppo_ipc.daemon.monitoring._sources import ServerSource as ServerSource
from poppo_ipc.daemon.monitoring._sources import WorkerSample as WorkerSample
from poppo_ipc.daemon.monitoring._sources import WorkerSource as WorkerSource

__all__ = [
    "LEVELS",
    "MASK",
    "METRIC_TYPES",
    "Check",
    "CheckResult",
    "DaemonLogs",
    "Follower",
    "HealthChecks",
    "HealthReport",
    "LogRing",
    "LoopLag",
    "Metrics",
    "Observer",
    "ProcessReader",
    "QueueCounts",
    "QueueSource",
    "Redactor",
    "RequestMetrics",
    "ServerSource",
    "WorkerSample",
    "WorkerSource",
    "daemon_logging",
    "disk_space_check",
    "health_router",
    "logs_router",
    "loop_lag_check",
    "metrics_router",
    "parse_level",
    "parse_period",
    "serve_metrics",
]
