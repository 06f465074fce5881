"""Connecting within one event loop."""

from __future__ import annotations

import anyio
import pytest

from poppo_ipc.errors import ConnectFailed
from poppo_ipc.transport import connect, listen

pytestmark = pytest.mark.anyio


async def test_memory_nobody_listens() -> None:
    with pytest.raises(ConnectFailed, match="memory:x") as caught:
        await connect("memory:x")
    assert caught.value.reason is ConnectFailed.Reason.ABSENT
    assert caught.value.retryable


async def test_memory_names_belong_to_one_event_loop(anyio_backend: str) -> None:
    async with await listen("memory:x"):

        def another_loop() -> None:
            async def main() -> None:
                with pytest.raises(ConnectFailed):
                    await connect("memory:x")

            anyio.run(main, backend=anyio_backend)

        await anyio.to_thread.run_sync(another_loop)
        await (await connect("memory:x")).aclose()


async def test_memory_a_full_queue_is_waited_for() -> None:
    listener = await listen("memory:x", backlog=1)
    first = await connect("memory:x")
    second = []

    async def connecting() -> None:
        second.append(await connect("memory:x"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(connecting)
            await anyio.wait_all_tasks_blocked()
            assert not second
            accepted = await listener.accept()
        assert second
    for stream in (first, accepted, *second):
        await stream.aclose()
    await listener.aclose()


async def test_memory_closing_the_listener_ends_all_who_wait() -> None:
    listener = await listen("memory:x", backlog=1)
    queued = await connect("memory:x")

    async def connecting() -> None:
        with pytest.raises(ConnectFailed):
            await connect("memory:x")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tg:
            tg.start_soon(connecting)
            await anyio.wait_all_tasks_blocked()
            await listener.aclose()
        with pytest.raises(anyio.EndOfStream):
            await queued.receive()
