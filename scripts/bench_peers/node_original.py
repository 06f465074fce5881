"""The original, a Node.js server of this wire, where a script that starts it is given.

The script is run as `node SCRIPT SOCKET TOKEN`. It serves on that Unix socket, requires that token, answers
`bench.status`, `bench.big` and `bench.broadcast` as `kit/work.py` says, and prints the line "ready" when it does.
"""

from __future__ import annotations

import os

from bench_peers.kit import work
from bench_peers.kit.peer import ALL_MODES, Load, Peer, Place

__all__ = ["PEERS", "serve"]

PEERS = (
    Peer(
        name="original",
        title="the original (Node.js)",
        module="node_original",
        load=Load.LEAN,
        kinds=ALL_MODES,
        programs=("node",),
    ),
)


def serve(place: Place) -> None:
    """Become the Node.js process."""
    os.execvp("node", ["node", place.settings["script"], place.socket, work.TOKEN])
