"""What is around a handler: middleware, the context, and what is logged of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from poppo_ipc.commands import CallNext, Context, Router
from poppo_ipc.errors import Conflict, NotFound

from .rawclient import Serve, fault, in_jumping_time, no_log_of

pytestmark = in_jumping_time


async def test_middleware(serve: Serve) -> None:
    router, inner = Router(), Router()
    log: list[str] = []

    @inner.command("work")
    async def work(what: str = "") -> str:
        log.append("work")
        if what == "fail":
            raise NotFound("no such work")
        return "worked"

    @inner.command("sync")
    def sync() -> str:
        log.append("sync")
        return "synced"

    @inner.command("stream")
    async def stream() -> AsyncIterator[int]:
        yield 1
        yield 2

    @router.use
    async def outer_one(ctx: Context, call_next: CallNext) -> Any:
        log.append(f"outer {ctx.command}")
        try:
            result = await call_next()
        except NotFound as error:
            raise Conflict(f"told anew: {error}") from error
        log.append("outer done")
        return result

    @inner.use
    async def inner_one(ctx: Context, call_next: CallNext) -> Any:
        log.append("inner")
        if ctx.request_id == "short":
            return "cut short"
        if ctx.request_id == "crash":
            raise ValueError("in middleware")
        await trio.sleep(1)
        return await call_next()

    router.include(inner)
    async with serve(router) as served:
        client = await served.original()
        assert await client.call("work") == "worked"
        assert log == ["outer work", "inner", "work", "outer done"]
        log.clear()
        assert await client.call("sync") == "synced"
        assert log == ["outer sync", "inner", "sync", "outer done"]
        log.clear()
        assert await client.call("work", request_id="short") == "cut short"
        assert log == ["outer work", "inner", "outer done"]
        assert await client.error("work", args={"what": "fail"}) == {
            "message": "told anew: no such work",
            "code": "CONFLICT",
        }
        assert (await client.error("work", request_id="crash"))["code"] == "INTERNAL"
        assert await client.call("stream") == [1, 2]
        # The protocol's own commands are not the author's to wrap.
        log.clear()
        await client.call("ipc.describe")
        assert log == []


async def test_a_handler_knows_its_call(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    router = Router()

    @router.command("who")
    async def who(ctx: Context) -> dict[str, Any]:
        ctx.log.warning("here", extra={"more": 1})
        left = ctx.deadline - trio.current_time()
        return {"id": ctx.request_id, "command": ctx.command, "session": ctx.session.id, "left": left}

    async with serve(router) as served:
        client = await served.client("deadline")
        result = await client.call("who", request_id="r", timeoutMs=5000)
        (info,) = served.server.sessions
        assert result == {"id": "r", "command": "who", "session": info.id, "left": 5}
        (record,) = caplog.records
        assert vars(record).items() >= {"session": info.id, "request": "r", "command": "who", "more": 1}.items()


async def test_what_a_stopped_handler_raises_is_no_alarm(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    router = Router()

    @router.command("odd")
    async def odd() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("late")

    async with serve(router) as served:
        client = await served.client("cancel")
        with no_log_of(caplog):
            await client.command("1", "odd")
            await client.send(type="cancel", id="1")
            await client.command("2", "odd")
            assert fault(await client.answer("1"))["code"] == "CANCELLED"
