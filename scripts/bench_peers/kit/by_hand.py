"""Measurements that are whole programs: submitting tasks to a daemon, and starting a small client."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench_peers.kit import work
from bench_peers.kit.processes import Child
from bench_peers.kit.registry import all_peers

__all__ = ["WAYS", "missing"]

_SUBMIT: Final = Path(__file__).resolve().parents[2] / "bench_submit.py"
_SUBMIT_SECONDS: Final = 120.0
_START_SECONDS: Final = 30.0

_NOTHING: Final = "python -c pass"
_IMPORT: Final = "import SyncClient"
_CALL: Final = "SyncClient: connect, one call"


#: What was measured, what it is compared with, and a sample for each round.
_Found = tuple[str, str, list[dict[str, float]]]


def _submit(directory: Path, rounds: int, quick: bool) -> Iterator[_Found]:
    """The other script does it, so that there is one way to measure it."""
    samples = []
    for _ in range(rounds):
        arguments = [sys.executable, str(_SUBMIT), "--json", *(["--quick"] if quick else [])]
        # Where the benchmark runs and not in a temporary directory, which may be no disk at all.
        with (
            tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as disk,
            Child(arguments, directory / "submit-log", Path(disk)) as child,
        ):
            found = child.result(_SUBMIT_SECONDS)
        latency: dict[str, float] = found["latencyMs"]  # type: ignore[assignment]
        samples.append(
            {
                "rate": found["acknowledgedPerSecond"],
                "p50": latency["p50"] * 1000,
                "p99": latency["p99"] * 1000,
                "disk_sync_ms": found["diskSyncMs"],
                "changes_per_commit": found["changesPerCommit"],
            }
        )
    yield "task.submit, 256 in flight", "", samples


def _start_up(directory: Path, rounds: int, quick: bool) -> Iterator[_Found]:
    """Wall time of whole processes, one of each in turn; the median of several is one round's sample."""
    peer = all_peers()["poppo"]
    place = directory / "start-up"
    place.mkdir()
    client = f"SyncClient({str(place / 's')!r}, token={work.TOKEN!r})"
    programs = {
        _NOTHING: "pass",
        _IMPORT: "from poppo_ipc import SyncClient",
        _CALL: f"from poppo_ipc import SyncClient\nwith {client} as c: assert c.call('bench.status')['ok']",
    }
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    order = {"action": "serve", "peer": peer.order(), "directory": str(place), "settings": {}}
    with Child.of(order, place / "log") as server:
        server.wait_ready(_START_SECONDS)
        for _ in range(rounds):
            times: dict[str, list[float]] = {name: [] for name in programs}
            for _ in range(3 if quick else 15):
                for name, program in programs.items():
                    times[name].append(_wall(program, place / "log-of-one"))
            for name, taken in times.items():
                samples[name].append({"wall": sorted(taken)[len(taken) // 2] * 1000})
    for name, found in samples.items():
        yield name, _NOTHING, found


def _wall(program: str, log: Path) -> float:
    began = time.perf_counter()
    with Child([sys.executable, "-c", program], log) as child:
        child.wait_end(_START_SECONDS)
        return time.perf_counter() - began


_NEEDS: Final = {"submit": ("h11", "prometheus_client", "psutil", "structlog")}


def missing(way: str) -> str | None:
    """Why it cannot be measured here; None where it can."""
    for name in _NEEDS.get(way, ()):
        if importlib.util.find_spec(name) is None:
            return f"the package {name} is not installed, which the daemon needs"
    return None


WAYS: Final[dict[str, Callable[[Path, int, bool], Iterator[_Found]]]] = {"submit": _submit, "start-up": _start_up}
