"""Annotations compiled into nodes: how a value of that type is validated, built, and put on the wire.

A node knows two types for msgspec (one refuses unknown fields, one ignores them), and two functions, each None where
there is nothing to do: `build` makes the author's value from the one that msgspec has decoded, `encode` makes JSON of
the author's value. Data without attrs classes, times or paths is therefore never walked.
"""

from __future__ import annotations

import collections.abc
import datetime
import enum
import pathlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import msgspec

from poppo_ipc.commands import _containers
from poppo_ipc.commands._misfit import Misfit
from poppo_ipc.errors import DeclarationError

if typing.TYPE_CHECKING:
    from poppo_ipc.commands._fields import FieldSet

__all__ = ["Convert", "Node", "compile_node"]

Convert = Callable[[Any], Any]


@attrs.frozen(eq=False, kw_only=True)
class Node:
    """One compiled annotation.

    `decoded` and `encoded` are the Python types that a value of it has after msgspec and in the author's hands: they
    tell the members of a union apart. `fields`, `item`, `items`, `options` are its parts, by which a path is followed.
    `keyed` is true where a dict inside may have keys other than text, which JSON has as text nevertheless: msgspec
    must be told, and then takes thrice the time.
    """

    strict: Any
    lax: Any
    build: Convert | None = None
    encode: Convert | None = None
    decoded: tuple[type, ...] = ()
    encoded: tuple[type, ...] = ()
    choices: tuple[str, ...] = ()
    fields: FieldSet | None = None
    item: Node | None = None
    items: tuple[Node, ...] = ()
    options: tuple[Node, ...] = ()
    entries: bool = False
    unique: bool = False
    keyed: bool = False
    metas: tuple[msgspec.Meta, ...] = ()


# Types are put together here from types that only the run knows. The type checker takes brackets for an annotation, and
# `|` has no form for any number of members: hence what is ignored below.

_LISTS: Final = (
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
)
_SETS: Final = (set, collections.abc.MutableSet)
_FROZEN_SETS: Final = (frozenset, collections.abc.Set)
_DICTS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_PATHS: Final = (pathlib.Path, pathlib.PurePath)


def compile_node(annotation: Any, where: str, stack: tuple[type, ...] = ()) -> Node:
    """Compile an annotation.

    Args:
        annotation: what the author wrote, with any string resolved.
        where: whose annotation it is, for the error ("'retries' of Config").
        stack: the attrs classes being compiled, outermost first.

    Raises:
        DeclarationError: JSON cannot carry such a type, or it contains itself.
    """
    while hasattr(annotation, "__supertype__"):
        annotation = annotation.__supertype__
    if type(annotation).__name__ == "TypeAliasType":  # typing's own only exists from Python 3.12 on
        annotation = annotation.__value__
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _annotated(args[0], args[1:], where, stack)
    if origin in (typing.Union, types.UnionType):
        return _union([compile_node(arg, where, stack) for arg in args])
    if isinstance(annotation, type) and attrs.has(annotation) and origin is None:
        return _object(annotation, where, stack)
    if isinstance(origin, type) and attrs.has(origin):
        raise DeclarationError(f"{where}: generic attrs classes are not supported; write a class for each use")
    if origin in (*_LISTS, *_SETS, *_FROZEN_SETS, *_DICTS, tuple) and args:
        return _container(annotation, origin, args, where, stack)
    if annotation in _PATHS:
        # As text, since a path is none for msgspec.
        return Node(strict=str, lax=str, build=annotation, encode=_path, decoded=(str,), encoded=(pathlib.PurePath,))
    if annotation is datetime.datetime:
        kinds = (datetime.datetime,)
        return Node(strict=annotation, lax=annotation, encode=_datetime, decoded=kinds, encoded=kinds)
    return _leaf(annotation, where)


def _annotated(inner: Any, extras: tuple[Any, ...], where: str, stack: tuple[type, ...]) -> Node:
    metas = tuple(extra for extra in extras if isinstance(extra, msgspec.Meta))
    some = [arg for arg in typing.get_args(inner) if arg is not type(None)]
    if metas and typing.get_origin(inner) in (typing.Union, types.UnionType) and len(some) == 1:
        # A bound on `int | None` is one on the int; msgspec refuses it on the union.
        return _union([_annotated(some[0], extras, where, stack), compile_node(type(None), where, stack)])
    node = compile_node(inner, where, stack)
    if not metas:
        return node
    strict, lax = node.strict, node.lax
    for meta in metas:
        strict, lax = typing.Annotated[strict, meta], typing.Annotated[lax, meta]
    node = attrs.evolve(node, strict=strict, lax=lax, metas=node.metas + metas)
    _check(node.strict, where)
    return node


def _object(cls: type, where: str, stack: tuple[type, ...]) -> Node:
    # Late: fields are made of nodes and nodes of fields.
    from poppo_ipc.commands._fields import fields_of_class

    if cls in stack:
        raise DeclarationError(f"{where}: {cls.__name__} contains itself, which is not supported")
    fields = fields_of_class(cls, stack)
    return Node(
        strict=fields.strict,
        lax=fields.lax,
        build=fields.construct,
        encode=fields.encode,
        decoded=(fields.strict, fields.lax),
        encoded=(cls,),
        keyed=fields.keyed,
        fields=fields,
    )


def _union(options: list[Node]) -> Node:
    building = tuple(option for option in options if option.build is not None)
    encoding = tuple(option for option in options if option.encode is not None)
    return Node(
        strict=typing.Union[tuple(option.strict for option in options)],  # noqa: UP007
        lax=typing.Union[tuple(option.lax for option in options)],  # noqa: UP007
        build=_by_type([(option.decoded, option.build) for option in building]),
        encode=_by_type([(option.encoded, option.encode) for option in encoding]),
        decoded=tuple(kind for option in options for kind in option.decoded),
        encoded=tuple(kind for option in options for kind in option.encoded),
        choices=tuple(choice for option in options for choice in option.choices),
        keyed=any(option.keyed for option in options),
        options=tuple(options),
    )


def _by_type(members: list[tuple[tuple[type, ...], Any]]) -> Convert | None:
    if not members:
        return None
    if len(members) == 1:
        ((kinds, only),) = members
        return lambda value: only(value) if isinstance(value, kinds) else value

    def convert(value: Any) -> Any:
        for kinds, member in members:
            if isinstance(value, kinds):
                return member(value)
        return value

    return convert


def _container(annotation: Any, origin: Any, args: tuple[Any, ...], where: str, stack: tuple[type, ...]) -> Node:
    if origin in _DICTS:
        return _entries(args[0], compile_node(args[1], where, stack), where, stack)
    if origin is tuple and args[-1] is not Ellipsis:
        return _fixed_tuple([compile_node(arg, where, stack) for arg in args if arg != ()])
    item = compile_node(args[0], where, stack)
    maker: type = tuple if origin is tuple else _maker(origin)
    unique = maker in (set, frozenset)
    if unique and item.fields is not None and item.fields.cls is not None and item.fields.cls.__hash__ is None:
        raise DeclarationError(f"{where}: {item.fields.cls.__name__} is not hashable, so no set can hold it")
    if item.build is None:
        whole: Any = tuple[item.strict, ...] if maker is tuple else maker[item.strict]  # type: ignore[index,name-defined]
        lax: Any = tuple[item.lax, ...] if maker is tuple else maker[item.lax]  # type: ignore[index,name-defined]
    else:
        whole, lax = list[item.strict], list[item.lax]  # type: ignore[name-defined]
    return Node(
        strict=whole,
        lax=lax,
        build=_containers.build_items(item.build, maker),
        encode=_containers.encode_items(item.encode),
        decoded=(maker, list),
        encoded=(list, tuple, set, frozenset),
        keyed=item.keyed,
        item=item,
        unique=unique,
    )


def _maker(origin: Any) -> type:
    return set if origin in _SETS else frozenset if origin in _FROZEN_SETS else list


def _fixed_tuple(items: list[Node]) -> Node:
    return Node(
        strict=tuple[tuple(item.strict for item in items)],  # type: ignore[misc]
        lax=tuple[tuple(item.lax for item in items)],  # type: ignore[misc]
        build=_containers.build_each([item.build for item in items]),
        encode=_containers.encode_each([item.encode for item in items]),
        decoded=(tuple,),
        encoded=(tuple, list),
        keyed=any(item.keyed for item in items),
        items=tuple(items),
    )


def _entries(key: Any, value: Node, where: str, stack: tuple[type, ...]) -> Node:
    node = compile_node(key, where, stack)
    if node.build is not None or node.encode is not None:
        raise DeclarationError(f"{where}: the keys of a dict can be text, numbers or enums, nothing built from them")
    return Node(
        strict=dict[node.strict, value.strict],  # type: ignore[name-defined]
        lax=dict[node.lax, value.lax],  # type: ignore[name-defined]
        build=_containers.convert_values(value.build),
        encode=_containers.convert_values(value.encode),
        decoded=(dict,),
        encoded=(Mapping,),
        keyed=value.keyed or node.strict is not str,
        item=value,
        entries=True,
    )


def _leaf(annotation: Any, where: str) -> Node:
    if annotation is object:
        annotation = Any
    _check(annotation, where)
    kinds = (annotation,) if isinstance(annotation, type) else ()
    return Node(
        strict=annotation,
        lax=annotation,
        decoded=kinds,
        encoded=kinds,
        choices=_choices(annotation),
        # A dataclass, a Struct or a TypedDict is not looked into here, so it may hold any dict.
        keyed=not _choices(annotation) and bool(getattr(annotation, "__annotations__", None)),
    )


def _choices(annotation: Any) -> tuple[str, ...]:
    if typing.get_origin(annotation) is typing.Literal:
        return tuple(str(value) for value in typing.get_args(annotation) if value is not None)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return tuple(str(member.value) for member in annotation)
    return ()


_KNOWN: Final = frozenset({str, int, float, bool, bytes, None, type(None), Any, dict, list, tuple, set})


def _check(annotation: Any, where: str) -> None:
    if typing.get_origin(annotation) is None and annotation in _KNOWN:
        return
    # msgspec takes any class as a type of its own at declaration, and fails at the first value.
    try:
        info = msgspec.inspect.type_info(annotation)
        msgspec.json.Decoder(annotation)
    except Exception as error:
        raise DeclarationError(f"{where}: {error}") from None
    if isinstance(info, msgspec.inspect.CustomType):
        raise DeclarationError(f"{where}: JSON cannot carry a {info.cls.__name__}")


def _path(value: Any) -> str:
    if isinstance(value, pathlib.PurePath | str):
        return str(value)
    raise Misfit(f"expected a path, got {type(value).__name__}")


def _datetime(value: Any) -> str:
    """ISO 8601 in UTC with `Z` and milliseconds, the one form that times have on the wire (COMMANDS.md)."""
    if isinstance(value, str):
        return value
    if not isinstance(value, datetime.datetime):
        raise Misfit(f"expected a date and time, got {type(value).__name__}")
    if value.tzinfo is None:
        # A guess would be hours off for whoever meant the other of local time and UTC.
        raise Misfit("the date and time has no time zone")
    return value.astimezone(datetime.UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
