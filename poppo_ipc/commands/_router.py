"""The register of commands and events: where an author says what a server answers."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, overload

import attrs

from poppo_ipc.commands._command import Command, CommandSpec, EventDeclaration, Handler, Kind, Middleware, check_name
from poppo_ipc.commands._handler import is_async_callable, read_handler
from poppo_ipc.errors import DeclarationError

__all__ = ["Router"]

H = TypeVar("H", bound=Handler)
M = TypeVar("M", bound=Middleware)
D = TypeVar("D")

#: Names that `suggest` gives at most: more is a list to read, not a hint.
_SUGGESTIONS = 3


class Router:
    """Commands, events and middleware, declared by decorators and included in other routers.

    Middleware holds for all commands of the router, those declared before it too. A router that was included is
    closed: what came later would be missing where it was included, so declaring more is an error.
    """

    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}
        self._events: dict[str, EventDeclaration[Any]] = {}
        self._middleware: tuple[Middleware, ...] = ()
        self._composed: Mapping[str, Command] | None = None
        self._closed = False

    def command(
        self,
        name: str | CommandSpec[Any, Any],
        *,
        summary: str | None = None,
        idempotent: bool = False,
        scope: str | None = None,
        thread: bool = False,
        streaming: bool | None = None,
        result: Any = None,
        item: Any = None,
        args: Any = None,
        hidden: bool = False,
        requires: str | Iterable[str] = (),
        replace: bool = False,
    ) -> Callable[[H], H]:
        """Declare the function below as the handler of a command, and leave it as it is.

        Args:
            name: dotted segments of letters, digits, `_` and `-`; or a spec, with which the handler must agree.
            summary: one line for people; the first line of the docstring where none is given.
            idempotent: asking twice does no more than asking once.
            scope: what a principal needs; the full name where none is given.
            thread: run a plain `def` in a worker thread, since it blocks.
            streaming: the command sends items; true for async generators, to be said where `ctx.send_item` is used.
            result: the type of the result, where the annotation does not say it.
            item: the type of an item, where the annotation does not say it.
            args: the attrs class of the args, where the annotation does not say it.
            hidden: leave it out of `ipc.describe` and suggestions.
            requires: the components that it needs: where one is not there, the answer is `UNAVAILABLE`.
            replace: take the place of a command of the same name.

        Raises:
            DeclarationError: the name is taken or not one, or the handler cannot answer commands.
        """
        spec = name if isinstance(name, CommandSpec) else None
        full = check_name(name.name if isinstance(name, CommandSpec) else name, "command")

        def declare(handler: H) -> H:
            said = read_handler(full, handler, thread=thread, args=args, result=result, item=item, spec=spec)
            is_stream = said.kind is Kind.STREAM
            if is_stream and streaming is False:
                raise DeclarationError(f"command {full}: an async generator streams; do not say streaming=False")
            implied = is_stream or said.item_model is not None
            self._add(
                Command(
                    name=full,
                    summary=_summary(summary, spec, handler),
                    handler=handler,
                    kind=said.kind,
                    takes_ctx=said.takes_ctx,
                    idempotent=idempotent or (spec is not None and spec.idempotent),
                    scope=scope or (spec.scope if spec is not None else None) or full,
                    streaming=implied if streaming is None else streaming,
                    args_model=said.args_model,
                    result_model=said.result_model,
                    item_model=said.item_model,
                    hidden=hidden,
                    requires=(requires,) if isinstance(requires, str) else tuple(requires),
                ),
                replace=replace,
            )
            return handler

        return declare

    @overload
    def event(self, name: EventDeclaration[D]) -> EventDeclaration[D]: ...
    @overload
    def event(self, name: str, data_type: type[D], *, summary: str | None = None) -> EventDeclaration[D]: ...
    @overload
    def event(self, name: str, data_type: None = None, *, summary: str | None = None) -> EventDeclaration[Any]: ...
    def event(
        self, name: str | EventDeclaration[Any], data_type: type[Any] | None = None, *, summary: str | None = None
    ) -> EventDeclaration[Any]:
        """Declare an event. The same one may be declared again with the same type.

        Args:
            name: as for commands; or a declaration made elsewhere.
            data_type: the type of its data; None where it is not said.
            summary: one line for people; the first line of the type's docstring where none is given.

        Raises:
            DeclarationError: the name is not one, or is declared with another type.
        """
        if isinstance(name, EventDeclaration):
            return self._add_event(name)
        doc = summary if summary is not None else _first_line(getattr(data_type, "__doc__", None), data_type)
        return self._add_event(EventDeclaration[Any](name, data_type, doc))

    def use(self, middleware: M) -> M:
        """Run `middleware` around every command of this router, inside what was registered before. A decorator too.

        Raises:
            DeclarationError: it is no async function, or the router is closed.
        """
        if not callable(middleware) or not is_async_callable(middleware):
            raise DeclarationError("middleware must be an async function of (ctx, call_next)")
        self._change()
        self._middleware += (middleware,)
        return middleware

    middleware = use

    def include(self, other: Router, prefix: str = "") -> None:
        """Take over what `other` declares, and close it.

        Its middleware goes with its commands, inside this router's own. What `other.event` returned keeps the name
        without the prefix; events are published by their full name.

        Args:
            other: the router.
            prefix: goes before its names: `"project."`. A scope that is the command's name gets it too.

        Raises:
            DeclarationError: a name is taken, or the prefix makes none. Nothing was taken over then.
        """
        if other is self:
            raise DeclarationError("a router cannot include itself")
        self._change()
        commands = [_prefixed(command, prefix) for command in other.commands.values()]
        events = [attrs.evolve(event, name=prefix + event.name) for event in other.events.values()]
        for command in commands:
            check_name(command.name, "command")
            if command.name in self._commands:
                raise DeclarationError(f"command {command.name} is declared twice")
        for event in events:
            self._check_event(event)
        for command in commands:
            self._add(command)
        for event in events:
            self._add_event(event)
        other._closed = True

    @property
    def commands(self) -> Mapping[str, Command]:
        """All commands by name, each with the whole of its middleware."""
        if self._composed is None:
            outer = self._middleware
            composed = {
                name: attrs.evolve(command, middleware=outer + command.middleware)
                for name, command in self._commands.items()
            }
            self._composed = MappingProxyType(composed)
        return self._composed

    @property
    def events(self) -> Mapping[str, EventDeclaration[Any]]:
        """All events by name."""
        return MappingProxyType(self._events)

    def suggest(self, name: str, allowed: Callable[[str], bool] | None = None) -> list[str]:
        """Names of commands close to one that there is not: the closest first, 3 at most.

        Args:
            name: what was asked for.
            allowed: whether a scope is allowed to the asker (`principal.allows`); None for every scope.
        """
        names = [
            command.name
            for command in self._commands.values()
            if not command.hidden and (allowed is None or allowed(command.scope))
        ]
        # A name is a peer's, of any length, and the comparison takes time with its square.
        return difflib.get_close_matches(name[:128], names, n=_SUGGESTIONS)

    def _change(self) -> None:
        if self._closed:
            raise DeclarationError("this router was included already: declare before including it")
        self._composed = None

    def _add(self, command: Command, *, replace: bool = False) -> None:
        self._change()
        if command.name in self._commands and not replace:
            raise DeclarationError(f"command {command.name} is declared twice; say replace=True to mean it")
        self._commands[command.name] = command

    def _check_event(self, event: EventDeclaration[Any]) -> EventDeclaration[Any]:
        known = self._events.get(event.name, event)
        if known.data_type != event.data_type:
            raise DeclarationError(f"event {event.name} is declared twice, with different types")
        return known

    def _add_event(self, event: EventDeclaration[D]) -> EventDeclaration[D]:
        self._change()
        known = self._check_event(event)
        _ = known.model  # compiled here, so that a type that does not work is refused where it is declared
        self._events[known.name] = known
        return known


def _prefixed(command: Command, prefix: str) -> Command:
    own = command.scope == command.name
    return attrs.evolve(command, name=prefix + command.name, scope=prefix + command.scope if own else command.scope)


def _summary(given: str | None, spec: CommandSpec[Any, Any] | None, handler: Handler) -> str:
    if given is not None:
        return given
    return (spec.summary if spec is not None else "") or _first_line(handler.__doc__, handler)


def _first_line(doc: str | None, of: Any) -> str:
    if not doc or of is None or getattr(of, "__module__", "") == "builtins":
        return ""
    return inspect.cleandoc(doc).partition("\n")[0].strip()
