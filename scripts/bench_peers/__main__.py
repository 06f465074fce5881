"""A process of the benchmark: `python -m bench_peers ORDER`, which serves, or loads a server and prints a result.

An order is JSON: `action` is "serve" or "load", `peer` who (see `Peer.order`), `directory` and `settings` where and
how, `job` what (see `Job`).
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from bench_peers.kit.jobs import Job
from bench_peers.kit.peer import Load, Peer, Place
from bench_peers.kit.processes import live_with_parent, raise_file_limit

_LOADS = {Load.LEAN: "lean_load", Load.SYNC: "sync_load"}


def main() -> None:
    """Do what the order says."""
    order = json.loads(sys.argv[1])
    live_with_parent()
    raise_file_limit()
    peer = Peer.from_order(order["peer"])
    place = Place(Path(order["directory"]), order["settings"])
    if order["action"] == "serve":
        peer.code().serve(place)
        return
    load = importlib.import_module(f"bench_peers.kit.{_LOADS.get(peer.load, 'async_load')}")
    print(json.dumps(load.run(peer, place, Job.from_json(order["job"]))), flush=True)


main()
