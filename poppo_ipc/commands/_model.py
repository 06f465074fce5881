"""Python types as they are on the wire: checked, read, written and described."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar, cast, overload

import attrs
import msgspec

from poppo_ipc.commands._explain import FAILURES, explain, text_for
from poppo_ipc.commands._fields import Bound, FieldSet, fields_of_class
from poppo_ipc.commands._misfit import Misfit
from poppo_ipc.commands._nodes import Node, compile_node
from poppo_ipc.commands._schema import schema_of, schema_of_fields
from poppo_ipc.errors import InvalidArgs

__all__ = ["RAW_ARGS", "ArgsModel", "WireType", "decode_as", "encode_args", "encode_result", "schema"]

T = TypeVar("T")


def _converter(node: Node | FieldSet) -> Callable[[Any, Any], Any]:
    # Positional arguments alone, where that does: msgspec.convert takes thrice the time with keywords.
    return _convert_keyed if node.keyed else msgspec.convert


def _convert_keyed(value: Any, target: Any) -> Any:
    return msgspec.convert(value, target, str_keys=True)


class WireType(Generic[T]):
    """A type compiled for the wire. Make one per type and keep it; all its methods may be called from any thread.

    Args:
        annotation: any annotation: an attrs class, `list[Greeting]`, `dict[str, Any]`, `int | None` …
        where: what the type is of, for the error.

    Raises:
        DeclarationError: JSON cannot carry the type.
    """

    __slots__ = ("_node", "annotation", "encode")

    @overload
    def __init__(self, annotation: type[T], where: str = "value") -> None: ...
    @overload
    def __init__(self: WireType[Any], annotation: Any, where: str = "value") -> None: ...
    def __init__(self, annotation: Any, where: str = "value") -> None:
        self.annotation = annotation
        self._node: Final = compile_node(annotation, where)
        #: Make the value ready for `msgspec.json`; raises `WireMismatch` where it is not of the type.
        self.encode: Callable[[T], Any] = _encode_with(self._node)

    def __repr__(self) -> str:
        return f"WireType({self.annotation!r})"

    def decode(self, value: Any) -> T:
        """Read a JSON value; unknown fields are ignored, so that the other side may grow new ones.

        Raises:
            WireMismatch: it does not fit.
        """
        try:
            return cast(T, _decode(self._node, value))
        except Misfit as misfit:
            raise misfit.as_mismatch() from None

    def schema(self, *, closed: bool = False) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12), whole in itself. Objects may hold more, unless it is `closed`."""
        return schema_of(self._node, closed=closed)


def _encode_with(node: Node) -> Callable[[Any], Any]:
    convert = node.encode
    if convert is None:
        return lambda value: value

    def encode(value: Any) -> Any:
        try:
            return convert(value)
        except Misfit as misfit:
            raise misfit.as_mismatch() from None

    return encode


def _decode(node: Node, value: Any) -> Any:
    try:
        decoded = _converter(node)(value, node.lax)
        return decoded if node.build is None else node.build(decoded)
    except FAILURES as error:
        raise explain(error, node, value, strict=False) from None


#: For a command that takes its args object as it came.
RAW_ARGS: Final = object()


class ArgsModel:
    """The args of a command: how a JSON object becomes the arguments of its handler.

    Args:
        fields: the compiled fields, of an attrs class or of the handler's parameters; `RAW_ARGS` for the object as is.
        keyword: the name of the one parameter, where it can only be given by name.
    """

    __slots__ = ("bind", "fields", "raw")

    def __init__(self, fields: FieldSet | Any, *, keyword: str | None = None) -> None:
        self.raw: Final = fields is RAW_ARGS
        self.fields: Final[FieldSet | None] = None if self.raw else fields
        #: From the args object to the handler's arguments; raises `InvalidArgs` and nothing else.
        self.bind: Callable[[dict[str, Any]], Bound] = self._binder(keyword)

    @property
    def args_type(self) -> type | None:
        """The attrs class of the args, or None where the handler takes them as parameters or as they came."""
        return None if self.fields is None else self.fields.cls

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the args object."""
        return {"type": "object"} if self.fields is None else schema_of_fields(self.fields, closed=True)

    def _binder(self, keyword: str | None) -> Callable[[dict[str, Any]], Bound]:
        deliver = _by_position if keyword is None else lambda value: ((), {keyword: value})
        fields = self.fields
        if fields is None:
            return lambda args: deliver(_object(args))
        if fields.cls is None:
            return _bind_fields(fields, fields.spread, free=not any(field.required for field in fields.fields))
        construct = fields.construct
        return _bind_fields(fields, lambda struct: deliver(construct(struct)), free=False)


def _bind_fields(fields: FieldSet, spread: Callable[[Any], Bound], *, free: bool) -> Callable[[dict[str, Any]], Bound]:
    struct, convert = fields.strict, _converter(fields)
    node = Node(strict=struct, lax=fields.lax, fields=fields)

    def bind(args: dict[str, Any]) -> Bound:
        if free and not args and type(args) is dict:
            return (), {}
        try:
            return spread(convert(args, struct))
        except Misfit as misfit:
            misfit.text = text_for(node, misfit.path)
            raise misfit.as_invalid_args() from None
        except FAILURES as error:
            raise explain(error, node, _object(args), strict=True).as_invalid_args() from None

    return bind


def _by_position(value: Any) -> Bound:
    return (value,), {}


def _object(args: Any) -> Any:
    if not isinstance(args, dict):
        raise InvalidArgs.of("", "expected an object", "Invalid arguments: expected an object")
    return args


def encode_result(value: Any) -> Any:
    """Make a value ready for `msgspec.json` by what it is, where no annotation says it.

    An attrs instance becomes an object with the wire's names; a list or tuple of such, a list of objects. Anything
    else goes as it is: a dict is never looked into.

    Raises:
        WireMismatch: a field does not hold what its class declares.
        DeclarationError: the attrs class is none that JSON can carry.
    """
    try:
        return _encode_by_type(value)
    except Misfit as misfit:
        raise misfit.as_mismatch() from None


_PLAIN: Final = frozenset({dict, str, int, float, bool, type(None)})
_SCALARS: Final = compile_node(datetime.datetime | pathlib.PurePath, "result").encode


def _encode_by_type(value: Any) -> Any:
    cls = type(value)
    if cls in _PLAIN:
        return value
    if attrs.has(cls):
        return fields_of_class(cls).encode(value)
    if cls is list or cls is tuple:
        return [_encode_by_type(item) for item in value] if any(attrs.has(type(item)) for item in value) else value
    return value if _SCALARS is None else _SCALARS(value)


@overload
def decode_as(wire_type: type[T], value: Any) -> T: ...
@overload
def decode_as(wire_type: Any, value: Any) -> Any: ...
def decode_as(wire_type: Any, value: Any) -> Any:
    """Read a JSON value as `wire_type`; unknown fields are ignored. For many values, keep a `WireType`.

    Raises:
        WireMismatch: it does not fit.
        DeclarationError: JSON cannot carry the type.
    """
    return WireType[Any](wire_type).decode(value)


def encode_args(args: Any) -> dict[str, Any]:
    """The args object of a call: of an attrs instance, or a mapping that has the wire's names already.

    An argument that is None and optional is left out: it means the same, and older servers need not know it.

    Raises:
        WireMismatch: a field does not hold what its class declares.
        TypeError: neither an attrs instance nor a mapping.
    """
    if isinstance(args, Mapping):
        return dict(args)
    if not attrs.has(type(args)):
        raise TypeError(f"args must be an attrs instance or a mapping, not {type(args).__name__}")
    fields = fields_of_class(type(args))
    try:
        encoded = fields.encode(args)
    except Misfit as misfit:
        raise misfit.as_mismatch() from None
    known = fields.by_wire
    return {
        wire: value
        for wire, value in encoded.items()
        if wire in known and not (value is None and not known[wire].required and known[wire].default is None)
    }


def schema(wire_type: Any, *, closed: bool = False) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a type, whole in itself.

    Args:
        wire_type: any annotation, as `WireType` takes it.
        closed: objects hold the fields that are named and no others, as those of args.

    Raises:
        DeclarationError: JSON cannot carry the type.
    """
    return WireType[Any](wire_type).schema(closed=closed)
