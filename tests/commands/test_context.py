"""Who may call what."""

from __future__ import annotations

import attrs
import pytest

from poppo_ipc.commands import Principal


@pytest.mark.parametrize(
    ("scopes", "scope", "allowed"),
    [
        (("*",), "anything.at.all", True),
        (("*",), "", True),
        ((), "a", False),
        (("task.*",), "task.list", True),
        (("task.*",), "task.output.tail", True),
        (("task.*",), "task", False),
        (("task.*",), "mytask.list", False),
        (("task.list",), "task.list", True),
        (("task.list",), "task.lists", False),
        (("task.list",), "Task.list", False),
        (("a.*", "b.?"), "b.x", True),
        (("a.*", "b.?"), "b.xy", False),
        (("a[", "b"), "b", True),
        (("task.list",), "task.list\n", False),
        (("task.list",), "taskxlist", False),
    ],
)
def test_scopes_are_globs(scopes: tuple[str, ...], scope: str, allowed: bool) -> None:
    assert Principal("p", scopes).allows(scope) is allowed


def test_a_lone_scope_is_not_taken_apart() -> None:
    principal = Principal("p", "task.*")
    assert principal.scopes == ("task.*",)
    assert not principal.allows("x")


def test_a_principal_is_a_value() -> None:
    assert Principal("p", ["a"]) == Principal("p", ("a",))
    assert len({Principal("p", ("a",)), Principal("p", ("a",)), Principal("p", ("a",), 1)}) == 2
    assert not attrs.evolve(Principal("p"), scopes=("a",)).allows("b")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Principal("p").name = "q"  # type: ignore[misc]
