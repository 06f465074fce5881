"""All peers."""

from __future__ import annotations

import importlib
from typing import Final

from bench_peers.kit.peer import Peer

__all__ = ["all_peers"]

_FILES: Final = (
    "poppo",
    "asyncio_streams",
    "node_original",
    "echo",
    "mp_connection",
    "rpyc_service",
    "pyro_objects",
    "zmq_sockets",
    "grpc_aio",
    "dbus_bus",
    "http_uvicorn",
)


def all_peers() -> dict[str, Peer]:
    """Every peer by its name, in the order in which they are shown."""
    return {peer.name: peer for file in _FILES for peer in importlib.import_module(f"bench_peers.{file}").PEERS}
