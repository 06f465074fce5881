"""What is measured, as data."""

from __future__ import annotations

from typing import Any, Final

from attrs import field, frozen

from bench_peers.kit.jobs import Job

__all__ = ["MODES", "Mode", "Variant"]


@frozen(kw_only=True)
class Variant:
    """One of several ways to measure a peer in a mode, side by side."""

    name: str = ""
    settings: dict[str, Any] = field(factory=dict)
    """Of the server."""
    idle: int = 0
    """Clients that are connected and say nothing."""
    subscriptions: int = 0
    """Subscriptions of patterns that nothing matches."""
    beside: str = ""
    """The kind of the job that another client does meanwhile."""


@frozen(kw_only=True)
class Mode:
    """One thing to measure."""

    name: str
    title: str
    job: Job
    kinds: frozenset[str] = frozenset({"requests"})
    """Peers are measured in it that have one of these."""
    metric: str = "rate"
    """What counts in a sample: the ratios are of it, and over 1 where it is better."""
    unit: str = "requests/s"
    """Of the metric."""
    variants: tuple[Variant, ...] = (Variant(),)
    """Where there are several, ratios are to the first of the same peer."""
    peers: tuple[str, ...] = ()
    """The only peers that it makes sense for; () for all."""
    one_base: bool = False
    """Whether there is one base for all, lean clients and others."""
    rate_unit: str = field()
    """Of the rate, whatever the metric is."""
    by_hand: str = ""
    """How it is measured where it is not a job of a load process: `memory`, `submit` or `start-up`."""

    @rate_unit.default
    def _rate_unit(self) -> str:
        return self.unit if self.metric == "rate" else "requests/s"


def _fan_out(clients: int, events: int, burst: int) -> Mode:
    alone = burst == 1
    return Mode(
        name=f"fan-{clients}{'-single' if alone else ''}",
        title=f"Events to {clients} client{'s' * (clients > 1)}, {'one at a time' if alone else f'bursts of {burst}'}",
        job=Job(kind="fan-out", clients=clients, events=events, burst=burst),
        kinds=frozenset({"fan-out"}),
        unit="events/s",
    )


def _memory(clients: int) -> Mode:
    return Mode(
        name=f"memory-{clients}",
        title=f"Memory of an idle client, {clients:,} of them",
        job=Job(kind="hold", clients=clients),
        kinds=frozenset({"hold"}),
        metric="resident",
        unit="KiB",
        one_base=True,
        by_hand="memory",
    )


def _growth(name: str, title: str, *variants: Variant, **more: Any) -> Mode:
    more = {"job": Job(kind="requests", depth=64), "metric": "cpu", "unit": "µs CPU", "peers": ("poppo",), **more}
    return Mode(name=name, title=title, variants=variants, **more)


_EMIT = Job(kind="requests", depth=64, command="bench.emit", quiet=True)

MODES: Final = (
    Mode(name="one", title="One request in flight", job=Job(kind="requests")),
    Mode(
        name="in-flight",
        title="64 requests in flight",
        job=Job(kind="requests", depth=64),
        kinds=frozenset({"requests", "in-flight"}),
    ),
    Mode(name="clients", title="16 clients, one request in flight each", job=Job(kind="requests", clients=16)),
    _fan_out(1, 4000, 50),
    _fan_out(10, 2000, 50),
    _fan_out(100, 500, 50),
    _fan_out(1, 4000, 1),
    _fan_out(10, 2000, 1),
    _fan_out(100, 500, 1),
    Mode(
        name="big",
        title="Answers of 1 MiB",
        job=Job(kind="big", command="bench.big"),
        kinds=frozenset({"big"}),
        unit="MiB/s",
    ),
    Mode(
        name="connect",
        title="Connect, authenticate, first answer",
        job=Job(kind="connect"),
        kinds=frozenset({"connect"}),
        unit="connects/s",
    ),
    _memory(1_000),
    _memory(10_000),
    Mode(
        name="submit",
        title="task.submit, each on disk before its answer",
        job=Job(kind="submit"),
        unit="tasks/s",
        by_hand="submit",
    ),
    Mode(
        name="start-up",
        title="A cold interpreter that asks once",
        job=Job(kind="start-up"),
        metric="wall",
        unit="ms",
        by_hand="start-up",
    ),
    _growth(
        "grow-clients",
        "CPU per request beside idle clients",
        *(Variant(name=f"{count:,} idle", idle=count) for count in (1, 1_000, 10_000)),
        peers=("poppo", "asyncio"),
    ),
    _growth(
        "grow-subscriptions",
        "CPU per published event beside subscriptions of other patterns",
        *(Variant(name=f"{count:,} subscriptions", subscriptions=count) for count in (1, 1_000)),
        job=_EMIT,
    ),
    _growth(
        "grow-events",
        "CPU per published event with events kept",
        *(Variant(name=f"{n:,} kept", settings={"kept_events": n, "past_events": n}) for n in (1, 100_000)),
        job=_EMIT,
    ),
    Mode(
        name="latency-80",
        title="Latency at 80 % of capacity",
        job=Job(kind="paced", depth=64),
        metric="p99",
        unit="µs",
        peers=("poppo", "poppo-sync-handlers", "poppo-eager-off", "asyncio", "uvloop", "original"),
    ),
    _growth(
        "neighbours",
        "Latency of one client beside a bad neighbour",
        Variant(name="alone"),
        Variant(name="heavy handler", beside="heavy-handler"),
        Variant(name="16 MiB frames", beside="large-frames"),
        job=Job(kind="requests"),
        metric="p99",
        unit="µs",
        peers=("poppo", "poppo-eager-off", "asyncio"),
    ),
)
