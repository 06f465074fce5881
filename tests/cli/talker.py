"""A server whose commands do what a command line has to be ready for."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from typing import Annotated, Any

import attrs
import trio

from poppo_ipc import Context, Router, Server
from poppo_ipc.commands import Arg
from poppo_ipc.errors import CommandError

router = Router()


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@attrs.frozen
class Paint:
    colour: Colour
    coats: int = 1


@router.command("echo", idempotent=True)
async def echo(
    ctx: Context,
    text: Annotated[str, Arg(doc="What to say.")],
    times: int = 1,
    ratio: float | None = None,
    loud: bool = False,
    colour: Colour | None = None,
    tags: list[str] | None = None,
    paint: Paint | None = None,
    anything: Any = None,
    socket_name: str | None = None,
) -> dict[str, Any]:
    """Give back what it is given."""
    return {
        "text": text, "times": times, "ratio": ratio, "loud": loud, "colour": colour and colour.value,
        "tags": tags, "paint": paint and attrs.asdict(paint, value_serializer=lambda *x: getattr(x[2], "value", x[2])),
        "anything": anything, "socketName": socket_name,
    }  # fmt: skip


@router.command("evil")
async def evil(ctx: Context) -> dict[str, Any]:
    """Try to \x1b[31mpaint the terminal."""
    return {"na\x1b]0;me": "\x1b[2Jgone\x9b31m\r\u202e", "rows": [{"a": "\x1b[1m", "b": 1}]}


@router.command("count")
async def count(ctx: Context, to: int) -> AsyncIterator[dict[str, int]]:
    """Count, and tell how far it is."""
    for number in range(to):
        await ctx.progress(number, to, "counting")
        yield {"number": number}


@router.command("hang")
async def hang(ctx: Context) -> None:
    """Never answer; say by an event that it has begun."""
    await ctx.publish("hang.began", {})
    try:
        await trio.sleep_forever()
    finally:
        CANCELLED.set()


CANCELLED = trio.Event()


@router.command("cancelled")
async def cancelled(ctx: Context) -> bool:
    """Wait until a hang was cancelled."""
    await CANCELLED.wait()
    return True


@router.command("fail")
async def fail(ctx: Context, code: str) -> None:
    """Fail with a code."""
    raise CommandError(code, f"It is a case of {code}")


@router.command("large")
async def large(ctx: Context) -> list[dict[str, int]]:
    """Give much."""
    return [{"number": number} for number in range(20_000)]


async def main() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(router).serve)
        print("ready", flush=True)


if __name__ == "__main__":
    trio.run(main)
