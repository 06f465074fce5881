"""Named fields compiled together: those of an attrs class, or the parameters of a handler.

msgspec does the work of decoding, into a Struct that is made here since it can neither rename the fields of an attrs
class nor refuse unknown ones. The author's class is then called with the values, so that its own converters,
validators and defaults run.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import attrs
import msgspec

from poppo_ipc.commands._attrs_errors import misfit_of
from poppo_ipc.commands._misfit import Misfit
from poppo_ipc.commands._nodes import Node, compile_node
from poppo_ipc.errors import DeclarationError

__all__ = ["MISSING", "Arg", "Bound", "Field", "FieldSet", "camel", "fields_of_class", "make_field", "resolve"]

#: Positional and keyword arguments.
Bound = tuple[tuple[Any, ...], dict[str, Any]]

#: In place of a value that was not given and whose default only the author's class or function can make.
MISSING: Final = type("Missing", (), {"__slots__": (), "__repr__": lambda _self: "MISSING"})()

#: Where the compiled fields of a class are kept: on the class, so that both go together. A table by class would keep
#: every class alive, since the compiled form refers to its class.
_KEPT_AS = "__poppo_fields__"

_CONSTANTS = (type(None), bool, int, float, str, bytes)
_FACTORIES = (list, dict, set)


@attrs.frozen
class Arg:
    """What is said of a field beside its type: `path: Annotated[str, Arg(message="Project path required")]`.

    Attributes:
        doc: one sentence, for the JSON Schema.
        message: the whole text of the error when the field is missing or wrong, in place of the usual one.
        name: the name on the wire, where it is not the field's own in camelCase.

    In an attrs class, `attrs.field(metadata={"doc": ..., "message": ..., "name": ...})` says the same.
    """

    doc: str | None = None
    message: str | None = None
    name: str | None = None


@attrs.frozen(eq=False, kw_only=True)
class Field:
    """One compiled field: `attribute` is read from an instance, `py` is the parameter that takes it.

    `declared` is the default that the author wrote, `default` the one that msgspec fills in: `MISSING` where the
    author's class or function is to make it.
    """

    py: str
    attribute: str
    wire: str
    node: Node
    required: bool
    declared: Any
    default: Any
    kw_only: bool
    info: Arg

    def in_struct(self, annotation: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
        """The field as `msgspec.defstruct` takes it."""
        if self.required:
            return (self.py, annotation)
        if self.default in _FACTORIES:
            return (self.py, annotation, msgspec.field(default_factory=self.default))
        return (self.py, annotation, self.default)


@attrs.define(eq=False)
class FieldSet:
    """Compiled fields. `cls` is the attrs class they belong to, or None for a handler's parameters."""

    name: str
    cls: type | None
    fields: tuple[Field, ...]
    strict: Any = attrs.field(init=False)
    lax: Any = attrs.field(init=False)
    by_wire: Mapping[str, Field] = attrs.field(init=False)
    encode: Callable[[Any], dict[str, Any]] = attrs.field(init=False)
    keyed: bool = attrs.field(init=False)
    _positional: int = attrs.field(init=False)
    _building: tuple[tuple[int, str, Any], ...] = attrs.field(init=False)
    _plain: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        taken = tuple(sorted((f for f in self.fields if f.py), key=lambda field: field.kw_only))
        self.by_wire = {field.wire: field for field in taken}
        if len(self.by_wire) != len(taken):
            raise DeclarationError(f"{self.name}: two fields have the same name on the wire")
        self.strict = _struct(self.name, taken, strict=True)
        self.lax = _struct(self.name, taken, strict=False)
        self.keyed = any(field.node.keyed for field in taken)
        self._positional = sum(not field.kw_only for field in taken)
        self._building = tuple((i, f.wire, f.node.build) for i, f in enumerate(taken) if f.node.build is not None)
        lazy = any(field.default is MISSING and not field.required for field in taken)
        self._plain = not self._building and not lazy and self._positional == len(taken)
        self.encode = _encoder(self.cls, self.fields)

    def spread(self, struct: Any) -> Bound:
        """The arguments for the class or the handler, of a decoded struct.

        Raises:
            Misfit: something inside was refused by an attrs class.
        """
        values = msgspec.structs.astuple(struct)
        if self._plain:
            return values, {}
        built = list(values)
        for index, wire, build in self._building:
            if built[index] is not MISSING:
                try:
                    built[index] = build(built[index])
                except Misfit as misfit:
                    raise misfit.under(wire) from None
        names = [field.py for field in self.by_wire.values()]
        count = self._positional
        if any(value is MISSING for value in built[:count]):
            # Whatever follows a hole can only be told by name.
            count = next(i for i, value in enumerate(built) if value is MISSING)
        named = zip(names[count:], built[count:], strict=True)
        return tuple(built[:count]), {name: value for name, value in named if value is not MISSING}

    def construct(self, struct: Any) -> Any:
        """The instance of the attrs class.

        Raises:
            Misfit: a converter or validator refused a value.
        """
        assert self.cls is not None
        args, kwargs = self.spread(struct)
        try:
            return self.cls(*args, **kwargs)
        except (ValueError, TypeError) as error:
            values = dict(zip(self.strict.__struct_fields__, args, strict=False)) | kwargs
            wires = {field.attribute: field.wire for field in self.by_wire.values()}
            raise misfit_of(error, self.cls, values, wires) from error


def camel(name: str) -> str:
    """The wire's name for a Python name: `project_id` is `projectId`, `from_` is `from`."""
    first, *rest = name.strip("_").split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def resolve(name: str, annotation: Any, namespace: Mapping[str, Any], where: str) -> Any:
    """The annotation as an object, where it is written as a string.

    Raises:
        DeclarationError: it uses a name that does not exist at run time.
    """

    class Holder:
        __annotations__ = {name: annotation}

    try:
        return typing.get_type_hints(Holder, dict(namespace), {}, include_extras=True)[name]
    except Exception as error:
        # An annotation is code of the author's, which may raise anything.
        raise DeclarationError(f"{where}: its annotation cannot be resolved: {error}") from None


def make_field(
    name: str,
    annotation: Any,
    *,
    owner: str,
    default: Any = attrs.NOTHING,
    attribute: str | None = None,
    kw_only: bool = False,
    info: Arg | None = None,
    stack: tuple[type, ...] = (),
) -> Field:
    """Compile one field.

    Args:
        name: the parameter that takes the value; "" where there is none, and the field is only ever written.
        annotation: its type, resolved.
        owner: the class or command it belongs to, for errors.
        default: the value, or an `attrs.Factory`; `attrs.NOTHING` where the field is required.

    Raises:
        DeclarationError: the annotation is none that JSON can carry.
    """
    info = _info(annotation) or info or Arg()
    attribute = attribute or name
    node = compile_node(annotation, f"{attribute!r} of {owner}", stack)
    return Field(
        py=name,
        attribute=attribute,
        wire=info.name or camel(name or attribute),
        node=node,
        required=default is attrs.NOTHING,
        declared=default,
        default=_struct_default(default, node),
        kw_only=kw_only,
        info=info,
    )


def fields_of_class(cls: type, stack: tuple[type, ...] = ()) -> FieldSet:
    """The compiled fields of an attrs class, compiled at the first call."""
    kept = cls.__dict__.get(_KEPT_AS)
    if isinstance(kept, FieldSet):
        return kept
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as error:
        # An annotation is code of the author's, which may raise anything.
        raise DeclarationError(f"{cls.__name__}: its annotations cannot be resolved: {error}") from None
    fields = tuple(_attrs_field(cls, attribute, hints, (*stack, cls)) for attribute in attrs.fields(cls))
    compiled = FieldSet(cls.__name__, cls, fields)
    setattr(cls, _KEPT_AS, compiled)
    return compiled


def _attrs_field(cls: type, attribute: Any, hints: Mapping[str, Any], stack: tuple[type, ...]) -> Field:
    annotation = hints.get(attribute.name, attribute.type)
    if annotation is None and attribute.name not in hints:
        raise DeclarationError(f"{attribute.name!r} of {cls.__name__} has no annotation")
    said = {key: attribute.metadata.get(key) for key in ("doc", "message", "name")}
    return make_field(
        attribute.alias if attribute.init else "",
        annotation,
        owner=cls.__name__,
        default=attribute.default,
        attribute=attribute.name,
        kw_only=attribute.kw_only,
        info=Arg(**{key: value for key, value in said.items() if isinstance(value, str)}),
        stack=stack,
    )


def _info(annotation: Any) -> Arg | None:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return next((extra for extra in parts[1:] if isinstance(extra, Arg)), None)
    if origin in (typing.Union, types.UnionType):
        return next((info for info in map(_info, parts) if info is not None), None)
    return None


def _struct_default(default: Any, node: Node) -> Any:
    if default is None:
        return None
    if (type(default) in _CONSTANTS or isinstance(default, enum.Enum)) and node.build is None:
        return default
    factory = getattr(default, "factory", None)
    if factory in _FACTORIES and node.build is None:
        return factory
    return MISSING


def _struct(name: str, fields: Sequence[Field], *, strict: bool) -> Any:
    try:
        struct = msgspec.defstruct(
            name,
            [field.in_struct(field.node.strict if strict else field.node.lax) for field in fields],
            rename={field.py: field.wire for field in fields},
            forbid_unknown_fields=strict,
            kw_only=True,
            gc=False,  # lives for one conversion and holds only what has just been decoded
        )
        msgspec.json.Decoder(struct)
    except TypeError as error:
        raise DeclarationError(f"{name}: {error}") from None
    return struct


def _encoder(cls: type | None, fields: Sequence[Field]) -> Callable[[Any], dict[str, Any]]:
    wires = tuple(field.wire for field in fields)
    names = tuple(field.attribute for field in fields)
    read: Callable[[Any], tuple[Any, ...]] = (
        attrgetter(*names) if len(names) > 1 else lambda value: tuple(getattr(value, name) for name in names)
    )
    converting = tuple((field.wire, field.node.encode) for field in fields if field.node.encode is not None)
    expected = () if cls is None else (cls,)

    def encode(value: Any) -> dict[str, Any]:
        if not isinstance(value, expected):
            if isinstance(value, dict):
                return value
            raise Misfit(f"expected {' or '.join(kind.__name__ for kind in expected)}, got {type(value).__name__}")
        result = dict(zip(wires, read(value), strict=True))
        for wire, convert in converting:
            try:
                result[wire] = convert(result[wire])
            except Misfit as misfit:
                raise misfit.under(wire) from None
        return result

    return encode
