"""A project's settings: a JSON object of the author's own, with one key that the daemon reads."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from poppo_ipc.errors import InvalidArgs

__all__ = ["DEFAULT_WEIGHT", "check_config", "merge_config", "weight_of"]

DEFAULT_WEIGHT: Final = 1
_HEAVIEST: Final = 100
_LARGEST: Final = 64 * 1024


def merge_config(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`config` with `changes` merged in (RFC 7396): objects key by key, null deletes, anything else replaces."""
    merged = dict(config)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            before = merged.get(key)
            merged[key] = merge_config(before if isinstance(before, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def check_config(config: dict[str, Any]) -> None:
    """Raises InvalidArgs for settings that are too large, or a `weight` that is no integer from 1 to 100."""
    size = len(msgspec.json.encode(config))
    if size > _LARGEST:
        raise InvalidArgs.of("config", f"has {size} bytes of JSON; at most {_LARGEST} are kept")
    weight = config.get("weight", DEFAULT_WEIGHT)
    if type(weight) is not int or not 1 <= weight <= _HEAVIEST:
        raise InvalidArgs.of("config.weight", f"expected an integer from 1 to {_HEAVIEST}")


def weight_of(config: dict[str, Any]) -> int:
    """How many tasks in a row a project's turn has."""
    return int(config.get("weight", DEFAULT_WEIGHT))
