"""How fast this server is, side by side with others and with their own clients, in rounds that take turns.

Each server and each load is a process of its own; all that a server has to answer is checked before and after the
timing. Ratios are taken within a round and told with their least and their most: the noise of the machine is in both
sides of each. What is not installed is left out, and said.

    sh scripts/bench [--quick] [--rounds 5] [--seconds 1] [--modes one,in-flight] [--peers poppo,asyncio]
                     [--json FILE] [--svg FILE] [--markdown FILE] [--original SCRIPT] [--list]
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"  # it measures Unix sockets

import argparse
import json
import platform
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from bench_peers.kit.modes import MODES, Mode
from bench_peers.kit.overview import overview
from bench_peers.kit.peer import Peer
from bench_peers.kit.processes import raise_file_limit
from bench_peers.kit.registry import all_peers
from bench_peers.kit.report import as_json, table
from bench_peers.kit.runner import Outcome, Plan, run
from bench_peers.kit.svg import draw


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each measurement takes (1)")
    parser.add_argument("--modes", default="", help="which, by their names or beginnings, with commas; all by default")
    parser.add_argument("--peers", default="", help="which, by their names, with commas; all by default")
    parser.add_argument("--quick", action="store_true", help="one short round of each: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, the raw rounds included")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a plot of the ratios")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--original", type=Path, metavar="SCRIPT", help="a Node.js server (see node_original.py)")
    parser.add_argument("--list", action="store_true", help="say what there is to choose from")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 0.1
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("there has to be a round, and it has to last")
    return options


def _chosen_modes(names: str) -> tuple[Mode, ...]:
    wanted = [name for name in names.split(",") if name]
    exact = {mode.name for mode in MODES}
    for name in wanted:
        if not any(mode.name.startswith(name) for mode in MODES):
            raise SystemExit(f"There is no mode {name!r}; see --list")
    return tuple(
        mode
        for mode in MODES
        if not wanted or any(mode.name == name or (name not in exact and mode.name.startswith(name)) for name in wanted)
    )


def _chosen_peers(names: str, original: Path | None) -> tuple[tuple[Peer, ...], dict[str, str]]:
    """Those that take part, and why the others of those that were asked for do not."""
    peers = all_peers()
    wanted = [name for name in names.split(",") if name] or list(peers)
    for name in wanted:
        if name not in peers:
            raise SystemExit(f"There is no peer {name!r}; see --list")
    taken, missing = [], {}
    for name, peer in peers.items():
        if name not in wanted:
            continue
        why = peer.missing()
        if name == "original":
            if original is None:
                why = "no script was given that starts it (--original)"
            else:
                peer = attrs.evolve(peer, settings={"script": str(original.resolve())})
        if why is None:
            taken.append(peer)
        else:
            missing[name] = why
    return tuple(taken), missing


def _list() -> None:
    print("Modes:")
    for mode in MODES:
        print(f"    {mode.name:20} {mode.title}")
    print("Peers:")
    for peer in all_peers().values():
        why = peer.missing()
        print(f"    {peer.name:20} {peer.title}{f' - {why}' if why else ''}")


def _write(options: argparse.Namespace, outcomes: Sequence[Outcome], missing: dict[str, str]) -> None:
    said: dict[str, Any] = {"rounds": options.rounds, "seconds": options.seconds, "quick": options.quick}
    data = as_json(outcomes, missing, said)
    if options.markdown is not None:
        options.markdown.write_text("\n".join([overview(data), *map(table, outcomes)]))
    if options.json is not None:
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    if options.svg is not None:
        rounds = f"{options.rounds} rounds of {options.seconds:g} s"
        cores = as_json([], {}, {})["machine"]["cores"]
        options.svg.write_text(draw(outcomes, f"{rounds}; {cores} cores, Python {platform.python_version()}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and tell; 1 where something failed, 130 where it was interrupted."""
    options = _options(sys.argv[1:] if arguments is None else arguments)
    if options.list:
        _list()
        return 0
    # Ends as Ctrl-C does, through all the cleaning up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise_file_limit()
    peers, missing = _chosen_peers(options.peers, options.original)
    for name, why in missing.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    outcomes: list[Outcome] = []
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            plan = Plan(
                directory=Path(directory),
                peers=peers,
                modes=_chosen_modes(options.modes),
                rounds=options.rounds,
                seconds=options.seconds,
                quick=options.quick,
            )
            for outcome in run(plan):
                outcomes.append(outcome)
                print(table(outcome), flush=True)
    except KeyboardInterrupt:
        return 130
    finally:
        # Whatever ends it: what was measured until then was measured.
        _write(options, outcomes, missing)
    return 1 if any(outcome.failures for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
