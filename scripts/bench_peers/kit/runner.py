"""The rounds: for each mode all servers are up, and are measured one after the other, again and again."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field, frozen

from bench_peers.kit import by_hand
from bench_peers.kit.modes import Mode, Variant
from bench_peers.kit.peer import Load, Peer, Place
from bench_peers.kit.processes import Child, Failed, raise_file_limit
from bench_peers.kit.usage import family, kernel_kib, resident_kib

__all__ = ["Entry", "Outcome", "Plan", "run"]

_START_SECONDS = 30.0
_HOLD_SECONDS = 120.0
# Files that a process needs beside its clients.
_SPARE_FILES = 100


@frozen(kw_only=True)
class Plan:
    """What was asked for on the command line, and where there is room for it."""

    directory: Path
    peers: tuple[Peer, ...]
    modes: tuple[Mode, ...]
    rounds: int
    seconds: float
    quick: bool


@frozen
class Entry:
    """One line of a mode: a peer in one variant."""

    peer: Peer
    variant: Variant

    @property
    def key(self) -> str:
        """Its name, unique in the mode."""
        return f"{self.peer.name} {self.variant.name}".strip()

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.peer.title}, {self.variant.name}" if self.variant.name else self.peer.title

    def base(self, mode: Mode) -> str:
        """The key of the entry that it is compared with."""
        if len(mode.variants) > 1:
            return f"{self.peer.name} {mode.variants[0].name}"
        return "asyncio" if mode.one_base or self.peer.load is Load.LEAN else "asyncio-own"


@define
class Outcome:
    """What came of a mode: a sample of each entry for each round, and why some are missing."""

    mode: Mode
    titles: dict[str, str] = field(factory=dict)
    bases: dict[str, str] = field(factory=dict)
    loads: dict[str, str] = field(factory=dict)
    own: set[str] = field(factory=set)
    rounds: list[dict[str, dict[str, float]]] = field(factory=list)
    failures: dict[str, str] = field(factory=dict)
    left_out: dict[str, str] = field(factory=dict)

    def add(self, entry: Entry) -> None:
        """An entry takes part."""
        key = entry.key
        self.titles[key] = entry.title
        self.bases[key] = entry.base(self.mode)
        self.loads[key] = "lean" if entry.peer.load is Load.LEAN else "own"
        if entry.peer.own:
            self.own.add(key)


class _Station:
    """A server with what stands beside it, and the place that they are in."""

    def __init__(self, entry: Entry, mode: Mode, plan: Plan) -> None:
        self.entry = entry
        self._mode = mode
        self._plan = plan
        # A name of its own, and a short one: a Unix socket's path is.
        directory = tempfile.mkdtemp(prefix="", dir=plan.directory)
        self.place = Place(Path(directory), {**entry.peer.settings, **entry.variant.settings})
        self._server: Child
        self._logs = 0

    def start(self, stack: ExitStack) -> None:
        """Bring the server up, and the idle clients."""
        self._server = stack.enter_context(self._child("serve"))
        self._server.wait_ready(_START_SECONDS)
        idle = self.entry.variant.idle
        if idle:
            holder = stack.enter_context(self._child("load", kind="hold", clients=idle))
            holder.wait_ready(_HOLD_SECONDS)

    def _child(self, action: str, **job: Any) -> Child:
        made = attrs.evolve(self._mode.job, **job)
        self._logs += 1
        order = {
            "action": action,
            "peer": self.entry.peer.order(),
            "directory": str(self.place.directory),
            "settings": self.place.settings,
            "job": made.to_json(),
        }
        return Child.of(order, self.place.directory / f"log{self._logs}")

    def measure(self) -> dict[str, float]:
        """One round."""
        if self._mode.by_hand == "memory":
            return self._memory()
        seconds = self._plan.seconds
        with ExitStack() as stack:
            if self.entry.variant.beside:
                other = stack.enter_context(self._child("load", kind=self.entry.variant.beside))
                other.wait_ready(_START_SECONDS)
            load = stack.enter_context(
                self._child(
                    "load",
                    seconds=seconds,
                    warm_seconds=min(0.3, seconds / 2),
                    subscriptions=self.entry.variant.subscriptions,
                    pid=self._server.pid,
                )
            )
            return load.result(_START_SECONDS + 10 * seconds)

    def _memory(self) -> dict[str, float]:
        """What the server's processes grow by, once it has served a client, and what the kernel does."""
        with ExitStack() as stack:
            server = stack.enter_context(self._child("serve"))
            server.wait_ready(_START_SECONDS)
            with self._child("load", clients=8) as first:
                first.wait_ready(_START_SECONDS)
            time.sleep(0.3)
            kernel, resident = kernel_kib(), resident_kib(family(server.pid))
            holder = stack.enter_context(self._child("load"))
            holder.wait_ready(_HOLD_SECONDS)
            time.sleep(0.3)
            clients = self._mode.job.clients
            found = {
                "resident": (resident_kib(family(server.pid)) - resident) / clients,
                "kernel": (kernel_kib() - kernel) / clients,
            }
        Path(self.place.socket).unlink(missing_ok=True)
        return found


def run(plan: Plan) -> Iterator[Outcome]:
    """Measure all modes, one after the other."""
    for mode in plan.modes:
        say(f"{mode.title} ({mode.name})")
        outcome = Outcome(mode)
        if mode.by_hand in by_hand.WAYS:
            _by_hand(mode, plan, outcome)
        else:
            _side_by_side(mode, plan, outcome)
        yield outcome


def _side_by_side(mode: Mode, plan: Plan, outcome: Outcome) -> None:
    with ExitStack() as stack:
        stations = []
        for entry in _entries(mode, plan, outcome):
            station = _Station(entry, mode, plan)
            try:
                if mode.by_hand != "memory":
                    station.start(stack)
            except Failed as error:
                _failed(outcome, entry.key, error)
                continue
            outcome.add(entry)
            stations.append(station)
        for number in range(plan.rounds):
            samples: dict[str, dict[str, float]] = {}
            # Each round begins with another one, so that none always comes first.
            turn = number % len(stations) if stations else 0
            for station in (*stations[turn:], *stations[:turn]):
                key = station.entry.key
                if key not in outcome.failures:
                    _measure(station, mode, outcome, samples)
            outcome.rounds.append(samples)


def _measure(station: _Station, mode: Mode, outcome: Outcome, samples: dict[str, dict[str, float]]) -> None:
    key = station.entry.key
    try:
        sample = samples[key] = station.measure()
    except Failed as error:
        _failed(outcome, key, error)
    else:
        say(f"    {key}: {sample[mode.metric]:,.2f} {mode.unit}")


def _entries(mode: Mode, plan: Plan, outcome: Outcome) -> Iterator[Entry]:
    limit = raise_file_limit() - _SPARE_FILES
    for peer in plan.peers:
        if not (mode.kinds & peer.kinds) or (mode.peers and peer.name not in mode.peers):
            continue
        for variant in mode.variants:
            entry = Entry(peer, variant)
            clients = max(variant.idle, mode.job.clients)
            if clients > min(peer.most_clients, limit):
                what = "open files the system allows" if clients > limit else "clients this server is made for"
                outcome.left_out[entry.key] = f"{clients:,} clients are more than the {what}"
                say(f"    {entry.key} is left out: {outcome.left_out[entry.key]}")
                continue
            yield entry


def _by_hand(mode: Mode, plan: Plan, outcome: Outcome) -> None:
    why = by_hand.missing(mode.by_hand)
    if why is not None:
        outcome.left_out[mode.name] = why
        say(f"    {mode.name} is left out: {why}")
        return
    try:
        for title, base, samples in by_hand.WAYS[mode.by_hand](plan.directory, plan.rounds, plan.quick):
            outcome.titles[title] = title
            outcome.bases[title] = base
            outcome.loads[title] = "own"
            for number, sample in enumerate(samples):
                if number == len(outcome.rounds):
                    outcome.rounds.append({})
                outcome.rounds[number][title] = sample
                say(f"    {title}: {sample[mode.metric]:,.2f} {mode.unit}")
    except Failed as error:
        _failed(outcome, mode.name, error)


def _failed(outcome: Outcome, key: str, error: Failed) -> None:
    outcome.failures[key] = str(error)
    say(f"    {key} FAILED: {error}")


def say(text: str) -> None:
    """Tell whoever watches."""
    print(text, file=sys.stderr, flush=True)
