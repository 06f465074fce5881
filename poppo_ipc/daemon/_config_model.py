"""The daemon's settings as values: what there is, what makes sense, and what takes a restart."""

# ruff: noqa: RUF009 - `_setting` makes attrs fields

from __future__ import annotations

import difflib
import math
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs

from poppo_ipc.errors import PoppoError
from poppo_ipc.limits import Limits

__all__ = [
    "PREFIX", "SECTIONS", "ConfigError", "ConfigProblem", "DaemonConfig", "HealthConfig", "Key", "QueueConfig", "hint",
    "keys",
]  # fmt: skip

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
PREFIX: Final = "POPPO_"
# The limits that can be set; the others are for those who embed a server.
_LIMITS: Final = (
    "clients",
    "running_per_client",
    "subscriptions_per_client",
    "frame_bytes",
    "outbox_bytes",
    "overflow",
    "stall_seconds",
    "idle_seconds",
    "auth_seconds",
    "auth_tries",
    "kept_events",
    "kept_event_bytes",
    "kept_answers",
    "kept_answer_bytes",
    "kept_answer_seconds",
)


@attrs.frozen
class ConfigProblem:
    """One thing that is wrong: the setting, why, and where it was given."""

    key: str
    problem: str
    source: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.problem}" if self.key else f"{self.source}: {self.problem}"


class ConfigError(PoppoError):
    """The settings cannot be used, and none of them holds. `problems` has all that is wrong."""

    code = "CONFIG_INVALID"

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.args = (problems,)
        self.problems = problems


def _setting(
    default: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    reload: bool = False,
    converter: Callable[[Any], Any] | None = None,
) -> Any:
    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, int | float) and not low <= value <= high:
            bound = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise ValueError(f"expected {bound}, got {value:g}")
        if choices and value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, got {value!r}{hint(str(value), choices)}")

    return attrs.field(default=default, validator=check, converter=converter, metadata={"reload": reload})


@attrs.frozen(kw_only=True)
class QueueConfig:
    """What holds for tasks that say nothing else. Can all be changed while the daemon runs."""

    max_attempts: int = _setting(3, low=1, high=1000, reload=True)
    """Runs of a task before it has failed for good."""
    backoff_base: float = _setting(1.0, low=0, reload=True)
    """Seconds before the second attempt; each later wait is twice as long."""
    backoff_cap: float = _setting(300.0, low=0, reload=True)
    """Seconds that a wait is at most."""
    output_bytes: int = _setting(_MIB, low=0, reload=True)
    """Bytes that are kept of what a task prints."""
    retention_days: float = _setting(7.0, low=0, reload=True)
    """Days that a task is kept after its end."""
    retention_count: int = _setting(10_000, low=0, reload=True)
    """Ended tasks that are kept at most."""

    def __attrs_post_init__(self) -> None:
        if self.backoff_cap < self.backoff_base:
            raise ValueError("backoff_cap cannot be below backoff_base")


@attrs.frozen(kw_only=True)
class HealthConfig:
    """From where on the daemon is not well. Can all be changed while it runs."""

    loop_lag: float = _setting(0.5, low=0.001, reload=True)
    """Seconds that a task may wait for its turn."""
    disk_percent: float = _setting(5.0, low=0, high=100, reload=True)
    """Percent of the state directory's file system that have to be free."""
    disk_bytes: int = _setting(100 * _MIB, low=0, reload=True)
    """Bytes of it that have to be free."""


def _default_state_dir() -> Path:
    return Path("~/.poppobuilder").expanduser()


def _path(value: str | os.PathLike[str]) -> Path:
    return Path(value).expanduser().absolute()


@attrs.frozen(kw_only=True)
class DaemonConfig:
    """All settings of a daemon. Raises ValueError for one that makes no sense."""

    socket: str | None = _setting(None)
    """Where it listens, as `Address.parse` takes it; None for `Address.default()`."""
    state_dir: Path = _setting(attrs.Factory(_default_state_dir), converter=_path)
    """Where its state, its log and its token are kept."""
    token_file: Path | None = _setting(None, converter=attrs.converters.optional(_path))
    """The file that holds the token; None for the one in `state_dir`."""
    no_auth: bool = _setting(False)
    """Serve whoever may connect, without a token."""
    workers: int = _setting(4, low=0, high=1024, reload=True)
    """Tasks that run at once (`maxProcesses`)."""
    log_level: str = _setting(
        "info", choices=("debug", "info", "warning", "error", "critical"), reload=True, converter=str.lower
    )
    """The least serious level that is logged."""
    metrics_port: int | None = _setting(None, low=0, high=65535)
    """The port for scrapers on loopback, 0 for any; None serves none."""
    kill_grace: float = _setting(5.0, low=0, high=3600, reload=True)
    """Seconds from asking a task to end until it is killed."""
    stop_grace: float = _setting(5.0, low=0, high=3600, reload=True)
    """Seconds that commands have to finish when the daemon stops."""
    limits: Limits = attrs.field(factory=Limits)
    """The bounds of the server."""
    queue: QueueConfig = attrs.field(factory=QueueConfig)
    """Defaults of tasks."""
    health: HealthConfig = attrs.field(factory=HealthConfig)
    """Limits of health checks."""

    def __attrs_post_init__(self) -> None:
        if self.no_auth and self.token_file is not None:
            raise ValueError("no_auth and token_file cannot both be set")


SECTIONS: Final[Mapping[str, type[Any]]] = {"limits": Limits, "queue": QueueConfig, "health": HealthConfig}


@attrs.frozen
class Key:
    """One setting: its path, its type without None, and whether it can change while the daemon runs."""

    path: str
    section: str
    name: str
    type: Any
    optional: bool
    reload: bool

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.path.replace(".", "_").upper()

    @property
    def flag(self) -> str:
        """Its flag."""
        return "--" + self.path.replace(".", "-").replace("_", "-")


@cache
def keys() -> Mapping[str, Key]:
    """Every setting by its path."""
    found: dict[str, Key] = {}
    classes: dict[str, type[Any]] = {"": DaemonConfig, **SECTIONS}
    for section, cls in classes.items():
        hints = typing.get_type_hints(cls)
        for attribute in attrs.fields(cls):
            name = attribute.name
            if (section == "limits" and name not in _LIMITS) or (not section and name in SECTIONS):
                continue
            kind, optional = hints[name], False
            if isinstance(kind, types.UnionType):
                optional = True
                kind = next(part for part in typing.get_args(kind) if part is not type(None))
            path = f"{section}.{name}" if section else name
            found[path] = Key(path, section, name, kind, optional, attribute.metadata.get("reload", False))
    return found


def hint(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """The name among `names` that was probably meant, to be put behind an error; "" where none is close."""
    close = difflib.get_close_matches(name[:128], list(names), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""
