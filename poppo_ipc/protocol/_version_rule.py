"""The version rule (WIRE.md section 2): the same major number is compatible, a missing version counts as 1.0.0."""

from __future__ import annotations

from typing import Final

__all__ = ["PROTOCOL_VERSION", "compatible", "mismatch_text"]

PROTOCOL_VERSION: Final = "1.0.0"
_MAJOR: Final = PROTOCOL_VERSION.partition(".")[0]


def compatible(version: str) -> bool:
    """Whether a message of this version can be understood: its major number is ours."""
    return version.partition(".")[0] == _MAJOR


def mismatch_text(peer: str, version: str) -> str:
    """A sentence that names both versions; `peer` is `client` or `server`, the side that sent `version`."""
    us = "server" if peer == "client" else "client"
    return (
        f"Protocol version mismatch: the {peer} speaks {version[:32]}, the {us} speaks {PROTOCOL_VERSION}; "
        "upgrade the older one and restart it"
    )
