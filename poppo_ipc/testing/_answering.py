"""The commands of a fake daemon: each answers as the book says."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any, cast

import attrs
import trio

from poppo_ipc.commands import ArgsModel, Command, Context, Kind, Router, WireType
from poppo_ipc.commands._model import RAW_ARGS
from poppo_ipc.errors import CommandError, InvalidArgs
from poppo_ipc.server import keyed_run
from poppo_ipc.testing._book import Book
from poppo_ipc.testing._calls import Call
from poppo_ipc.testing._errors import Mispromise
from poppo_ipc.testing._expectations import Answer
from poppo_ipc.testing._schemas import StagedRouter

__all__ = ["fake_router"]


class _RawArgs(ArgsModel):
    """Describes args as they are declared, and takes whatever comes: it is for the book to judge them."""

    __slots__ = ("_declared",)

    def __init__(self, declared: ArgsModel) -> None:
        super().__init__(RAW_ARGS)
        self._declared = declared

    def schema(self) -> dict[str, Any]:
        return self._declared.schema()


class _Promised(WireType[Any]):
    """Describes a type as it is declared, and lets pass what was checked when it was promised."""

    __slots__ = ("_declared",)

    def __init__(self, declared: WireType[Any]) -> None:
        self.annotation = declared.annotation
        self.encode = _as_it_is
        self._declared = declared

    def schema(self, *, closed: bool = False) -> dict[str, Any]:
        return self._declared.schema(closed=closed)


def _as_it_is(value: Any) -> Any:
    return value


def fake_router(book: Book) -> Router:
    """All commands and events of the book's schemas, answered by the book."""
    router = StagedRouter()
    for command in book.schemas.commands.values():
        router.add(_faked(command, book))
    for event in book.schemas.events.values():
        router.event(event)
    return router


def _faked(command: Command, book: Book) -> Command:
    async def handler(ctx: Context, args: dict[str, Any]) -> Any:
        return await _answer(ctx, command, args, book)

    return attrs.evolve(
        command,
        handler=handler,
        kind=Kind.ASYNC,
        takes_ctx=True,
        args_model=_RawArgs(command.args_model),
        result_model=None if command.result_model is None else _Promised(command.result_model),
        item_model=None if command.item_model is None else _Promised(command.item_model),
        middleware=(),
    )


async def _answer(ctx: Context, command: Command, args: dict[str, Any], book: Book) -> Any:
    refusal: InvalidArgs | None = None
    try:
        command.bind(args)
    except InvalidArgs as error:
        refusal = error
    run = keyed_run(ctx)
    key = None if run is None else run.key
    try:
        answer, call = book.answer(command.name, args, refusal, session=ctx.session.id, key=key)
    except CommandError:
        raise
    except Exception as error:
        book.failed(f"an argument of {command.name} could not be compared: {error!r}")
        raise
    return await _give(ctx, command, answer, call, book)


async def _give(ctx: Context, command: Command, answer: Answer, call: Call, book: Book) -> Any:
    if answer.delay:
        await trio.sleep(answer.delay)
    for emission in answer.emissions:
        await ctx.publish(emission.event, emission.data)
    if answer.kind == "call":
        return await _called(ctx, command, answer, call, book)
    for item in answer.items:
        await ctx.send_item(item)
    if answer.error is not None:
        # A new one each time, since raising writes a traceback into it.
        error = answer.error
        raise CommandError.from_wire(error.code, error.message, error.details)
    return _result(ctx, command, answer.value, list(answer.items))


async def _called(ctx: Context, command: Command, answer: Answer, call: Call, book: Book) -> Any:
    assert answer.function is not None
    try:
        result = answer.function(call)
        if inspect.isawaitable(result):
            result = await result
        if hasattr(result, "__aiter__"):
            return await _stream(ctx, command, cast("AsyncIterator[Any]", result), book)
        return book.schemas.result(command, result)
    except CommandError:
        raise
    except Mispromise as error:
        book.failed(f"what the function for {call} gave: {error}")
        raise
    except Exception as error:
        book.failed(f"the function for {call} raised {error!r}")
        raise


async def _stream(ctx: Context, command: Command, items: AsyncIterator[Any], book: Book) -> Any:
    sent: list[Any] = []
    async for item in items:
        checked = book.schemas.item(command, item, len(sent))
        sent.append(checked)
        await ctx.send_item(checked)
    return _result(ctx, command, None, sent)


def _result(ctx: Context, command: Command, result: Any, items: list[Any]) -> Any:
    # A generator's items are its result for who takes no items.
    return items if command.kind is Kind.STREAM and not ctx.wants_items else result
