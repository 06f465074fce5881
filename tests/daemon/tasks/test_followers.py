"""What tasks print, stored and shown to who reads along: all of it once and in order, however they read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc.commands.standard import TaskOutputEnd
from poppo_ipc.daemon.store import StoreError
from poppo_ipc.daemon.tasks import _output as output_module
from poppo_ipc.daemon.tasks._show import show_output
from poppo_ipc.daemon.workers import Ending
from poppo_ipc.errors import NotFound

from .kit import LIMIT, Bench, Gate, bench

pytestmark = pytest.mark.trio


class Reader:
    """A client that reads what `task.output` sends: all at once, or as it is allowed to."""

    def __init__(self, *, wants_items: bool = True, slow: bool = False) -> None:
        self.wants_items = wants_items
        self.items: list[Any] = []
        self.end: TaskOutputEnd | None = None
        self._slow = slow
        self._allowed = trio.Event()

    def read_on(self) -> None:
        self._slow = False
        self._allowed.set()

    async def send_item(self, item: Any) -> None:
        if self._slow:
            await self._allowed.wait()
        self.items.append(item)
        await trio.lowlevel.checkpoint()

    @property
    def text(self) -> str:
        return "".join(item.text for item in self.items)

    async def show(self, it: Bench, task_id: str, follow: bool = True) -> None:
        self.end = await show_output(self, it.queue, task_id, follow)  # type: ignore[arg-type]


@asynccontextmanager
async def reading(it: Bench, task_id: str, **options: Any) -> AsyncIterator[Reader]:
    """A reader in the background, to its end."""
    reader = Reader(**options)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.show, it, task_id)
            yield reader


async def test_followed_from_before_its_start_over_its_attempts_to_its_end(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit(max_attempts=2)
        async with reading(it, task_id) as reader:
            await wait_all_tasks_blocked()
            job = await it.claim()
            it.queue.job_output(job, "stdout", b"one ")
            it.queue.job_output(job, "stderr", b"oops ")
            while len(reader.items) < 2:
                await trio.lowlevel.checkpoint()
            assert [(item.stream, item.text, item.attempt) for item in reader.items] == [
                ("stdout", "one ", 1), ("stderr", "oops ", 1),
            ]  # fmt: skip
            await it.end(job, Ending.FAILED, error="broken")
            it.wall.ms += 1000
            job = await it.claim()
            it.queue.job_output(job, "stdout", "zwölf".encode())
            await it.end(job)
        assert [(item.text, item.attempt) for item in reader.items][2:] == [("zwölf", 2)]
        assert reader.end == TaskOutputEnd(task_id=task_id, status="completed", output_bytes=15)
        # Who comes after the end gets the same.
        late = Reader()
        await late.show(it, task_id)
        assert [(item.stream, item.text, item.attempt) for item in late.items] == [
            ("stdout", "one ", 1), ("stderr", "oops ", 1), ("stdout", "zwölf", 2),
        ]  # fmt: skip
        assert it.queue.printing._followers == {}
        assert it.queue.printing._prints == {}


async def test_without_following_it_ends_with_what_there_is(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        job = await it.claim()
        it.queue.job_output(job, "stdout", b"so far")
        reader = Reader()
        await reader.show(it, task_id, follow=False)
        assert (reader.text, reader.end) == ("so far", TaskOutputEnd(task_id, "running", output_bytes=6))


async def test_who_takes_no_items_gets_the_text_at_the_end(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        job = await it.claim()
        async with reading(it, task_id, wants_items=False) as reader:
            it.queue.job_output(job, "stdout", b"all ")
            it.queue.job_output(job, "stderr", b"of it")
            await it.end(job, Ending.FAILED, error="broken")
        assert reader.items == []
        assert reader.end == TaskOutputEnd(task_id, "failed", "broken", 9, "all of it")


async def test_of_a_task_that_is_not_there_there_is_no_output(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        with pytest.raises(NotFound):
            await Reader().show(it, "t-none")
        task_id = await it.submit()
        async with reading(it, task_id) as reader:
            await wait_all_tasks_blocked()
            await it.queue.cancel(None, task_id)
        assert reader.end is not None
        assert reader.end.status == "cancelled"
        assert it.queue.printing._followers == {}


async def test_followed_in_the_moment_in_which_it_is_claimed(tmp_path: Path) -> None:
    """It was in neither list then, and taken for one that had ended."""
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        async with trio.open_nursery() as nursery:
            jobs: list[Any] = []

            async def work() -> None:
                jobs.append(await it.queue.next_job("w1"))

            async with Gate(it.store) as gate:
                nursery.start_soon(work)
                await wait_all_tasks_blocked()
                follower = it.queue.follow(task_id)
                assert follower is not None
                gate.open()
            await it.settle()
            await wait_all_tasks_blocked()
            it.queue.job_output(jobs[0], "stdout", b"heard")
            assert [part.text for part in follower.parts] == ["heard"]


async def test_a_slow_reader_falls_behind_and_catches_up_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module, "_FOLLOWER_PARTS", 5)
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        job = await it.claim()
        async with reading(it, task_id, slow=True) as reader:
            for number in range(200):
                it.queue.job_output(job, "stdout" if number % 3 else "stderr", f"{number} ".encode())
                if number % 50 == 0:
                    await wait_all_tasks_blocked()
                    await it.queue.printing.flush([task_id])
            reader.read_on()
            await wait_all_tasks_blocked()
            it.queue.job_output(job, "stdout", b"end")
            await it.end(job)
        assert reader.text == "".join(f"{number} " for number in range(200)) + "end"


async def test_who_is_behind_at_the_end_still_gets_the_last_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed last is stored with the end, and between both it was in neither place."""
    monkeypatch.setattr(output_module, "_FOLLOWER_PARTS", 2)
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        job = await it.claim()
        async with reading(it, task_id) as reader, trio.open_nursery() as nursery:
            await wait_all_tasks_blocked()
            async with Gate(it.store) as gate:
                for number in range(9):
                    it.queue.job_output(job, "stdout", f"{number} ".encode())
                nursery.start_soon(it.end, job)
                await wait_all_tasks_blocked()
                gate.open()
        assert reader.text == "0 1 2 3 4 5 6 7 8 "


async def test_what_a_reader_that_goes_had_taken_to_store_is_stored_all_the_same(tmp_path: Path) -> None:
    """Its flush was withdrawn with it, and the output with that."""
    async with bench(tmp_path) as it:
        task_id = await it.submit()
        job = await it.claim()
        it.queue.job_output(job, "stdout", b"precious")
        async with Gate(it.store) as gate:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(it.queue.printing.flush, [task_id])
                    await wait_all_tasks_blocked()
                    scope.cancel()
            gate.open()
        await it.end(job)
        assert await it.output(task_id) == [("stdout", "precious")]


async def test_output_is_stored_four_times_a_second_and_again_where_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with bench(tmp_path) as it, trio.open_nursery() as nursery:
        jobs = []
        for _ in range(2):
            await it.submit()
            jobs.append(await it.claim())
        nursery.start_soon(it.queue.run)
        await wait_all_tasks_blocked()
        real, failing = it.store.write, True

        async def write(*args: Any) -> Any:
            if failing:
                await trio.lowlevel.checkpoint()
                raise StoreError("full")
            return await real(*args)

        monkeypatch.setattr(it.store, "write", write)
        for job in jobs:
            it.queue.job_output(job, "stdout", b"a")
        mock_clock.jump(0.25)
        await wait_all_tasks_blocked()
        for job in jobs:
            it.queue.job_output(job, "stdout", b"b")
        failing = False
        commits = it.store.commits
        for seconds in (1.0, 0.25):
            mock_clock.jump(seconds)
            await wait_all_tasks_blocked()
        await it.settle()
        for job in jobs:
            assert await it.output(job.task_id) == [("stdout", "ab")]
        # One commit for both, and that of `settle`.
        assert it.store.commits - commits <= 2
        nursery.cancel_scope.cancel()


async def test_what_earlier_attempts_printed_counts_and_is_not_overwritten(tmp_path: Path) -> None:
    async with bench(tmp_path, output_bytes=10) as it:
        task_id = await it.submit(max_attempts=3)
        for text in ("\x00nul ", "ten and", "more"):
            job = await it.claim()
            it.queue.job_output(job, "stdout", text.encode())
            await it.end(job, Ending.FAILED, error="broken")
            it.wall.ms += 10_000
        assert await it.output(task_id) == [
            ("stdout", "\x00nul "),
            ("stdout", "ten a"),
            ("truncated", "2 more bytes were not kept"),
            ("truncated", "4 more bytes were not kept"),
        ]
        assert (await it.row(task_id))["output_bytes"] == 10


async def test_bytes_are_counted_and_places_are_of_characters(tmp_path: Path) -> None:
    async with bench(tmp_path, output_bytes=10) as it:
        task_id = await it.submit(max_attempts=2)
        for text in ("☃☃", "äöü"):
            job = await it.claim()
            it.queue.job_output(job, "stdout", text.encode())
            await it.queue.printing.flush([task_id])
            await it.end(job, Ending.FAILED, error="broken")
            it.wall.ms += 10_000
        assert await it.output(task_id) == [
            ("stdout", "☃☃"),
            ("stdout", "äö"),
            ("truncated", "2 more bytes were not kept"),
        ]
        row = await it.row(task_id)
        assert (row["output_bytes"], row["output_end"]) == (10, len("☃☃äö2 more bytes were not kept"))
        reader = Reader()
        await reader.show(it, task_id)
        assert reader.end is not None
        assert (reader.text, reader.end.output_bytes) == ("☃☃äö2 more bytes were not kept", 10)


# -- any pieces, any moments ----------------------------------------------------------------------------------------

pieces = st.lists(
    st.tuples(st.sampled_from(("stdout", "stderr")), st.binary(max_size=6), st.integers(0, 3)), max_size=30
)


@settings(max_examples=14, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts=st.lists(pieces, min_size=1, max_size=3), room=st.integers(1, 6), limit=st.sampled_from((20, 10_000)))
async def test_every_reader_gets_all_of_it_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[list[tuple[Any, bytes, int]]], room: int, limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_module, "_FOLLOWER_PARTS", room)
        patch.setattr(output_module, "_ROW", 5)
        async with bench(tmp_path_factory.mktemp("any"), output_bytes=limit, random=lambda: 0.0) as it:
            task_id = await it.submit(max_attempts=len(attempts))
            readers: list[Reader] = []
            with trio.fail_after(LIMIT):
                async with trio.open_nursery() as nursery:

                    def join(slow: bool) -> None:
                        readers.append(Reader(slow=slow))
                        nursery.start_soon(readers[-1].show, it, task_id)

                    join(slow=False)
                    join(slow=True)
                    for number, printed in enumerate(attempts, 1):
                        job = await it.claim()
                        for at, (stream, data, pause) in enumerate(printed):
                            it.queue.job_output(job, stream, data)
                            if at == 3:
                                join(slow=number % 2 == 0)
                            for _ in range(pause):
                                await trio.lowlevel.checkpoint()
                            if pause == 2:
                                await it.queue.printing.flush([task_id])
                        await it.end(job, Ending.FAILED if number < len(attempts) else Ending.COMPLETED, error="no")
                        it.wall.ms += 300_000
                        join(slow=False)
                    for reader in readers:
                        reader.read_on()
            expected = await it.output(task_id)
            joined = [(stream, text) for stream, text in expected if text]
            for reader in readers:
                assert reader.text == "".join(text for _, text in joined)
                assert characters(reader) == [(stream, c) for stream, text in joined for c in text]
            assert sum(len(text.encode()) for stream, text in expected if stream != "truncated") <= limit
            if limit == 10_000:
                for stream in ("stdout", "stderr"):
                    wanted = "".join(
                        b"".join(data for name, data, _ in printed if name == stream).decode(errors="replace")
                        for printed in attempts
                    )
                    assert "".join(text for name, text in expected if name == stream) == wanted


def characters(reader: Reader) -> list[tuple[str, str]]:
    return [(item.stream, character) for item in reader.items for character in item.text]
