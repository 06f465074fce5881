"""One command of one client, while it runs: the context that its handler sees, and the means to stop it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from poppo_ipc.commands import Command, Context, Kind, Principal
from poppo_ipc.errors import CommandError, ResultTooLarge
from poppo_ipc.protocol import STREAM
from poppo_ipc.server._answers import KeyedRun, Outcome
from poppo_ipc.server._lowlevel import checkpoint
from poppo_ipc.server._timers import Timer

if TYPE_CHECKING:
    from poppo_ipc.server._session import Session

__all__ = ["Request", "RequestLog", "answer_json", "keyed_run"]

logger = logging.getLogger("poppo_ipc.server.command")


class RequestLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that says which command, request and session its lines belong to."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        extra = dict(self.extra or {})
        extra.update(kwargs.get("extra") or {})
        return msg, {**kwargs, "extra": extra}


class Request:
    """A command that was taken in. Implements `poppo_ipc.commands.Context`."""

    # What most commands never need is a value of the class: setting all of it for each took longer than their work.
    began = 0.0
    deadline = math.inf
    run: KeyedRun | None = None
    #: Whether another request began the run, and this one only waits for it.
    joined = False
    scope: trio.CancelScope | None = None
    timer: Timer | None = None
    reason: CommandError | None = None
    done = False
    after_answer: Callable[[], None] | None = None
    _credit: int | None = None
    _credit_came: trio.Event | None = None
    _items: list[Any] | None = None

    def __init__(self, session: Session, request_id: str, declaration: Command, bound: Any) -> None:
        self.session = session
        self.request_id = request_id
        self.declaration = declaration
        self.bound = bound

    def limit(self, timeout: float | None, credit: int | None) -> None:
        """What the client allows it: so many seconds from now, and so many items before it gives more credit."""
        if timeout is not None:
            self.deadline = trio.current_time() + timeout
        self._credit = credit

    # -- what the handler sees ------------------------------------------------------------------------------------

    @property
    def principal(self) -> Principal:
        """Who calls."""
        return self.session.principal

    @property
    def command(self) -> str:
        """The full name of the command."""
        return self.declaration.name

    @property
    def log(self) -> RequestLog:
        """A logger that adds the session, the request and the command."""
        return RequestLog(
            logger, {"session": self.session.id, "request": self.request_id, "command": self.declaration.name}
        )

    @property
    def wants_items(self) -> bool:
        """Whether the client takes items."""
        return STREAM in self.session.connection.capabilities

    @property
    def cancelled(self) -> bool:
        """Whether the command was cancelled, ran out of time, or lost its client."""
        return self.reason is not None

    async def send_item(self, data: Any) -> None:
        """Send one item; waits for the client's credit, and while its outbox is full."""
        value = self.declaration.encode_item(data)
        if not self.wants_items:
            self._collect(value)
            await checkpoint()
            return
        session = self.session
        # Looked at anew after each wait: a handler's children may send at the same time.
        while not session.over:
            if self._credit == 0:
                if self._credit_came is None:
                    self._credit_came = trio.Event()
                await self._credit_came.wait()
            elif session.outbox.full:
                await session.writer.room()
            else:
                break
        if not session.over:
            if self._credit is not None:
                self._credit -= 1
            session.running.item(self, value)
        await checkpoint()

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Send the item `{"progress": {...}}` to a client that takes items; others are not told."""
        if self.wants_items:
            await self.send_item({"progress": {"done": done, "total": total, "message": message}})
        else:
            await checkpoint()

    async def publish(self, event: str, data: Any = None) -> int:
        """Send an event to all who subscribed; gives its sequence number."""
        return await self.session.server.publish(event, data)

    # -- what the session does with it ----------------------------------------------------------------------------

    @property
    def collected(self) -> list[Any] | None:
        """The items of a stream for a client that takes none: they become the result."""
        return self._items

    def _collect(self, value: Any) -> None:
        if self.declaration.kind is not Kind.STREAM:
            # Such a handler has a result of its own.
            return
        if self._items is None:
            self._items = []
        self._items.append(value)
        if len(self._items) > self.session.server.limits.frame_bytes // 2:
            # Two bytes is the least that an item takes in an answer.
            raise ResultTooLarge("The items do not fit one answer; ask with the capability 'stream'")

    def add_credit(self, credit: int) -> None:
        """The client has room for so many more items."""
        if self._credit is not None:
            self._credit += credit
            self.wake()

    def wake(self) -> None:
        """Let a handler that waits for credit look again."""
        if self._credit_came is not None:
            self._credit_came.set()
            self._credit_came = None

    def stop(self, reason: CommandError) -> None:
        """Cancel the command; `reason` is its answer, whatever the handler makes of it. The first reason counts."""
        if self.done or self.reason is not None:
            return
        self.reason = reason
        if self.scope is not None:
            self.scope.cancel()
        elif self.joined and self.run is not None:
            self.run.joiners.remove(self)
            self.session.running.settle(self, error=reason)
            self.session.server.fanout.flush_soon(self.session)

    def joined_outcome(self, outcome: Outcome) -> None:
        """The run that this request joined has ended."""
        self.session.running.settle_joined(self, outcome)


def keyed_run(ctx: Context) -> KeyedRun | None:
    """The run that a command has begun with an idempotency key; None without, or for a context that is no server's."""
    return ctx.run if isinstance(ctx, Request) else None


def answer_json(ctx: Context, result: Any) -> bytes:
    """The result of a command as it goes out."""
    return msgspec.json.encode(ctx.declaration.encode_result(result) if isinstance(ctx, Request) else result)
