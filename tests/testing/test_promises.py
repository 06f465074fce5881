"""A test can promise only what a daemon could do, and is told at its own line."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from poppo_ipc import Context, Event, NotFound, Router
from poppo_ipc.commands.standard import ProjectAddResult, ProjectRef
from poppo_ipc.testing import FakeDaemon, Mispromise, standard_router

from .answers import ADDED, DONE, PATH

Promise = Callable[[FakeDaemon], Any]

PROJECT = {"id": "p1", "name": "blog", "path": PATH, "status": "active", "enabled": True, "lastActivity": None}

WRONG: dict[str, tuple[Promise, str]] = {
    "no such command": (
        lambda d: d.on("projct.add"),
        "no daemon has a command 'projct.add'; did you mean 'project.add'?",
    ),
    "a built-in one": (lambda d: d.on("ipc.describe"), "ipc.describe is answered by the server itself"),
    "no such argument": (
        lambda d: d.on("project.add", pth=1),
        "project.add has no argument 'pth'; did you mean 'path'?",
    ),
    "python's name": (lambda d: d.on("project.stop", project_id=1), "did you mean 'projectId'?"),
    "missing": (
        lambda d: d.on("project.add").reply({"message": "x", "project": {"id": "1", "name": "n"}}),
        "the result of project.add does not fit: project.path: is missing",
    ),
    "wrong type": (
        lambda d: d.on("project.list").reply({"count": 1, "projects": [{**PROJECT, "id": 5}]}),
        "the result of project.list does not fit: projects[0].id: expected a string, got an integer",
    ),
    "wrong time": (
        lambda d: d.on("project.list").reply({"count": 1, "projects": [{**PROJECT, "lastActivity": "today"}]}),
        "projects[0].lastActivity: expected a date and time such as 2030-01-31T12:00:00Z",
    ),
    "unknown field": (
        lambda d: d.on("queue.pause").reply({**DONE, "mesage": 1}),
        "mesage: is unknown; did you mean 'message'?",
    ),
    "not an object": (lambda d: d.on("queue.pause").reply([]), "does not fit: expected Done, got list"),
    "no JSON": (
        lambda d: d.on("metrics.get").reply({"type": None, "period": "5m", "metrics": object()}),
        "the result of metrics.get is not JSON",
    ),
    "an instance of another class": (lambda d: d.on("queue.pause").reply(ProjectRef("1", "2", "3")), "does not fit"),
    "no stream": (lambda d: d.on("queue.pause").stream([1]), "queue.pause does not stream: say .reply"),
    "wrong item": (
        lambda d: d.on("task.output").stream([{"text": "a"}, {"text": 1}]),
        "item 1 of task.output does not fit: text: expected a string, got an integer",
    ),
    "no closing result": (lambda d: d.on("task.output").stream([]), "say .stream([...], result=...)"),
    "a code that is none": (lambda d: d.on("queue.pause").fail("not found"), "'not found' is no code of an error"),
    "two answers": (lambda d: d.on("queue.pause").reply(DONE).fail("BUSY"), "say .then before the next one"),
    "then before an answer": (lambda d: d.on("queue.pause").then, "has no answer yet"),
    "then after always": (lambda d: d.on("queue.pause").reply(DONE).always().then, "always gives the answer"),
    "never": (lambda d: d.on("queue.pause").reply(DONE).times(0), "times(0) expects nothing"),
    "no such event": (lambda d: d.emit("task.completd"), "no daemon has an event 'task.completd'"),
    "wrong event": (lambda d: d.emit("task.started", {"taskId": "t"}), "task.started does not fit: type: is missing"),
    "wrong event of an answer": (lambda d: d.on("queue.pause").emit("task.started", {}), "taskId: is missing"),
    "asserting what there is not": (lambda d: d.assert_not_called("queue.paus"), "did you mean 'queue.pause'?"),
}


@pytest.mark.parametrize("promise", WRONG)
def test_what_no_daemon_does_cannot_be_promised(promise: str) -> None:
    do, said = WRONG[promise]
    with FakeDaemon(assert_all_called=False) as daemon:
        with pytest.raises(Mispromise) as raised:
            do(daemon)
        assert said in str(raised.value)
        assert not daemon.calls


def test_the_error_points_at_the_line_of_the_test() -> None:
    with FakeDaemon(assert_all_called=False) as daemon, pytest.raises(Mispromise) as raised:
        daemon.on("queue.pause").reply({"count": 1})
    shown = [entry for entry in raised.traceback if not entry.ishidden(raised)]
    assert len(shown) == 1
    assert 'reply({"count": 1})' in str(shown[0].statement)
    assert len(traceback.extract_tb(raised.tb)) > 1


def test_what_fits_is_sent_as_it_was_promised() -> None:
    listed = {"count": 1, "projects": [PROJECT]}
    with FakeDaemon() as daemon, daemon.client() as client:
        daemon.on("project.list").reply(listed)
        assert client.call("project.list") == listed
        daemon.on("project.add").reply(ProjectAddResult(ADDED["message"], ProjectRef("p1", "blog", PATH)))
        assert client.call("project.add", path=PATH) == ADDED
        now = datetime.datetime(2030, 1, 31, tzinfo=datetime.UTC)
        daemon.on("daemon.metrics").reply({"timestamp": now, "metrics": {}})
        assert client.call("daemon.metrics")["timestamp"] == "2030-01-31T00:00:00Z"


def test_unchecked_promises_are_sent_whatever_they_are() -> None:
    with FakeDaemon() as daemon, daemon.client() as client:
        daemon.on("queue.pause").reply(["nonsense"], unchecked=True)
        assert client.call("queue.pause") == ["nonsense"]
        daemon.on("task.output").stream([1, 2], unchecked=True)
        assert list(client.stream("task.output", taskId="t")) == [1, 2]
        events = client.subscribe("**")
        daemon.emit("never.heard-of", {"a": 1}, unchecked=True)
        daemon.emit("task.started", {"a": 1}, unchecked=True)
        first, second = next(events), next(events)
        assert isinstance(first, Event)
        assert isinstance(second, Event)
        assert [first.name, second.data] == ["never.heard-of", {"a": 1}]


# -- an author's own commands -------------------------------------------------------------------------------------


@attrs.frozen
class Album:
    name: str
    photo_count: int = 0


@pytest.fixture
def router() -> Router:
    own = Router()
    own.event("album.made", Album)

    @own.command("album.make")
    async def make(ctx: Context, name: str, tags: list[str] | None = None) -> Album:
        raise AssertionError("the real handler is never run")

    @own.command("album.free")
    def free(args: dict[str, Any]) -> Any:
        raise AssertionError("the real handler is never run")

    return own


def test_a_router_of_ones_own_takes_the_place_of_the_standard(router: Router) -> None:
    with FakeDaemon(router, assert_all_called=False) as daemon, daemon.client() as client:
        with pytest.raises(Mispromise, match=r"no daemon has a command 'queue\.pause'"):
            daemon.on("queue.pause")
        with pytest.raises(Mispromise, match="photoCount: expected an integer, got a string"):
            daemon.on("album.make").reply({"name": "a", "photoCount": "1"})
        with pytest.raises(Mispromise, match="name: is missing"):
            daemon.emit("album.made", {})
        daemon.on("album.make", name="a").emit("album.made", Album("a")).reply(Album("a", 3))
        events = client.subscribe("album.*")
        assert client.call("album.make", name="a") == {"name": "a", "photoCount": 3}
        event = next(events)
        assert isinstance(event, Event)
        assert event.data == {"name": "a", "photoCount": 0}


def test_the_standard_and_ones_own_together(router: Router) -> None:
    with FakeDaemon([standard_router(), router]) as daemon, daemon.client() as client:
        daemon.on("queue.pause").reply(DONE)
        daemon.on("album.make", name="a").reply(Album("a", 3))
        daemon.on("album.free", whatever=1).reply({"anything": [1]})
        events = client.subscribe("album.*")
        assert client.call("queue.pause") == DONE
        assert client.call("album.make", name="a") == {"name": "a", "photoCount": 3}
        assert client.call("album.free", whatever=1, more=2) == {"anything": [1]}
        daemon.emit("album.made", Album("a"))
        event = next(events)
        assert isinstance(event, Event)
        assert event.data == {"name": "a", "photoCount": 0}


def test_the_fake_describes_what_it_stands_for(router: Router) -> None:
    with FakeDaemon([standard_router(), router]) as daemon, daemon.client() as client:
        described = {each["name"]: each for each in client.call("ipc.describe")["commands"]}
    assert set(described["album.make"]["args"]["properties"]) == {"name", "tags"}
    assert described["album.make"]["result"]["properties"]["photoCount"]["type"] == "integer"
    assert described["task.output"]["streaming"]
    assert described["task.output"]["item"]["required"] == ["text"]
    assert {"events.subscribe", "ipc.describe", "project.add"} <= set(described)


def test_a_router_can_be_used_for_many_daemons(router: Router) -> None:
    for _ in range(2):
        with FakeDaemon(router) as daemon, daemon.client() as client:
            daemon.on("album.make").fail(NotFound("no"))
            with pytest.raises(NotFound):
                client.call("album.make", name="a")
