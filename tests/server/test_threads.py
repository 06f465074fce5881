"""Handlers in threads: in real time, as a clock that jumps would not wait for them."""

from __future__ import annotations

import threading

import pytest
import trio

from poppo_ipc.commands import Context, Router

from .rawclient import Serve, fault

pytestmark = pytest.mark.trio


class Blocking:
    """A command that blocks a thread until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.cancelled: list[bool] = []
        self.entered = trio.Event()
        self.left = trio.Event()
        self.router = Router()

        @self.router.command("block", thread=True)
        def block(ctx: Context) -> str:
            trio.from_thread.run_sync(self.entered.set)
            self.release.wait(30)
            self.cancelled.append(ctx.cancelled)
            trio.from_thread.run_sync(self.left.set)
            return "done"

        @self.router.command("thread", thread=True)
        def thread() -> bool:
            return threading.current_thread() is not threading.main_thread()


async def test_a_thread_does_not_hold_up_the_loop(serve: Serve) -> None:
    work = Blocking()
    async with serve(work.router) as served:
        client = await served.original()
        await client.command("b", "block")
        await work.entered.wait()
        assert await client.call("thread") is True
        work.release.set()
        assert (await client.answer("b"))["result"] == "done"
        assert work.cancelled == [False]


@pytest.mark.parametrize("code", ["CANCELLED", "TIMEOUT"])
async def test_a_thread_cannot_be_stopped_and_is_not_waited_for(serve: Serve, code: str) -> None:
    work = Blocking()
    async with serve(work.router) as served:
        client = await served.client("cancel", "deadline")
        await client.command("b", "block", timeoutMs=20 if code == "TIMEOUT" else 60_000)
        await work.entered.wait()
        if code == "CANCELLED":
            await client.send(type="cancel", id="b")
        assert fault(await client.answer("b"))["code"] == code
        assert served.server.statistics().running == 0
        work.release.set()
        await work.left.wait()
        assert work.cancelled == [True]
