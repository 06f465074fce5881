"""The last lines in memory, and following them."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.daemon.monitoring import LogRing, logs_router, parse_level
from poppo_ipc.errors import InvalidArgs

from .conftest import FakeContext, call

pytestmark = pytest.mark.anyio


def put(ring: LogRing, message: str, level: str = "info") -> None:
    entry = {"timestamp": "2026-01-01T00:00:00.000Z", "level": level, "logger": "x", "message": message}
    ring.append(parse_level(level), entry)


def messages(lines: list[dict[str, Any]]) -> list[str]:
    return [line["message"] for line in lines]


def filled(*messages: str) -> LogRing:
    ring = LogRing()
    for message in messages:
        put(ring, message)
    return ring


def test_keeps_the_last_lines() -> None:
    ring = LogRing(lines=3)
    for number in range(5):
        put(ring, str(number))
    assert messages(ring.tail(10)) == ["2", "3", "4"]
    assert messages(ring.tail(2)) == ["3", "4"]
    assert ring.tail(0) == []


def test_is_bounded_in_bytes() -> None:
    ring = LogRing(size=1000)
    for number in range(50):
        put(ring, f"{number:0100}")
    assert 1 <= len(ring) <= 1000 // 100
    assert int(messages(ring.tail(1))[0]) == 49
    put(ring, "x" * 2000)
    assert len(ring) == 0


def test_the_level_is_filtered_before_the_lines_are_counted() -> None:
    ring = LogRing()
    put(ring, "old error", "error")
    for number in range(100):
        put(ring, f"debug {number}", "debug")
    put(ring, "new warning", "warning")
    assert messages(ring.tail(2, logging.WARNING)) == ["old error", "new warning"]
    assert messages(ring.tail(1, logging.WARNING)) == ["new warning"]


async def test_follow_goes_on_from_the_tail_without_gap(clock: MockClock) -> None:
    ring = filled("a", "b", "c")
    with ring.follow(2) as follower:
        put(ring, "d")
        assert messages(follower.past) == ["b", "c"]
        assert (await follower.__anext__())["message"] == "d"
        assert ring.followers == 1
    assert ring.followers == 0


async def test_follow_from_other_threads() -> None:
    ring = LogRing()
    seen: list[str] = []

    def log() -> None:
        for number in range(2000):
            put(ring, str(number))

    with trio.fail_after(30), ring.follow(buffer=10_000) as follower:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, log)
            async for entry in follower:
                seen.append(entry["message"])
                if len(seen) == 2000:
                    break
    assert seen == [str(number) for number in range(2000)]


async def test_a_follower_that_waits_is_woken_by_a_thread() -> None:
    ring = LogRing()
    with trio.fail_after(30), ring.follow() as follower:
        async with trio.open_nursery() as nursery:

            async def later() -> None:
                await wait_all_tasks_blocked()
                await trio.to_thread.run_sync(put, ring, "x")

            nursery.start_soon(later)
            assert (await follower.__anext__())["message"] == "x"


async def test_a_follower_is_told_what_it_missed(clock: MockClock) -> None:
    ring = LogRing()
    with ring.follow(buffer=3) as follower:
        for number in range(10):
            put(ring, str(number))
        assert await follower.__anext__() == {"skipped": 7}
        assert [(await follower.__anext__())["message"] for _ in range(3)] == ["7", "8", "9"]
        put(ring, "10")
        assert (await follower.__anext__())["message"] == "10"


async def test_cancelled_a_follower_loses_nothing(clock: MockClock) -> None:
    ring = LogRing()
    with ring.follow() as follower:
        with trio.move_on_after(1) as scope:
            await follower.__anext__()
        assert scope.cancelled_caught
        put(ring, "x")
        with trio.CancelScope() as scope:
            scope.cancel()
            await follower.__anext__()
        assert scope.cancelled_caught
        assert (await follower.__anext__())["message"] == "x"


async def test_followers_end_when_the_daemon_stops(clock: MockClock) -> None:
    ring = LogRing()
    with ring.follow() as follower:
        put(ring, "last")
        async with trio.open_nursery() as nursery:
            seen: list[str] = []

            async def follow() -> None:
                seen.extend([entry["message"] async for entry in follower])

            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
            ring.end_following()
    assert seen == ["last"]
    with ring.follow(1) as follower:
        assert messages(follower.past) == ["last"]
        assert [entry async for entry in follower] == []


async def test_a_follower_of_an_event_loop_that_has_ended_harms_no_one() -> None:
    ring = LogRing()
    follow = ring.follow()

    async def leave_it_behind() -> None:
        follower = follow.__enter__()
        with trio.move_on_after(1):
            await follower.__anext__()

    def other_loop() -> None:
        trio.run(leave_it_behind, clock=MockClock(autojump_threshold=0))

    await trio.to_thread.run_sync(other_loop)
    put(ring, "x")
    assert messages(ring.tail(1)) == ["x"]
    follow.__exit__(None, None, None)


# -- the command ----------------------------------------------------------------------------------------------------


async def test_tail_as_one_answer(clock: MockClock) -> None:
    ring = filled("a", "b", "c")
    put(ring, "bad", "error")
    router = logs_router(ring)
    result = await call(router, "logs.tail")
    assert messages(result["lines"]) == ["a", "b", "c", "bad"]
    assert result["level"] is None
    result = await call(router, "logs.tail", {"lines": 2, "level": "WARN"})
    assert messages(result["lines"]) == ["bad"]
    assert result["level"] == "warning"
    assert (await call(router, "logs.tail", {"lines": 0}))["lines"] == []


async def test_without_items_follow_gives_what_there_is(clock: MockClock) -> None:
    result = await call(logs_router(filled("a")), "logs.tail", {"follow": True})
    assert messages(result["lines"]) == ["a"]


async def test_an_answer_is_bounded_and_has_the_newest(clock: MockClock) -> None:
    ring = filled(*(f"{number:01000}" for number in range(100)))
    lines = (await call(logs_router(ring, answer_bytes=20_000), "logs.tail"))["lines"]
    assert 10 < len(lines) < 20
    assert int(lines[-1]["message"]) == 99


async def test_tail_as_items(clock: MockClock) -> None:
    ctx = FakeContext(wants_items=True)
    result = await call(logs_router(filled("a", "b", "c")), "logs.tail", {"lines": 2}, ctx)
    assert messages(ctx.items) == ["b", "c"]
    # A plain call on a connection that can take items gets the same lines: its items are dropped.
    assert result == {"lines": ctx.items, "level": None}


async def test_follow_goes_on_until_cancelled(clock: MockClock) -> None:
    ring, ctx = filled("a", "b"), FakeContext(wants_items=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, logs_router(ring), "logs.tail", {"lines": 1, "follow": True, "level": "info"}, ctx)
        await wait_all_tasks_blocked()
        put(ring, "unwanted", "debug")
        put(ring, "c", "warning")
        await wait_all_tasks_blocked()
        assert messages(ctx.items) == ["b", "c"]
        nursery.cancel_scope.cancel()
    assert ring.followers == 0


async def test_follow_ends_with_the_daemon(clock: MockClock) -> None:
    ring, ctx = filled("a"), FakeContext(wants_items=True)
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            result = await call(logs_router(ring), "logs.tail", {"follow": True, "level": "debug"}, ctx)
            assert result == {"lines": [], "level": "debug"}

        nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        ring.end_following()
    assert messages(ctx.items) == ["a"]


async def test_a_slow_follower_gets_an_item_for_what_it_missed(clock: MockClock) -> None:
    ring, ctx = LogRing(), FakeContext(wants_items=True)
    ctx.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, logs_router(ring), "logs.tail", {"follow": True}, ctx)
        await wait_all_tasks_blocked()
        put(ring, "first")
        await wait_all_tasks_blocked()
        for number in range(1500):
            put(ring, str(number))
        ctx.gate.set()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ctx.items[0]["message"] == "first"
    assert ctx.items[1]["skipped"] == 500
    # It can be read as a line, by those who know nothing of skipping.
    assert {"timestamp", "level", "logger", "message"} <= set(ctx.items[1])
    assert messages(ctx.items[2:]) == [str(number) for number in range(500, 1500)]


@pytest.mark.parametrize("args", [{"level": "loud"}, {"lines": -1}, {"lines": "5"}, {"follow": 1}])
async def test_wrong_args(clock: MockClock, args: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgs) as caught:
        await call(logs_router(LogRing()), "logs.tail", args)
    assert caught.value.details is not None
    if "level" in args:
        assert caught.value.details["choices"] == ["debug", "info", "warning", "error", "critical"]
