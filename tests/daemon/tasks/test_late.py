"""Ends that the disk did not take when they came, as the daemon stops: how long each is waited for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.daemon.store import Transaction
from poppo_ipc.daemon.tasks._late import LateEnds

from .kit import LIMIT, Gate, bench

pytestmark = pytest.mark.trio


async def test_what_the_store_has_taken_up_is_waited_for_beyond_the_limit_and_is_not_called_lost(
    tmp_path: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path) as it:
        begun, may_end = threading.Event(), threading.Event()
        late, ended = LateEnds(), trio.Event()

        def change(transaction: Transaction) -> None:
            begun.set()
            assert may_end.wait(LIMIT)

        async def stop() -> None:
            await late.store_last()
            ended.set()

        late.append(lambda: it.store.write(change))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            assert await trio.to_thread.run_sync(begun.wait, LIMIT)
            mock_clock.jump(60)
            await wait_all_tasks_blocked()
            assert not ended.is_set()
            may_end.set()
    assert ended.is_set()
    assert caplog.text == ""


async def test_what_waits_for_the_store_is_given_up_after_two_seconds(
    tmp_path: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    stored: list[bool] = []
    async with bench(tmp_path) as it:
        late = LateEnds()
        late.append(lambda: it.store.write(lambda transaction: stored.append(True)))
        async with Gate(it.store) as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(late.store_last)
                await wait_all_tasks_blocked()
                mock_clock.jump(1.9)
                await wait_all_tasks_blocked()
                assert caplog.text == ""
                mock_clock.jump(0.2)
            assert "The ends of 1 tasks could not be stored" in caplog.text
            assert "the disk took too long" in caplog.text
            gate.open()
    assert stored == []
