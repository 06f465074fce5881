"""From an error of msgspec to the misfit that a peer can act on: the keys it left out, the choices, a close name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from poppo_ipc.commands._misfit import Misfit
from poppo_ipc.commands._nodes import Node
from poppo_ipc.commands._text import ANY_KEY, Complaint, Kind, Segment, clip, read_complaint

__all__ = ["FAILURES", "explain", "text_for"]

#: What `msgspec.convert` and the building after it raise for a value that does not fit. A ValidationError is not a
#: ValueError in every release of msgspec.
FAILURES: Final = (msgspec.ValidationError, ValueError, TypeError, RecursionError)

#: Choices that an error lists; past these the schema is the place to look.
_CHOICES = 12


def explain(error: Exception, node: Node, value: Any, *, strict: bool) -> Misfit:
    """Explain why `value` is not one of `node`.

    Args:
        error: what `msgspec.convert` raised.
        node: what the value was to be.
        value: the JSON value.
        strict: whether unknown fields were refused.
    """
    if not isinstance(error, msgspec.ValidationError):
        # Not about the type: text that is not Unicode, a list in a set, nesting beyond any use.
        return Misfit("holds a value that cannot be used here")
    complaint = read_complaint(str(error))
    path = _with_keys(complaint, node, value, strict=strict)
    misfit = Misfit(complaint.problem, path, complaint.kind)
    if complaint.kind is Kind.UNKNOWN:
        misfit.suggestion = _close(str(path[-1]), _names(node, path[:-1]))
    elif complaint.choice:
        choices = [choice for found in _follow(node, path) for choice in found.choices]
        if choices and not complaint.key:
            more = ", …" if len(choices) > _CHOICES else ""
            misfit.problem = f"expected one of {', '.join(choices[:_CHOICES])}{more}"
    elif complaint.key:
        misfit.problem = f"its name is not valid: {complaint.problem}"
    misfit.text = text_for(node, path)
    return misfit


def text_for(node: Node, path: tuple[Segment, ...]) -> str | None:
    """The fixed text of the innermost field on the path that has one."""
    text = None
    for length in range(1, len(path) + 1):
        for parent in _follow(node, path[: length - 1]):
            field = parent.fields.by_wire.get(str(path[length - 1])) if parent.fields is not None else None
            if field is not None and field.info.message is not None:
                text = field.info.message
    return text


def _follow(node: Node, path: tuple[Segment, ...]) -> list[Node]:
    """The nodes at a path: several where a union is on the way."""
    found = [node]
    for segment in path:
        found = [inner for outer in _spread(found) for inner in _step(outer, segment)]
    return _spread(found)


def _spread(nodes: list[Node]) -> list[Node]:
    return [inner for node in nodes for inner in (_spread(list(node.options)) if node.options else [node])]


def _step(node: Node, segment: Segment) -> list[Node]:
    if node.fields is not None:
        field = node.fields.by_wire.get(str(segment))
        return [] if field is None else [field.node]
    if node.items:
        return [node.items[segment]] if isinstance(segment, int) and segment < len(node.items) else []
    return [] if node.item is None else [node.item]


def _names(node: Node, path: tuple[Segment, ...]) -> list[str]:
    return [name for found in _follow(node, path) if found.fields is not None for name in found.fields.by_wire]


def _close(name: str, names: list[str]) -> str | None:
    # Compared without case, since one that differs in it alone is the closest of all.
    folded = {known.casefold(): known for known in names}
    wanted = clip(name).casefold()
    close = difflib.get_close_matches(wanted, folded, n=1)
    return folded[close[0]] if close else None


def _with_keys(complaint: Complaint, node: Node, value: Any, *, strict: bool) -> tuple[Segment, ...]:
    """The path with the keys that msgspec leaves out."""
    path, key = list(complaint.path), complaint.key
    for position, segment in enumerate(complaint.path):
        if segment is ANY_KEY:
            name = _guilty_key(complaint, position, node, _at(value, path[:position]), tuple(path[:position]), strict)
            if name is None:
                return tuple(path)
            path[position] = name
    if key:
        name = _guilty_key(complaint, len(path), node, _at(value, path), tuple(path), strict)
        path += [name] if name is not None else []
    return tuple(path)


def _at(value: Any, path: list[Segment]) -> Any:
    try:
        for segment in path:
            value = value[segment]
    except (LookupError, TypeError):
        return None
    return value


def _guilty_key(
    complaint: Complaint, position: int, node: Node, entries: Any, path: tuple[Segment, ...], strict: bool
) -> str | None:
    """The key of the first entry that is complained of: the last one of the shortest beginning that gets the complaint.

    Found by halving, since each try is a conversion: a dict of a million entries takes twenty.
    """
    nodes = [found for found in _follow(node, path) if found.entries]
    if not isinstance(entries, Mapping) or not nodes:
        return None
    wanted = complaint.path[position:]
    target = nodes[0].strict if strict else nodes[0].lax
    items = list(entries.items())

    def guilty(count: int) -> bool:
        try:
            msgspec.convert(dict(items[:count]), type=target, str_keys=True)
        except msgspec.ValidationError as error:
            found = read_complaint(str(error))
            return found.path == wanted and found.problem == complaint.problem
        except Exception:
            # It fails, but not as what is sought does.
            return False
        return False

    low, high = 0, len(items)
    if not guilty(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if guilty(middle) else (middle, high)
    return str(items[high - 1][0])
