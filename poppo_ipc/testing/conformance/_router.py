"""The commands that the checks of a server need, for a server of this project that is to be checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import trio

from poppo_ipc.commands import Context, Router

__all__ = ["conformance_router"]


@attrs.frozen
class _Number:
    number: int


def conformance_router() -> Router:
    """A router with `conformance.echo`, `.wait`, `.count` and `.emit`."""
    router = Router()
    router.event("conformance.event", _Number, summary="What conformance.emit was asked for")

    @router.command("conformance.echo")
    async def echo(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
        """Give the args back."""
        return args

    @router.command("conformance.wait")
    async def wait(ctx: Context) -> None:
        """Run until cancelled."""
        await trio.sleep_forever()

    @router.command("conformance.count")
    async def count(ctx: Context, count: int) -> AsyncIterator[int]:
        """Give so many numbers."""
        for number in range(count):
            yield number

    @router.command("conformance.emit")
    async def emit(ctx: Context, number: int) -> int:
        """Publish an event."""
        await ctx.publish("conformance.event", _Number(number))
        return number

    return router
