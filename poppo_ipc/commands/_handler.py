"""What a handler's signature says: its kind, whether it takes the context, its args, its result and its items."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from poppo_ipc.commands._command import CommandSpec, Handler, Kind
from poppo_ipc.commands._context import Context
from poppo_ipc.commands._fields import FieldSet, fields_of_class, make_field, resolve
from poppo_ipc.commands._model import RAW_ARGS, ArgsModel, WireType
from poppo_ipc.errors import DeclarationError

__all__ = ["Said", "is_async_callable", "read_handler"]

_ITERATORS = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@attrs.frozen
class Said:
    """What a handler says of its command."""

    kind: Kind
    takes_ctx: bool
    args_model: ArgsModel
    result_model: WireType[Any] | None
    item_model: WireType[Any] | None


def read_handler(
    name: str, handler: Handler, *, thread: bool, args: Any, result: Any, item: Any, spec: CommandSpec[Any, Any] | None
) -> Said:
    """Read a handler.

    Args:
        name: of the command, for errors.
        handler: the author's function.
        thread: whether it was asked to run in a thread.
        args: the attrs class of the args that was given beside the signature, or None.
        result: the type of the result that was given, or None.
        item: the type of the items that was given, or None.
        spec: what the signature has to agree with, or None.

    Raises:
        DeclarationError: the handler cannot answer commands, or does not agree.
    """
    where = f"command {name}"
    kind, namespace, signature = _kind(handler, thread, where), _namespace(handler), _signature(handler, where)
    parameters = list(signature.parameters.values())
    takes_ctx = bool(parameters) and _is_context(parameters[0], namespace, where)
    parameters = parameters[1:] if takes_ctx else parameters
    returned = signature.return_annotation
    returned = None if returned is inspect.Parameter.empty else resolve("return", returned, namespace, where)
    declared = signature.return_annotation is not inspect.Parameter.empty
    args_model = _args_model(where, parameters, namespace, args if spec is None else spec.args)
    if kind is Kind.STREAM:
        if spec is not None and spec.result not in (None, type(None)):
            raise DeclarationError(f"{where}: a generator has no result, but its spec declares {_named(spec.result)}")
        yielded = _yielded(returned, where) if declared else None
        item = _agreed(where, "items", item if spec is None else spec.item, yielded)
        return Said(kind, takes_ctx, args_model, None, _wire_type(item, f"item of {name}"))
    wanted = result if spec is None else spec.result
    item = item if spec is None else spec.item
    agreed = _agreed(where, "result", wanted, returned)
    result_model, item_model = _wire_type(agreed, f"result of {name}"), _wire_type(item, f"item of {name}")
    return Said(kind, takes_ctx, args_model, result_model, item_model)


def _kind(handler: Handler, thread: bool, where: str) -> Kind:
    if not callable(handler):
        raise DeclarationError(f"{where}: its handler is not callable")
    call = type(handler).__call__  # where it is an instance that is called like a function
    is_stream = inspect.isasyncgenfunction(handler) or inspect.isasyncgenfunction(call)
    is_async = is_async_callable(handler)
    if thread and (is_stream or is_async):
        raise DeclarationError(f"{where}: thread=True is for a plain def; an async one runs in the event loop")
    if inspect.isgeneratorfunction(handler) or inspect.isgeneratorfunction(call):
        raise DeclarationError(f"{where}: a plain generator cannot stream; write async def with yield")
    return Kind.STREAM if is_stream else Kind.ASYNC if is_async else Kind.THREAD if thread else Kind.SYNC


def _signature(handler: Handler, where: str) -> inspect.Signature:
    try:
        return inspect.signature(handler)
    except (TypeError, ValueError):
        raise DeclarationError(f"{where}: its handler has no signature to read") from None


def is_async_callable(handler: Any) -> bool:
    """Whether calling it gives a coroutine: an `async def`, or an instance of a class whose `__call__` is one."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def _namespace(handler: Handler) -> Mapping[str, Any]:
    function: Any = inspect.unwrap(handler)
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    function = getattr(function, "__func__", function)
    if not hasattr(function, "__globals__"):
        function = getattr(type(function).__call__, "__func__", type(function).__call__)
    return getattr(function, "__globals__", {})


def _is_context(parameter: inspect.Parameter, namespace: Mapping[str, Any], where: str) -> bool:
    if parameter.kind not in _POSITIONAL:
        return False
    annotation = parameter.annotation
    if parameter.name == "ctx":
        # Not resolved: the name is often imported for type checkers only.
        return True
    if isinstance(annotation, str):
        if annotation.rpartition(".")[2] == "Context":
            return True
        annotation = resolve(parameter.name, annotation, namespace, f"{where}: {parameter.name!r}")
    return isinstance(annotation, type) and (annotation is Context or Context in annotation.__mro__)


def _args_model(
    where: str, parameters: Sequence[inspect.Parameter], namespace: Mapping[str, Any], wanted: Any
) -> ArgsModel:
    hints = {parameter.name: _hint(parameter, namespace, where, wanted) for parameter in parameters}
    if wanted is not None:
        return _wanted_args(where, parameters, hints, wanted)
    if len(parameters) == 1:
        (only,), annotation = parameters, hints[parameters[0].name]
        keyword = None if only.kind in _POSITIONAL else only.name
        if only.name == "args" and (annotation is dict or typing.get_origin(annotation) is dict):
            return ArgsModel(RAW_ARGS, keyword=keyword)
        if isinstance(annotation, type) and attrs.has(annotation) and only.default is inspect.Parameter.empty:
            return ArgsModel(fields_of_class(annotation), keyword=keyword)
    owner = where.partition(" ")[2]
    fields = tuple(
        make_field(
            parameter.name,
            hints[parameter.name],
            owner=owner,
            default=attrs.NOTHING if parameter.default is inspect.Parameter.empty else parameter.default,
            kw_only=parameter.kind is inspect.Parameter.KEYWORD_ONLY,
        )
        for parameter in parameters
    )
    return ArgsModel(FieldSet(owner, None, fields))


def _hint(parameter: inspect.Parameter, namespace: Mapping[str, Any], where: str, wanted: Any) -> Any:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise DeclarationError(
            f"{where}: its handler takes *{parameter.name}; name its parameters, or take args: dict[str, Any]"
        )
    if parameter.annotation is inspect.Parameter.empty:
        if wanted is not None:
            return None
        raise DeclarationError(f"{where}: parameter {parameter.name!r} of its handler has no annotation")
    return resolve(parameter.name, parameter.annotation, namespace, f"{where}: {parameter.name!r}")


def _wanted_args(
    where: str, parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any], wanted: Any
) -> ArgsModel:
    raw = wanted is dict or typing.get_origin(wanted) is dict
    if not raw and not (isinstance(wanted, type) and attrs.has(wanted)):
        raise DeclarationError(f"{where}: its args must be an attrs class or dict")
    fields: Any = RAW_ARGS if raw else fields_of_class(wanted)
    if not parameters and not raw and not fields.fields:
        return ArgsModel(FieldSet(where.partition(" ")[2], None, ()))
    if len(parameters) != 1:
        raise DeclarationError(f"{where}: its handler must take its args, {_named(wanted)}, as one parameter")
    only = parameters[0]
    found = hints[only.name]
    found_raw = found is dict or typing.get_origin(found) is dict
    if found not in (None, Any, wanted) and not (raw and found_raw):
        raise DeclarationError(f"{where}: its handler takes {_named(found)}, but its args are {_named(wanted)}")
    return ArgsModel(fields, keyword=None if only.kind in _POSITIONAL else only.name)


def _yielded(returned: Any, where: str) -> Any:
    if typing.get_origin(returned) not in _ITERATORS:
        raise DeclarationError(f"{where}: annotate its generator with AsyncIterator[...]")
    return typing.get_args(returned)[0]


def _agreed(where: str, what: str, wanted: Any, found: Any) -> Any:
    if wanted is None:
        return found
    # A dict has the wire's form already, and may stand for any object.
    free = found is None or found is Any or found is dict or typing.get_origin(found) is dict
    if not free and found != wanted:
        raise DeclarationError(f"{where}: its {what} is declared as {_named(wanted)}, but annotated {_named(found)}")
    return wanted


def _wire_type(annotation: Any, where: str) -> WireType[Any] | None:
    return None if annotation is None or annotation is Any else WireType[Any](annotation, where)


def _named(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))
