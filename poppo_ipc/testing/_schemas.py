"""What a daemon can be asked and may say: the promises of a test are held against it."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from poppo_ipc.commands import Command, EventDeclaration, Kind, Router, WireMismatch, WireType
from poppo_ipc.commands._explain import FAILURES, explain
from poppo_ipc.commands._misfit import Misfit
from poppo_ipc.commands._nodes import compile_node
from poppo_ipc.commands.standard import STANDARD_COMMANDS, STANDARD_EVENTS
from poppo_ipc.testing._errors import Mispromise
from poppo_ipc.testing._matchers import ABSENT, MISSING, is_plain

__all__ = ["BUILT_IN", "Schemas", "StagedRouter", "standard_router"]

#: What every server answers by itself; a test has nothing to promise there.
BUILT_IN: Final = frozenset({"events.subscribe", "events.unsubscribe", "ipc.describe"})


class StagedRouter(Router):
    """A router that takes commands as they are."""

    def add(self, command: Command) -> None:
        """Declare a command that was made elsewhere."""
        self._add(command)


@functools.cache
def _standard_commands() -> tuple[Command, ...]:
    router = Router()
    for spec in STANDARD_COMMANDS:
        if spec.name not in BUILT_IN:
            router.command(spec)(_unanswered)
    return tuple(router.commands.values())


async def _unanswered(args: Any) -> Any:
    raise AssertionError("a declaration alone is never called")


def standard_router() -> Router:
    """The standard commands and events as declarations (COMMANDS.md), to be given beside routers of one's own.

    `FakeDaemon(router=[standard_router(), my_router])` is the fake of a `Daemon` with commands added.
    """
    router = StagedRouter()
    for command in _standard_commands():
        router.add(command)
    for event in STANDARD_EVENTS:
        router.event(event)
    return router


class Schemas:
    """The commands and events of some routers: the standard ones where none is given. A later one's take precedence.

    All checks raise Mispromise, with what does not fit and where.
    """

    def __init__(self, router: Router | Iterable[Router] | None = None) -> None:
        routers = [standard_router()] if router is None else [router] if isinstance(router, Router) else list(router)
        commands: dict[str, Command] = {}
        events: dict[str, EventDeclaration[Any]] = {}
        for each in routers:
            commands.update(each.commands)
            events.update(each.events)
        self.commands: Mapping[str, Command] = MappingProxyType(commands)
        self.events: Mapping[str, EventDeclaration[Any]] = MappingProxyType(events)
        self._defaults: dict[str, dict[str, Any]] = {}

    # -- commands -----------------------------------------------------------------------------------------------

    def command(self, name: str) -> Command:
        """The declaration of a command."""
        __tracebackhide__ = True
        if name in BUILT_IN:
            raise Mispromise(f"{name} is answered by the server itself: there is nothing to promise")
        found = self.commands.get(name)
        if found is None:
            raise Mispromise(f"no daemon has a command {name!r}{_hint(name, self.commands)}")
        return found

    def check_arg_names(self, command: Command, names: Iterable[str]) -> None:
        """Check that a command has arguments of these names."""
        __tracebackhide__ = True
        fields = command.args_model.fields
        if fields is None:
            return
        for name in names:
            if name not in fields.by_wire:
                known = list(fields.by_wire)
                raise Mispromise(
                    f"{command.name} has no argument {name!r}{_hint(name, known)}; it has {', '.join(known) or 'none'}"
                )

    def defaults(self, name: str) -> Mapping[str, Any]:
        """What stands for arguments that are not given, where that can be told."""
        found = self._defaults.get(name)
        if found is None:
            command = self.commands.get(name)
            properties = {} if command is None else command.args_model.schema().get("properties", {})
            found = self._defaults[name] = {
                each: schema["default"] for each, schema in properties.items() if "default" in schema
            }
        return found

    def given(self, name: str, arg: str, args: Mapping[str, Any], expected: Any) -> Any:
        """The value of an argument, to be compared with what is expected of it; MISSING where it was not given.

        To leave an argument out means the same as to give its default, so plain values and ABSENT see it so.
        """
        value, default = args.get(arg, MISSING), self.defaults(name).get(arg, MISSING)
        if expected is ABSENT:
            return MISSING if value == default else value
        return default if value is MISSING and is_plain(expected) else value

    # -- answers ------------------------------------------------------------------------------------------------

    def result(self, command: Command, value: Any) -> Any:
        """Check a result, and make it ready for JSON."""
        __tracebackhide__ = True
        if command.kind is Kind.STREAM:
            raise Mispromise(f"{command.name} streams and has no result: say .stream([...])")
        return _fitting(f"the result of {command.name}", command.result_model, value)

    def item(self, command: Command, value: Any, index: int) -> Any:
        """Check an item of a stream, and make it ready for JSON."""
        __tracebackhide__ = True
        if not command.streaming:
            raise Mispromise(f"{command.name} does not stream: say .reply(...)")
        return _fitting(f"item {index} of {command.name}", command.item_model, value)

    def closing(self, command: Command, value: Any) -> Any:
        """Check the result that ends a stream."""
        __tracebackhide__ = True
        if command.kind is Kind.STREAM:
            if value is not None:
                raise Mispromise(f"{command.name} has no result besides its items")
            return None
        if value is None and command.result_model is not None:
            try:
                return _fitting("", command.result_model, None)
            except Mispromise:
                raise Mispromise(
                    f"{command.name} ends its stream with a result: say .stream([...], result=...)"
                ) from None
        return self.result(command, value)

    # -- events -------------------------------------------------------------------------------------------------

    def event(self, name: str, data: Any) -> Any:
        """Check an event and its data, and make that ready for JSON."""
        __tracebackhide__ = True
        declaration = self.events.get(name)
        if declaration is None:
            raise Mispromise(f"no daemon has an event {name!r}{_hint(name, self.events)}")
        return _fitting(f"the data of event {name}", declaration.model, {} if data is None else data)


def _fitting(what: str, model: WireType[Any] | None, value: Any) -> Any:
    """`value` as the JSON that goes out, checked against its type; fields that it does not have are refused too."""
    __tracebackhide__ = True
    try:
        plain = msgspec.json.decode(msgspec.json.encode(value if model is None else model.encode(value)))
    except WireMismatch as error:
        raise Mispromise(f"{what} does not fit: {error}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Mispromise(f"{what} is not JSON: {error}") from None
    if model is not None:
        misfit = _misfit(what, model, plain)
        if misfit is not None:
            raise Mispromise(f"{what} does not fit: {misfit}")
    return plain


def _misfit(what: str, model: WireType[Any], value: Any) -> WireMismatch | None:
    node = compile_node(model.annotation, what)
    try:
        decoded = msgspec.convert(value, node.strict, str_keys=node.keyed)
        if node.build is not None:
            node.build(decoded)
    except Misfit as misfit:
        return misfit.as_mismatch()
    except FAILURES as error:
        return explain(error, node, value, strict=True).as_mismatch()
    return None


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name[:128], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
