"""`logs.tail`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from poppo_ipc.commands import Context, Router
from poppo_ipc.commands.standard import LOGS_TAIL, LogsTailArgs
from poppo_ipc.daemon.monitoring._logring import LogRing, level_name, parse_level

__all__ = ["logs_router"]

# Half of the usual bound on a frame: the lines of an answer are what takes room in it.
_ANSWER_BYTES: Final = 8 * 1024 * 1024


def logs_router(ring: LogRing, *, answer_bytes: int = _ANSWER_BYTES) -> Router:
    """The command that shows the log. `ring.end_following` ends those who follow it.

    Args:
        ring: the last lines.
        answer_bytes: bytes of the lines in one answer at most; the newest are sent.
    """
    router = Router()

    @router.command(LOGS_TAIL)
    async def logs_tail(ctx: Context, args: LogsTailArgs) -> dict[str, Any]:
        number = 0 if args.level is None else parse_level(args.level)
        level = None if args.level is None else level_name(number)
        if args.follow and ctx.wants_items:
            await _follow(ctx, ring, args.lines, number)
            return {"lines": [], "level": level}
        lines = ring.tail(args.lines, number, answer_bytes)
        if ctx.wants_items:
            for entry in lines:
                await ctx.send_item(entry)
        # Here too for those who take items: that a client can take them does not say that this call looks at them.
        return {"lines": lines, "level": level}

    return router


async def _follow(ctx: Context, ring: LogRing, lines: int, level: int) -> None:
    with ring.follow(lines, level) as follower:
        for entry in follower.past:
            await ctx.send_item(entry)
        async for entry in follower:
            await ctx.send_item(_skipped(entry["skipped"]) if set(entry) == {"skipped"} else entry)


def _skipped(count: int) -> dict[str, Any]:
    """The item in place of lines that a slow client missed: a line as well, for those who print what comes."""
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "warning",
        "logger": "poppo_ipc.daemon.logs",
        "message": f"{count} lines were skipped: they came faster than they were read",
        "skipped": count,
    }
