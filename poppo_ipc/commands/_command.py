"""Commands, events and typed references to them: the results of declaring."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar, cast

import attrs

from poppo_ipc.commands._context import Context
from poppo_ipc.commands._fields import Bound
from poppo_ipc.commands._model import ArgsModel, WireType, encode_args, encode_result
from poppo_ipc.errors import DeclarationError

__all__ = ["CallNext", "Command", "CommandSpec", "EventDeclaration", "Handler", "Kind", "Middleware", "NoArgs"]

A = TypeVar("A")
R = TypeVar("R")
D = TypeVar("D")

Handler = Callable[..., Any]
CallNext = Callable[[], Awaitable[Any]]
#: `async def timing(ctx, call_next): ...; return await call_next()`
Middleware = Callable[[Context, CallNext], Awaitable[Any]]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z")


def check_name(name: str, what: str) -> str:
    """The name, where it is one of dotted segments of letters, digits, `_` and `-`.

    Raises:
        DeclarationError: it is not.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise DeclarationError(f"{what} name {name!r}: write segments of letters, digits, _ and -, joined by dots")
    return name


@attrs.frozen
class NoArgs:
    """The args of a command that takes none."""


class Kind(enum.Enum):
    """How a handler is run."""

    #: `async def`: what `start` returns is awaited.
    ASYNC = "async"
    #: `def`: `start` returns the result, in the event loop's thread.
    SYNC = "sync"
    #: `async def` with `yield`: `start` returns the iterator, each value is an item.
    STREAM = "stream"
    #: `def` in a worker thread: there `start` is to be called, and returns the result.
    THREAD = "thread"


@attrs.frozen(eq=False, kw_only=True)
class Command:
    """One declared command.

    Attributes:
        name: the full name, with the prefixes of the routers it came through.
        summary: one line for people, or "".
        handler: the author's function.
        kind: how it is run.
        takes_ctx: whether it gets the context as its first argument.
        idempotent: whether asking twice does no more than asking once, so that a client may ask again unasked.
        scope: what a principal needs to be allowed.
        streaming: whether it may send items.
        args_model: the args.
        result_model: the result; None where nothing is declared (and for generators, which have none).
        item_model: the items; None where nothing is declared.
        middleware: what runs around the handler, outermost first.
        hidden: whether `ipc.describe` and suggestions leave it out.
        requires: the names of the components that it needs.
    """

    name: str
    summary: str
    handler: Handler
    kind: Kind
    takes_ctx: bool
    idempotent: bool
    scope: str
    streaming: bool
    args_model: ArgsModel
    result_model: WireType[Any] | None
    item_model: WireType[Any] | None = None
    middleware: tuple[Middleware, ...] = ()
    hidden: bool = False
    requires: tuple[str, ...] = ()
    #: Whether it is a plain `def` with nothing around it: it cannot wait.
    inline: bool = attrs.field(init=False, repr=False)
    #: Whether it sees nothing of the call but its args, besides.
    lone: bool = attrs.field(init=False, repr=False)
    #: Check an args object and make of it what `start` takes. Raises `InvalidArgs`, and runs nothing of the handler.
    bind: Callable[[dict[str, Any]], Bound] = attrs.field(init=False, repr=False)
    #: Make the handler's result ready for JSON. Raises `WireMismatch` where it is not what was declared.
    encode_result: Callable[[Any], Any] = attrs.field(init=False, repr=False)
    #: The same for one item.
    encode_item: Callable[[Any], Any] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # Looked up once here, since each is used for every call.
        object.__setattr__(self, "inline", self.kind is Kind.SYNC and not self.middleware)
        object.__setattr__(self, "lone", self.inline and not self.takes_ctx)
        object.__setattr__(self, "bind", self.args_model.bind)
        for name, model in (("encode_result", self.result_model), ("encode_item", self.item_model)):
            object.__setattr__(self, name, encode_result if model is None else model.encode)

    def start(self, ctx: Context, bound: Bound) -> Any:
        """Call the handler with what `bind` made; what it returns depends on `kind`."""
        args, kwargs = bound
        return self.handler(ctx, *args, **kwargs) if self.takes_ctx else self.handler(*args, **kwargs)


@attrs.frozen(eq=False)
class EventDeclaration(Generic[D]):
    """One declared event: `ADDED = EventDeclaration("project.added", ProjectAdded)`.

    The type is compiled when it is first needed: at the latest when a router gets the declaration.

    Attributes:
        name: the full name.
        data_type: the type of its data; None where it is not said.
        summary: one line for people, or "".
    """

    name: str
    data_type: type[D] | None = None
    summary: str = ""

    def __attrs_post_init__(self) -> None:
        check_name(self.name, "event")

    @functools.cached_property
    def model(self) -> WireType[D] | None:
        """The compiled `data_type`; None where it is not said."""
        return None if self.data_type is None else WireType[D](self.data_type, f"event {self.name}")

    def encode(self, data: D) -> Any:
        """Make the data ready for JSON. Raises `WireMismatch`."""
        return encode_result(data) if self.model is None else self.model.encode(data)

    def decode(self, data: Any) -> D:
        """Read the data of an event that came in; unknown fields are ignored. Raises `WireMismatch`."""
        return cast(D, data) if self.model is None else self.model.decode(data)


@attrs.frozen(eq=False)
class CommandSpec(Generic[A, R]):
    """A command as both sides know it: `GREET = CommandSpec("greet", GreetArgs, Greeting)`.

    A server declares the handler by it (`@router.command(GREET)`), a client calls by it, and both are type-checked.
    The types are compiled when they are first needed, since a program may know many commands and call one.

    Attributes:
        name: the full name.
        args: the attrs class of the args; `NoArgs` for none, `dict` for whatever comes.
        result: the type of the result.
        item: the type of an item, for a command that streams, else None.
    """

    name: str
    args: type[A]
    result: type[R]
    summary: str = attrs.field(default="", kw_only=True)
    idempotent: bool = attrs.field(default=False, kw_only=True)
    scope: str | None = attrs.field(default=None, kw_only=True)
    item: Any = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_name(self.name, "command")
        if self.args is not dict and not (isinstance(self.args, type) and attrs.has(self.args)):
            raise DeclarationError(f"command {self.name}: args must be an attrs class, NoArgs or dict")

    @functools.cached_property
    def result_model(self) -> WireType[R]:
        """The compiled `result`."""
        return WireType[R](self.result, f"result of {self.name}")

    @functools.cached_property
    def item_model(self) -> WireType[Any] | None:
        """The compiled `item`; None for a command that does not stream."""
        return None if self.item is None else WireType[Any](self.item, f"item of {self.name}")

    @property
    def streaming(self) -> bool:
        """Whether the command sends items."""
        return self.item is not None

    def encode_args(self, args: A) -> dict[str, Any]:
        """The args object for the wire. Raises `WireMismatch`."""
        return encode_args(args)

    def decode_result(self, result: Any) -> R:
        """Read the result; unknown fields are ignored. Raises `WireMismatch`."""
        return self.result_model.decode(result)

    def decode_item(self, item: Any) -> Any:
        """Read one item; unknown fields are ignored. Raises `WireMismatch`."""
        return item if self.item_model is None else self.item_model.decode(item)
