"""Declaring, including, and finding commands and events."""

from __future__ import annotations

import difflib
from typing import Any

import attrs
import pytest

from poppo_ipc.commands import EventDeclaration, Principal, Router
from poppo_ipc.errors import DeclarationError


@attrs.frozen
class Added:
    """A thing was added.

    More of it.
    """

    thing_id: str


@attrs.frozen
class Removed:
    thing_id: str


def handler() -> None:
    """Do it.

    And more.
    """


async def outer(ctx: Any, call_next: Any) -> Any:
    return await call_next()


async def inner(ctx: Any, call_next: Any) -> Any:
    return await call_next()


def test_a_command_has_its_defaults() -> None:
    router = Router()
    assert router.command("a.b")(handler) is handler
    command = router.commands["a.b"]
    assert (command.name, command.summary, command.scope) == ("a.b", "Do it.", "a.b")
    assert (command.idempotent, command.hidden, command.streaming, command.requires) == (False, False, False, ())
    assert command.handler is handler


def test_a_command_has_what_was_said() -> None:
    router = Router()
    router.command("a", summary="S.", idempotent=True, scope="x.y", hidden=True, requires="queue")(handler)
    command = router.commands["a"]
    assert (command.summary, command.idempotent, command.scope) == ("S.", True, "x.y")
    assert (command.hidden, command.requires) == (True, ("queue",))


def test_a_handler_without_a_docstring_has_no_summary() -> None:
    router = Router()
    router.command("a")(lambda: None)
    router.command("b", summary="")(handler)
    assert [command.summary for command in router.commands.values()] == ["", ""]


@pytest.mark.parametrize("name", ["a", "a.b", "A-1_x.b2.c", "notify-project-change"])
def test_names_of_dotted_segments_are_taken(name: str) -> None:
    router = Router()
    router.command(name)(handler)
    router.event(name)
    assert list(router.commands) == list(router.events) == [name]


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a b", "ä", "a\n", "a/b", "*", None, 1])
def test_other_names_are_refused(name: Any) -> None:
    router = Router()
    with pytest.raises(DeclarationError, match="name"):
        router.command(name)
    with pytest.raises(DeclarationError, match="name"):
        router.event(name)
    with pytest.raises(DeclarationError, match="name"):
        EventDeclaration(name)


def test_a_second_command_of_a_name_is_refused_unless_it_replaces() -> None:
    router = Router()
    router.command("a")(handler)
    with pytest.raises(DeclarationError, match="a is declared twice"):
        router.command("a")(lambda: None)
    assert router.commands["a"].handler is handler
    router.command("a", replace=True, summary="new")(handler)
    assert router.commands["a"].summary == "new"


def test_the_views_cannot_be_changed() -> None:
    router = Router()
    with pytest.raises(TypeError):
        router.commands["a"] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        router.events["a"] = 1  # type: ignore[index]


def test_an_event_may_be_declared_again_with_the_same_type_alone() -> None:
    router = Router()
    event = router.event("added", Added)
    assert (event.name, event.data_type, event.summary) == ("added", Added, "A thing was added.")
    assert router.event("added", Added) is event
    with pytest.raises(DeclarationError, match="added is declared twice"):
        router.event("added", Removed)
    made = EventDeclaration("removed", Removed, "Gone.")
    assert router.event(made) is made
    assert router.event("plain", dict[str, Any]).summary == ""
    assert router.event("count", int, summary="S.").summary == "S."


def test_an_event_of_a_type_that_cannot_work_is_refused_where_it_is_declared() -> None:
    router = Router()
    with pytest.raises(DeclarationError, match="event bad: JSON cannot carry a complex"):
        router.event("bad", complex)


def test_middleware_goes_around_all_commands_in_order() -> None:
    router = Router()
    router.command("before")(handler)
    assert not router.commands["before"].middleware
    assert router.middleware(outer) is outer
    router.use(inner)
    router.command("after")(handler)
    assert router.commands["before"].middleware == (outer, inner)
    assert router.commands["after"].middleware == (outer, inner)


@pytest.mark.parametrize("middleware", [None, 1, handler, lambda ctx, call_next: call_next()])
def test_middleware_must_be_async(middleware: Any) -> None:
    with pytest.raises(DeclarationError, match="middleware"):
        Router().use(middleware)


def test_included_commands_and_events_get_the_prefix_and_keep_their_middleware_inside() -> None:
    part = Router()
    part.command("add")(handler)
    part.command("free", scope="other")(handler)
    part.event("added", Added)
    part.use(inner)
    whole = Router()
    whole.command("own")(handler)
    whole.include(part, prefix="project.")
    whole.use(outer)
    assert set(whole.commands) == {"own", "project.add", "project.free"}
    assert whole.commands["own"].middleware == (outer,)
    assert whole.commands["project.add"].middleware == (outer, inner)
    assert (whole.commands["project.add"].scope, whole.commands["project.free"].scope) == ("project.add", "other")
    assert whole.commands["project.add"].bind({}) == ((), {})
    assert set(whole.events) == {"project.added"}
    assert whole.events["project.added"].name == "project.added"
    assert whole.events["project.added"].encode(Added("t")) == {"thingId": "t"}


def test_a_router_that_was_included_is_closed() -> None:
    part, whole = Router(), Router()
    whole.include(part)
    for change in (
        lambda: part.command("a")(handler),
        lambda: part.event("a"),
        lambda: part.use(outer),
        lambda: part.include(Router()),
    ):
        with pytest.raises(DeclarationError, match="included already"):
            change()
    Router().include(part, prefix="again.")


def test_an_include_that_clashes_changes_nothing() -> None:
    part = Router()
    part.command("new")(handler)
    part.command("old")(handler)
    part.event("e", Added)
    whole = Router()
    whole.command("old")(handler)
    with pytest.raises(DeclarationError, match="old is declared twice"):
        whole.include(part)
    other = Router()
    other.event("e", Removed)
    with pytest.raises(DeclarationError, match="e is declared twice"):
        other.include(part)
    assert (list(whole.commands), list(whole.events), list(other.commands)) == (["old"], [], [])
    part.command("later")(handler)
    with pytest.raises(DeclarationError, match="name"):
        Router().include(part, prefix="no good ")
    with pytest.raises(DeclarationError, match="itself"):
        whole.include(whole)


def test_close_names_are_suggested_to_those_who_may_use_them() -> None:
    router = Router()
    for name in ("project.add", "project.list", "project.stop", "project.start", "queue.status"):
        router.command(name)(handler)
    router.command("project.ad", hidden=True)(handler)
    assert router.suggest("project.ad")[0] == "project.add"
    assert "project.ad" not in router.suggest("project.ad")
    assert len(router.suggest("project.sto")) <= 3
    assert router.suggest("zzz") == []
    assert router.suggest("project.ad", Principal("p", ("queue.*",)).allows) == []


def test_no_name_is_compared_whole_that_is_as_long_as_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison takes time by the square of the length."""
    compared: list[int] = []
    real = difflib.get_close_matches

    def close(word: str, *arguments: Any, **options: Any) -> list[str]:
        compared.append(len(word))
        return real(word, *arguments, **options)

    monkeypatch.setattr(difflib, "get_close_matches", close)
    router = Router()
    router.command("project.add")(handler)
    assert router.suggest("project.add" * 1_500_000) == []
    assert router.suggest("project.ad") == ["project.add"]
    assert compared == [128, 10]
