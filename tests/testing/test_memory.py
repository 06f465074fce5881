"""Backoff, timeouts and reconnects by a clock that jumps: to the second, and in no time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from poppo_ipc import (
    Backoff,
    CallTimeout,
    ClientState,
    CommandError,
    ConnectFailed,
    ConnectionLost,
    Event,
    Gap,
    GapReason,
    OutcomeUnknown,
    VersionMismatch,
)
from poppo_ipc.testing import MemoryDaemon, Unmet

from .answers import DONE, STARTED

#: Waits of exactly 1, 2, 4, 8 … seconds.
STEADY: dict[str, Any] = {"backoff": Backoff(start=1, cap=60), "random": lambda: 1.0}


def test_a_delay_takes_its_time_on_the_daemons_clock() -> None:
    async def main(daemon: MemoryDaemon) -> None:
        daemon.on("queue.pause").reply(DONE).delay(20)
        async with daemon.connect() as client:
            began = trio.current_time()
            assert await client.call("queue.pause") == DONE
            assert trio.current_time() - began == pytest.approx(20)

    MemoryDaemon().run(main)


def test_a_timeout_comes_when_it_has_to() -> None:
    async def main(daemon: MemoryDaemon) -> None:
        daemon.on("queue.pause").reply(DONE).delay(3600)
        async with daemon.connect() as client:
            began = trio.current_time()
            with pytest.raises(CallTimeout):
                await client.call("queue.pause", timeout=30)
            assert trio.current_time() - began == pytest.approx(30)

    MemoryDaemon().run(main)


def test_the_backoff_of_a_client_whose_daemon_is_away() -> None:
    async def main(daemon: MemoryDaemon) -> list[float | None]:
        async with daemon.connect(**STEADY) as client, client.state_changes() as changes:
            assert (await anext(changes)).state is ClientState.CONNECTED
            with daemon.faults.refuse():
                daemon.faults.drop()
                waits = [(await anext(changes)).retry_in for _ in range(5)]
            assert (await anext(changes)).state is ClientState.CONNECTED
            assert trio.current_time() == pytest.approx(1 + 2 + 4 + 8 + 16)
            return waits

    assert MemoryDaemon().run(main) == [1, 2, 4, 8, 16]


def test_silence_is_found_out_by_pings() -> None:
    async def main(daemon: MemoryDaemon) -> None:
        daemon.on("queue.pause").reply(DONE)
        async with daemon.connect(ping_seconds=15, reconnect=False) as client:
            began = trio.current_time()
            with daemon.faults.never_answer(pings=False), pytest.raises(OutcomeUnknown, match="silent for"):
                await client.call("queue.pause", timeout=None)
            assert 30 <= trio.current_time() - began <= 60

    MemoryDaemon().run(main)


def test_a_slow_daemon_is_slow_by_the_clock() -> None:
    async def main(daemon: MemoryDaemon) -> None:
        daemon.on("queue.pause").reply(DONE)
        async with daemon.connect() as client:
            began = trio.current_time()
            with daemon.faults.slow(0.1):
                assert await client.call("queue.pause") == DONE
            assert 5 < trio.current_time() - began < 30

    MemoryDaemon().run(main)


def test_a_connection_cut_in_a_frame_is_made_again() -> None:
    async def main(daemon: MemoryDaemon) -> None:
        daemon.on("queue.pause").reply(DONE).always()
        async with daemon.connect(**STEADY) as client:
            for fault in (daemon.faults.half_frame, daemon.faults.drop_before_reply, daemon.faults.drop_after_reply):
                fault(1)
                assert await client.call("queue.pause") == DONE

    MemoryDaemon().run(main)


def test_a_daemon_that_cannot_be_connected_to() -> None:
    async def main(daemon: MemoryDaemon) -> None:
        with daemon.faults.refuse(), pytest.raises(ConnectFailed):
            async with daemon.connect():
                pass
        with daemon.faults.wrong_version(), pytest.raises(VersionMismatch):
            async with daemon.connect():
                pass
        with daemon.faults.never_answer(0), pytest.raises(ConnectionLost, match="within 3 s"):
            async with daemon.connect(handshake_seconds=3, initial=Backoff(attempts=1)):
                pass
        daemon.on("queue.pause").reply(DONE)
        async with daemon.connect() as client:
            assert await client.call("queue.pause") == DONE

    MemoryDaemon().run(main)


def test_gaps() -> None:
    async def main(daemon: MemoryDaemon) -> None:
        async with daemon.connect(**STEADY) as client, client.subscribe("task.*") as events:
            assert daemon.emit("task.started", STARTED) == 1
            event = await anext(events)
            assert isinstance(event, Event)
            assert event.data == STARTED
            daemon.faults.lose_events(2)
            assert await anext(events) == Gap(2, GapReason.EXPIRED)
            daemon.faults.drop_events(4)
            assert await anext(events) == Gap(4, GapReason.SERVER_DROPPED)
            daemon.faults.restart()
            gap = await anext(events)
            assert isinstance(gap, Gap)
            assert gap.reason is GapReason.RESTARTED
            assert daemon.emit("task.started", STARTED) == 1
            event = await anext(events)
            assert isinstance(event, Event)
            assert event.data == STARTED

    MemoryDaemon().run(main)


def test_two_daemons_in_one_run() -> None:
    async def main() -> None:
        async with MemoryDaemon() as one, MemoryDaemon(token=None) as two, one.connect() as a, two.connect() as b:
            one.on("queue.pause").reply({"message": "1"})
            two.on("queue.pause").reply({"message": "2"})
            assert [(await client.call("queue.pause"))["message"] for client in (a, b)] == ["1", "2"]

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_it_runs_once_and_only_inside_its_block() -> None:
    daemon = MemoryDaemon()
    with pytest.raises(RuntimeError, match="does not run"):
        daemon.emit("daemon.started", {"pid": 1})

    async def main(_: MemoryDaemon) -> None:
        pass

    daemon.run(main)
    with pytest.raises(RuntimeError, match="used already"):
        daemon.run(main)


def test_an_exception_of_the_block_comes_out_bare_and_cancellation_ends_it() -> None:
    async def broken(daemon: MemoryDaemon) -> None:
        async with daemon.connect() as client:
            with pytest.raises(CommandError):
                await client.call("queue.pause")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError) as raised:
        MemoryDaemon().run(broken)
    assert "unexpected: queue.pause()" in raised.value.__notes__[0]

    async def cancelled(daemon: MemoryDaemon) -> None:
        with trio.move_on_after(5) as scope:
            async with MemoryDaemon() as inner, inner.connect():
                await trio.sleep_forever()
        assert scope.cancelled_caught

    MemoryDaemon().run(cancelled)


def test_what_is_unmet_is_raised_by_the_run() -> None:
    async def main(daemon: MemoryDaemon) -> None:
        daemon.on("queue.pause").reply(DONE)

    with pytest.raises(Unmet, match=r"unused: queue\.pause\(\)"):
        MemoryDaemon().run(main)
