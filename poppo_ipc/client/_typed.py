"""How callers may name a command and its types, made one. The types are looked at only where they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from poppo_ipc.client._call import Call
from poppo_ipc.client._engine import Engine
from poppo_ipc.client._options import Default, Options
from poppo_ipc.errors import RemoteProtocolError

if TYPE_CHECKING:
    from poppo_ipc.commands import CommandSpec

__all__ = ["build_call", "item_reader", "result_reader"]

T = TypeVar("T")
_MISSING: Any = object()


def build_call(
    engine: Engine,
    options: Options,
    now: float,
    command: str | CommandSpec[Any, Any],
    args: Any,
    named: Mapping[str, Any],
    *,
    timeout: float | Default | None,
    idempotent: bool | None = None,
    key: str | None = None,
    credit: int | None = None,
) -> Call:
    """The call of `command` with `args` and the args given by name.

    Raises TypeError where both hold something, or `args` is of no use; WireMismatch where typed args do not fit.
    """
    if isinstance(command, str):
        name = command
        idempotent = bool(idempotent)
    else:
        name = command.name
        if idempotent is None:
            idempotent = command.idempotent
    seconds = options.timeout if isinstance(timeout, Default) else timeout
    if seconds is not None and not seconds > 0:
        raise ValueError(f"timeout has to be over 0 seconds, or None for no limit, not {seconds!r}")
    if key is None and not idempotent and credit is None:
        # A command that may be asked twice needs no key, and the items of a stream are not kept for one.
        key = engine.new_key()
    call = Call(name, _args(args, named), timeout=seconds, idempotent=idempotent, key=key, credit=credit)
    if seconds is not None:
        call.deadline = call.due = now + seconds
    return call


def _args(args: Any, named: Mapping[str, Any]) -> Any:
    if args is None:
        return dict(named)
    if named:
        raise TypeError("give the args as one object or by name, not both")
    if type(args) is dict or isinstance(args, Mapping):
        return dict(args)
    from poppo_ipc.commands import encode_args

    return encode_args(args)


def result_reader(command: str | CommandSpec[Any, Any], result: type[Any] | None) -> Callable[[Any], Any] | None:
    """What makes of an answer's JSON what the caller asked for; None where the JSON itself is asked for."""
    if result is not None:
        wanted = result
    elif isinstance(command, str):
        return None
    else:
        return _renaming(command.name, command.decode_result)
    from poppo_ipc.commands import decode_as

    name = command if isinstance(command, str) else command.name
    return _renaming(name, lambda value: decode_as(wanted, value))


def item_reader(command: str | CommandSpec[Any, Any], item: type[Any] | None) -> Callable[[Any], Any] | None:
    """The same for the items of a stream."""
    if item is None and (isinstance(command, str) or command.item is None):
        return None
    from poppo_ipc.commands import WireType

    if item is None:
        assert not isinstance(command, str)
        item = command.item
    name = command if isinstance(command, str) else command.name
    return _renaming(name, WireType[Any](item).decode)


def _renaming(name: str, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    from poppo_ipc.commands import WireMismatch

    def renamed(value: Any) -> Any:
        try:
            return read(value)
        except WireMismatch as mismatch:
            raise RemoteProtocolError(
                f"The answer to {name!r} is not what was expected: {mismatch}; it did run. "
                "The daemon may be of another version"
            ) from mismatch

    return renamed
