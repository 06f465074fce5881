"""The daemon's settings: defaults, a TOML file, the environment and flags, each over the one before.

All of them are read and checked before any holds. `load_config` says everything that is wrong, at once.
"""

from __future__ import annotations

import enum
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from poppo_ipc.daemon._config_model import PREFIX, SECTIONS, Key, hint, keys
from poppo_ipc.daemon._config_model import ConfigError as ConfigError
from poppo_ipc.daemon._config_model import ConfigProblem as ConfigProblem
from poppo_ipc.daemon._config_model import DaemonConfig as DaemonConfig
from poppo_ipc.daemon._config_model import HealthConfig as HealthConfig
from poppo_ipc.daemon._config_model import QueueConfig as QueueConfig
from poppo_ipc.errors import PoppoError
from poppo_ipc.transport import Address

__all__ = [
    "Change", "Changes", "ConfigError", "ConfigProblem", "DaemonConfig", "HealthConfig", "QueueConfig", "load_config",
    "reload",
]  # fmt: skip

_FILE_BYTES: Final = 1024 * 1024
# Variables of the package that set nothing here: the client's, those that name the file, those that tasks get.
_FOREIGN: Final = re.compile(r"POPPO_(TOKEN|CONFIG|(TASK|WORKER|PROJECT)_.*)")


# -- reading ------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Given:
    """A value as it was given, and where."""

    value: Any
    source: str
    is_text: bool = False
    directory: Path | None = None


def load_config(
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> DaemonConfig:
    """The settings, each from the last source that gives it: default, file, environment, flags.

    Args:
        file: a TOML file; its relative paths are taken from its directory.
        environ: `POPPO_` and the path in capitals, with `_` for dots: `POPPO_QUEUE_MAX_ATTEMPTS`. This process's by
            default. A variable that is close to the name of one of ours is an error, others are left alone.
        flags: values by path (`"queue.max_attempts"`); None counts as not given, and texts are read.

    Raises ConfigError with all that is wrong. Reads the file: in an event loop, call it in a thread.
    """
    problems: list[ConfigProblem] = []
    given: dict[str, _Given] = {}
    if file is not None:
        given.update(_from_file(Path(file), problems))
    given.update(_from_environ(os.environ if environ is None else environ, problems))
    given.update(_from_flags(flags or {}, problems))
    values: dict[str, dict[str, Any]] = {section: {} for section in ("", *SECTIONS)}
    for path, each in given.items():
        key = keys()[path]
        try:
            values[key.section][key.name] = _checked(key, each)
        except (ValueError, TypeError, PoppoError) as error:
            problems.append(ConfigProblem(path, _plain(error), each.source))
    # Only when each is right by itself: what two of them make of one another would be told twice.
    config = None if problems else _whole(values, given, problems)
    if config is None or problems:
        raise ConfigError(tuple(problems))
    return config


def _whole(
    values: Mapping[str, dict[str, Any]], given: Mapping[str, _Given], problems: list[ConfigProblem]
) -> DaemonConfig | None:
    built: dict[str, Any] = {}
    for section, cls in {**SECTIONS, "": DaemonConfig}.items():
        try:
            made = cls(**values[section], **({} if section else built))
        except (ValueError, TypeError) as error:
            text = _plain(error)
            named = [path for path in given if keys()[path].section == section and keys()[path].name in text]
            problems.append(ConfigProblem(section, text, ", ".join(given[path].source for path in named)))
            continue
        if section:
            built[section] = made
        else:
            return None if problems else made
    return None


def _checked(key: Key, given: _Given) -> Any:
    value = _from_text(key, given.value) if given.is_text else _typed(key, given.value)
    if value is not None and key.type is Path and given.directory is not None:
        value = given.directory / value.expanduser()
    if value is not None and key.path == "socket":
        Address.parse(value)
    # The rest of what its class knows of it, alone: a default of another setting cannot be wrong.
    cls: type[Any] = SECTIONS.get(key.section, DaemonConfig)
    attribute = getattr(attrs.fields(cls), key.name)
    converted = value if attribute.converter is None else attribute.converter(value)
    if attribute.validator is not None:
        attribute.validator(None, attribute, converted)
    return converted


def _typed(key: Key, value: Any) -> Any:
    """A value of TOML or a flag, where it has the type of the setting."""
    kind = key.type
    if value is None and key.optional:
        return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is float and isinstance(value, float) and math.isnan(value):
        raise ValueError("expected a number")
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    if kind is Path and isinstance(value, str):
        if not value.strip():
            raise ValueError("expected a path, got nothing")
        return Path(value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        choices = tuple(str(member.value) for member in kind)
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, got {_short(value)}{hint(str(value), choices)}")
        return kind(value)
    raise ValueError(f"expected {_TYPE_NAMES.get(kind, 'text')}, got {_short(value)}")


_TYPE_NAMES: Final = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path", str: "text"}
_TRUTH: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _from_text(key: Key, text: str) -> Any:
    """A value of a variable, or of a flag that was not read yet. `none` or nothing at all is None."""
    if key.optional and text.strip().lower() in ("", "none"):
        return None
    if key.type is bool:
        found = _TRUTH.get(text.strip().lower())
        if found is None:
            raise ValueError(f"expected true or false, got {_short(text)}")
        return found
    if key.type in (int, float):
        try:
            return _typed(key, key.type(text))
        except ValueError:
            raise ValueError(f"expected {_TYPE_NAMES[key.type]}, got {_short(text)}") from None
    return _typed(key, text)


def _from_file(path: Path, problems: list[ConfigProblem]) -> Iterator[tuple[str, _Given]]:
    try:
        with path.open("rb") as opened:
            data = opened.read(_FILE_BYTES + 1)
        if len(data) > _FILE_BYTES:
            raise ValueError(f"it is over {_FILE_BYTES} bytes")
        text = data.decode("utf-8")
        tree = tomllib.loads(text)
    except OSError as error:
        problems.append(ConfigProblem("", f"cannot be read: {error.strerror}", str(path)))
        return
    except ValueError as error:  # also what is no UTF-8 and no TOML, which tells the line
        problems.append(ConfigProblem("", f"cannot be read: {error}", str(path)))
        return
    lines = _lines(text)
    for key, value in _leaves(tree):
        line = lines.get(key)
        source = str(path) if line is None else f"{path}:{line}"
        if key in keys():
            yield key, _Given(value, source, directory=path.absolute().parent)
        elif key in SECTIONS:
            problems.append(ConfigProblem(key, f"expected a table of settings, got {_short(value)}", source))
        else:
            meant = hint(key, (*SECTIONS, *keys()))
            problems.append(ConfigProblem(key, f"there is no such setting{meant}", source))


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if name in SECTIONS and isinstance(value, dict):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


_TABLE: Final = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]")
_ASSIGNED: Final = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=")


def _lines(text: str) -> dict[str, int]:
    """The line of each setting, as far as that can be seen: the parser does not tell."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            table = header[1] + "."
            found.setdefault(header[1], number)
        elif assigned := _ASSIGNED.match(line):
            found.setdefault(table + assigned[1], number)
    return found


def _from_environ(environ: Mapping[str, str], problems: list[ConfigProblem]) -> Iterator[tuple[str, _Given]]:
    by_variable = {key.variable: key.path for key in keys().values()}
    for name, text in environ.items():
        if name in by_variable:
            yield by_variable[name], _Given(text, name, is_text=True)
        elif name.startswith(PREFIX) and not _FOREIGN.fullmatch(name) and (meant := hint(name, by_variable, 0.85)):
            problems.append(ConfigProblem("", f"there is no such setting{meant}", name))


def _from_flags(flags: Mapping[str, Any], problems: list[ConfigProblem]) -> Iterator[tuple[str, _Given]]:
    for path, value in flags.items():
        key = keys().get(path)
        if key is None:
            problems.append(ConfigProblem(path, f"there is no such setting{hint(path, keys())}", "flags"))
        elif value is not None:
            yield path, _Given(value, key.flag, is_text=isinstance(value, str))


def _short(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _plain(error: Exception) -> str:
    # The validators of attrs give their text first, and then what they looked at.
    return str(error.args[0]) if error.args else str(error)


# -- reading again ------------------------------------------------------------------------------------------------


@attrs.frozen
class Change:
    """One setting that is not as it was."""

    key: str
    old: Any
    new: Any


@attrs.frozen
class Changes:
    """What reading the settings again comes to. `config` holds from now on: the old one with `applied`."""

    config: DaemonConfig
    applied: tuple[Change, ...]
    restart: tuple[Change, ...]
    """What takes a restart of the daemon, and does not hold yet."""


def reload(old: DaemonConfig, new: DaemonConfig) -> Changes:
    """Compare two settings and take over what can change while the daemon runs. Changes neither of them.

    The limits that no source can set stay as they were.
    """
    changes = [
        (key, Change(key.path, _value(old, key), _value(new, key)))
        for key in keys().values()
        if _value(old, key) != _value(new, key)
    ]
    applied = [(key, change) for key, change in changes if key.reload]
    config = old
    for section in ("", *SECTIONS):
        taken = {key.name: change.new for key, change in applied if key.section == section}
        if section and taken:
            taken = {section: attrs.evolve(getattr(config, section), **taken)}
        config = attrs.evolve(config, **taken)
    return Changes(
        config, tuple(change for _, change in applied), tuple(change for key, change in changes if not key.reload)
    )


def _value(config: DaemonConfig, key: Key) -> Any:
    return getattr(getattr(config, key.section) if key.section else config, key.name)
