"""Every setting of the daemon as a flag, with what its class says of it as the help."""

from __future__ import annotations

import ast
import enum
import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click

from poppo_ipc.daemon._config_model import SECTIONS, DaemonConfig, Key, keys

__all__ = ["default_of", "given_flags", "setting_flags", "summary_of"]

F = TypeVar("F", bound=Callable[..., Any])

#: Shorter names for what is asked for often.
_ALIASES: Final = {"metrics_port": "--metrics"}
_METAVARS: Final = {int: "N", float: "X", Path: "PATH"}


def setting_flags(function: F) -> F:
    """One option for each setting. Values stay texts: whoever loads the settings reads and checks all of them alike."""
    for key in reversed(list(keys().values())):
        names = [key.flag, *([_ALIASES[key.path]] if key.path in _ALIASES else []), _parameter(key)]
        said = f"{summary_of(key)} ({key.variable}; default: {default_of(key)})"
        if key.type is bool:
            function = click.option(*names, is_flag=True, help=said)(function)
        else:
            function = click.option(*names, metavar=_METAVARS.get(key.type, "TEXT"), help=said)(function)
    return function


def given_flags(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were given, by their paths."""
    found = {path: options[_parameter(key)] for path, key in keys().items()}
    return {path: value for path, value in found.items() if value not in (None, False)}


def _parameter(key: Key) -> str:
    return key.path.replace(".", "__")


def default_of(key: Key) -> str:
    """The default of a setting, as a person would write it."""
    attribute = getattr(attrs.fields(_class_of(key)), key.name)
    default = attribute.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class, whatever its stub says
        return "~/.poppobuilder"
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, enum.Enum):
        return str(default.value)
    return f"{default:g}" if isinstance(default, float) else str(default)


def summary_of(key: Key) -> str:
    """What the class says of a setting, up to the first full stop or semicolon."""
    text = _docs(key.section).get(key.name, "")
    for end in (". ", "; ", ": "):
        text = text.partition(end)[0]
    return re.sub(r" \([^)]* section [^)]*\)", "", text).rstrip(".")


def _class_of(key: Key) -> type[Any]:
    return SECTIONS.get(key.section, DaemonConfig)


@cache
def _docs(section: str) -> dict[str, str]:
    """The texts below the fields of a section's class; none where there is no source to read them in."""
    try:
        body = ast.parse(inspect.getsource(SECTIONS.get(section, DaemonConfig))).body[0]
    except (OSError, SyntaxError):
        return {}
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found
