"""What `top` knows: read from answers, asked for and listened to. No screen in it, and no time that really passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.cli.top._answers import Answers, event_entry, log_entry
from poppo_ipc.cli.top._draw import age_text, clock, count_text, curve, rate_text, size_text, time_text
from poppo_ipc.cli.top._feed import Feed
from poppo_ipc.cli.top._model import Lack, Link, LinkState, Model, Part
from poppo_ipc.client import Backoff, connect
from poppo_ipc.commands import Context, Router
from poppo_ipc.errors import Busy, Unavailable
from poppo_ipc.server import Server, running

KEYS = ["metrics", "requests", "total", "answered", "process", "uptimeSeconds", "latencyMs", "workers", "tasks", "id"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def counters(at: float, answered: float, *, avg: float = 2.0, errors: int = 0) -> dict[str, Any]:
    return {
        "metrics": {
            "requests": {
                "total": {"answered": answered, "errors": errors, "latencyMs": {"count": answered, "avg": avg}}
            },
            "sessions": {"bytesIn": answered * 10, "bytesOut": answered * 20, "connected": 3},
            "process": {"uptimeSeconds": at, "cpuSeconds": at / 4},
        }
    }


# -- answers ----------------------------------------------------------------------------------------------------------


def test_counters_become_rates_by_the_clock_of_the_daemon() -> None:
    model = Model()
    answers = Answers(model)
    answers.take_metrics(counters(10.0, 100))
    assert model.requests.rate is None
    answers.take_metrics(counters(12.0, 150, avg=4.0, errors=10))
    facts = model.requests
    assert (facts.rate, facts.errors, facts.bytes_in, facts.bytes_out, facts.sessions) == (25.0, 5.0, 250.0, 500.0, 3)
    assert facts.latency == (150 * 4.0 - 100 * 2.0) / 50
    assert model.daemon.cpu == 25.0


def test_another_daemon_gives_no_rate_at_first() -> None:
    model = Model()
    answers = Answers(model)
    answers.take_metrics(counters(1000.0, 100))
    answers.take_metrics(counters(1.0, 7))
    assert model.requests.rate is None
    answers.take_metrics(counters(2.0, 9))
    assert model.requests.rate == 2.0


def test_a_daemon_that_measures_nothing_lacks_its_requests() -> None:
    model = Model()
    Answers(model).take_metrics({"metrics": {"jobs": 3}})
    assert "not measured" in model.lacks[Part.REQUESTS].reason


def test_a_queue_that_does_not_tell_whether_it_is_paused_is_as_we_left_it() -> None:
    model = Model()
    answers = Answers(model)
    answers.take_queue({"pending": 1, "running": 2, "completed": 3, "failed": 4, "paused": True})
    answers.take_queue({"pending": 5})
    assert (model.queue.pending, model.queue.running, model.queue.paused) == (5, None, True)


def test_tasks_are_listed_once_the_running_ones_first() -> None:
    model = Model()
    answers = Answers(model)
    answers.take_tasks("pending", {"tasks": [{"id": "c", "status": "pending"}, {"id": "a", "status": "pending"}]})
    answers.take_tasks("failed", {"tasks": [{"id": "b", "status": "failed", "error": "\x1b[2J"}]})
    answers.take_tasks("running", {"tasks": [{"id": "a", "status": "running", "startedAt": "1970-01-01T00:00:09Z"}]})
    assert [(task.id, task.status) for task in model.tasks] == [("a", "running"), ("b", "failed"), ("c", "pending")]
    assert (model.tasks[0].since, model.tasks[1].error) == (9.0, "\\x1b[2J")


@given(ANYTHING)
def test_no_answer_is_too_strange(answer: Any) -> None:
    model = Model()
    answers = Answers(model)
    takers = (
        answers.take_status, answers.take_metrics, answers.take_latency, answers.take_queue, answers.take_statistics,
        answers.take_workers,
    )  # fmt: skip
    for take in takers:
        take(answer)
    answers.take_tasks("running", answer)
    model.mark()
    log_entry(answer)
    entry = event_entry("e\x1b", answer, 0)
    assert not set(entry.name + entry.text) & set(map(chr, (*range(32), *range(127, 160))))


def test_what_is_away_leaves_a_hole_in_the_curves() -> None:
    model = Model()
    model.link = Link(LinkState.CONNECTED)
    model.requests.rate = 5.0
    model.mark()
    model.link = Link(LinkState.AWAY)
    model.mark()
    assert list(model.rates) == [5.0, None]


# -- drawing ----------------------------------------------------------------------------------------------------------


def test_a_curve_is_as_high_as_its_greatest_value() -> None:
    assert curve([0, 1, 2, 4, 8], 6) == [" ▁▁▂▄█"]
    assert curve([8, 4, None, 0], 4, 2) == ["█   ", "██ ▁"]
    assert curve([], 3) == ["   "]
    assert curve([1, 2, 3], 0) == [""]


@given(st.lists(st.none() | st.floats(0, 1e12), max_size=50), st.integers(0, 60), st.integers(1, 5))
def test_a_curve_fills_its_place(values: list[float | None], width: int, height: int) -> None:
    lines = curve(values, width, height)
    assert [len(line) for line in lines] == [width] * height


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (count_text(None), "-"), (count_text(0), "0"), (count_text(9999), "9999"), (count_text(12345), "12.3k"),
        (count_text(2_500_000), "2.5M"), (count_text(0.25), "0.2"), (rate_text(12.0), "12/s"),
        (time_text(0.4), "0.40 ms"), (time_text(12.34), "12.3 ms"), (time_text(999.9), "1.0 s"),
        (time_text(200_000), "3m"), (age_text(-1), "0s"), (age_text(119), "119s"), (age_text(120), "2m"),
        (age_text(7200), "2h"), (age_text(86400 * 40), "40d"), (size_text(1536), "1.5K"), (size_text(None), "-"),
        (clock(None), " " * 8), (clock(1e30), "--------"),
    ],
)  # fmt: skip
def test_figures_are_short(text: str, expected: str) -> None:
    assert text == expected


# -- the feed ---------------------------------------------------------------------------------------------------------


class Fake:
    """A daemon's answers, and how often it was asked."""

    def __init__(self) -> None:
        self.router = Router()
        self.asked: list[str] = []
        self.busy = False
        router = self.router

        @router.command("daemon.status", idempotent=True)
        async def status(ctx: Context) -> dict[str, Any]:
            return self.told("daemon.status", {"status": "running", "pid": 7})

        @router.command("daemon.metrics", idempotent=True)
        async def metrics(ctx: Context) -> dict[str, Any]:
            number = 1 + self.asked.count("daemon.metrics")
            return self.told("daemon.metrics", counters(float(number), 10.0 * number))

        @router.command("queue.status", idempotent=True)
        async def queue(ctx: Context) -> dict[str, Any]:
            if self.busy:
                raise Busy("Too much to do")
            return self.told("queue.status", {"pending": 4, "running": 1, "paused": False})

        @router.command("worker.status", idempotent=True)
        async def workers(ctx: Context) -> dict[str, Any]:
            self.asked.append("worker.status")
            raise Unavailable("The workers are not part of this daemon")

        @router.command("logs.tail", idempotent=True)
        async def logs(ctx: Context, lines: int = 100, follow: bool = False) -> AsyncIterator[dict[str, Any]]:
            yield {"level": "info", "message": "first"}
            await trio.sleep(3)
            yield {"level": "info", "message": "second"}
            await trio.sleep_forever()

    def told(self, command: str, answer: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(command)
        return answer


@asynccontextmanager
async def fed(fake: Fake, address: str) -> AsyncIterator[tuple[Model, Feed]]:
    model = Model()
    async with connect(address, token=None, backoff=Backoff(start=0.01, cap=0.1)) as client:
        feed = Feed(client, model, lambda: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.run)
            yield model, feed
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_it_asks_every_second_and_listens(autojump_clock: trio.testing.MockClock) -> None:
    fake = Fake()
    address = "memory:top-feed"
    async with running(Server(fake.router, address=address)) as server, fed(fake, address) as (model, _):
        await trio.sleep(2.5)
        assert model.link.state is LinkState.CONNECTED
        assert fake.asked.count("daemon.status") in (3, 4)  # one more where it was asked before it was connected
        assert (model.daemon.pid, model.requests.rate, model.queue.pending) == (7, 10.0, 4)
        assert [value for value in model.depths if value is not None][-3:] == [4, 4, 4]
        assert model.lacks[Part.WORKERS] == Lack("The workers are not part of this daemon")
        assert model.lacks[Part.TASKS].lasting
        assert fake.asked.count("worker.status") == 1
        assert [line.message for line in model.logs] == ["first"]
        await server.publish("task.failed", {"taskId": "t", "error": "\x1b"})
        await trio.sleep(1)
        assert [line.message for line in model.logs] == ["first", "second"]
        assert [(event.name, event.text) for event in model.events] == [("task.failed", "t \\x1b")]


@pytest.mark.trio
async def test_what_passes_is_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    fake = Fake()
    fake.busy = True
    async with running(Server(fake.router, address="memory:top-busy")), fed(fake, "memory:top-busy") as (model, _):
        await trio.sleep(1.5)
        assert model.lacks[Part.QUEUE] == Lack("Too much to do", lasting=False)
        fake.busy = False
        await trio.sleep(1)
        assert Part.QUEUE not in model.lacks
        assert model.queue.pending == 4


@pytest.mark.trio
async def test_a_poke_asks_at_once(autojump_clock: trio.testing.MockClock) -> None:
    fake = Fake()
    async with running(Server(fake.router, address="memory:top-poke")), fed(fake, "memory:top-poke") as (_, feed):
        await trio.sleep(1.5)
        before = fake.asked.count("daemon.status")
        feed.poke()
        await trio.sleep(0.1)
        assert fake.asked.count("daemon.status") == before + 1


@pytest.mark.trio
async def test_it_outlives_the_daemon(autojump_clock: trio.testing.MockClock) -> None:
    fake, another = Fake(), Fake()
    address = "memory:top-restart"
    server = Server(fake.router, address=address)
    async with trio.open_nursery() as nursery:
        serving = trio.CancelScope()

        async def serve() -> None:
            with serving:
                async with running(server):
                    await trio.sleep_forever()

        nursery.start_soon(serve)
        await trio.sleep(0.1)
        async with fed(fake, address) as (model, _):
            await trio.sleep(2)
            serving.cancel()
            await trio.sleep(3)
            link = model.link
            assert link.state is LinkState.AWAY
            assert link.reason
            assert model.rates[-1] is None
            async with running(Server(another.router, address=address)):
                await trio.sleep(3)
                assert model.link.state is LinkState.CONNECTED
                assert another.asked.count("worker.status") == 1  # what one daemon lacked another may have
                assert model.rates[-1] == 10.0
                assert [line.message for line in model.logs][:1] == ["first"]
