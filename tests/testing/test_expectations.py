"""What a fake daemon answers, and which expectation takes a call."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from poppo_ipc import CommandError, Conflict, Event, InternalError, InvalidArgs, NotFound, SyncClient, UnknownCommand
from poppo_ipc.testing import ABSENT, ANY, Call, FakeDaemon, partial

from .answers import ADDED, DONE, ENDED, PATH, STARTED
from .failing import unmet


def test_a_reply() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("project.add", path=PATH).reply(ADDED)
        assert client.call("project.add", path=PATH) == ADDED
    daemon.assert_called_once_with("project.add", path=PATH)


def test_a_failure_by_code_and_as_an_error() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("project.remove").fail("NOT_FOUND", "No project p9", {"projectId": "p9"}).then.fail(Conflict("busy"))
        daemon.on("queue.pause").fail("MY_OWN")
        with pytest.raises(NotFound, match="No project p9") as raised:
            client.call("project.remove", projectId="p9")
        assert raised.value.details == {"projectId": "p9"}
        with pytest.raises(Conflict, match="busy"):
            client.call("project.remove", projectId="p9")
        with pytest.raises(CommandError, match="MY_OWN by the test") as own:
            client.call("queue.pause")
        assert own.value.code == "MY_OWN"


def test_a_stream_with_its_result() -> None:
    printed = [{"text": "a"}, {"text": "b", "stream": "stderr"}]
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("task.output", taskId="t1").stream(printed, result=ENDED)
        items = client.stream("task.output", taskId="t1")
        assert list(items) == printed
        assert items.result == ENDED


def test_a_stream_that_fails_in_its_middle() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("task.output").stream([{"text": "a"}, NotFound("it was deleted")])
        items = client.stream("task.output", taskId="t1")
        assert next(items) == {"text": "a"}
        with pytest.raises(NotFound, match="it was deleted"):
            next(items)


def test_a_long_stream_waits_for_its_reader() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("task.output").stream([{"text": str(number)} for number in range(500)], result=ENDED)
        got = [item["text"] for item in client.stream("task.output", taskId="t1", credit=2)]
    assert got == [str(number) for number in range(500)]


def test_a_function_answers() -> None:
    def added(call: Call) -> Any:
        return {**ADDED, "project": {**ADDED["project"], "path": call.args["path"]}}

    async def refused(call: Call) -> Any:
        await trio.lowlevel.checkpoint()
        raise Conflict(f"{call.args['path']} is there already")

    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("project.add").call(added).then.call(refused)
        assert client.call("project.add", path="/a")["project"]["path"] == "/a"
        with pytest.raises(Conflict, match="/b is there already"):
            client.call("project.add", path="/b")


def test_a_function_streams() -> None:
    async def printed(call: Call) -> AsyncIterator[Any]:
        for text in "ab":
            yield {"text": f"{call.args['taskId']}{text}"}

    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("task.output").call(printed)
        assert [item["text"] for item in client.stream("task.output", taskId="t")] == ["ta", "tb"]


def test_what_a_function_gives_has_to_fit_too() -> None:
    text = r"project\.add\(path='/a'\) gave: .* project\.path: is missing"
    with unmet(text) as daemon, SyncClient() as client:
        daemon.on("project.add").call(lambda call: {"message": "", "project": {"id": "1", "name": "2"}})
        with pytest.raises(InternalError):
            client.call("project.add", path="/a")


def test_a_function_that_raises_fails_the_test() -> None:
    with unmet(r"the function for queue\.pause\(\) raised ZeroDivisionError") as daemon, SyncClient() as client:
        daemon.on("queue.pause").call(lambda call: 1 / 0)
        with pytest.raises(InternalError):
            client.call("queue.pause")


def test_a_function_may_use_the_daemon_it_answers_for() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:

        def pause(call: Call) -> Any:
            daemon.emit("task.started", STARTED)
            daemon.faults.drop_after_reply(1)
            return DONE

        daemon.on("queue.pause").call(pause)
        events = client.subscribe("task.*")
        assert client.call("queue.pause") == DONE
        event = next(events)
        assert isinstance(event, Event)
        assert event.data == STARTED


def test_events_come_before_the_answer() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("queue.pause").emit("task.started", STARTED).emit("daemon.started", {"pid": 1}).reply(DONE)
        events = client.subscribe("**", timeout=0)
        client.call("queue.pause")
        assert [isinstance(event, Event) and event.name for event in events] == ["task.started", "daemon.started"]


def test_each_answer_is_for_one_call_unless_told_otherwise() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("queue.pause").reply({"message": "1"}).times(2).then.fail("BUSY").then.reply(
            {"message": "3"}
        ).always()
        said = []
        for _ in range(6):
            try:
                said.append(client.call("queue.pause")["message"])
            except CommandError as error:
                said.append(error.code)
    assert said == ["1", "1", "BUSY", "3", "3", "3"]


def test_the_first_expectation_that_fits_and_is_not_used_up_takes_a_call() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("queue.pause", queue="a").reply({"message": "a"})
        daemon.on("queue.pause").reply({"message": "any"})
        daemon.on("queue.pause", queue=re.compile("^b")).reply({"message": "b"})
        daemon.on("queue.pause", queue=ABSENT).reply({"message": "none"})
        said = [
            client.call("queue.pause", args)["message"]
            for args in ({"queue": "bb"}, {"queue": "b"}, {}, {"queue": "a"})
        ]
    assert said == ["any", "b", "none", "a"]


@pytest.mark.parametrize(
    ("expected", "args", "fits"),
    [
        ({"path": PATH}, {"path": PATH, "name": "blog"}, True),
        ({"config": partial(retries=3)}, {"path": PATH, "config": {"retries": 3, "more": 1}}, True),
        ({"config": {"retries": 3}}, {"path": PATH, "config": {"retries": 3, "more": 1}}, False),
        ({"name": None}, {"path": PATH}, True),  # its default
        ({"name": ANY}, {"path": PATH}, False),
        ({"name": ABSENT}, {"path": PATH, "name": None}, True),
        ({"name": ABSENT}, {"path": PATH, "name": "blog"}, False),
        ({"path": lambda path: path.startswith("/srv")}, {"path": PATH}, True),
        ({"path": lambda path: path.startswith("/var")}, {"path": PATH}, False),
    ],
)
def test_arguments_are_matched(expected: dict[str, Any], args: dict[str, Any], fits: bool) -> None:
    with FakeDaemon(assert_all_called=False, allow_unexpected=True) as daemon, SyncClient() as client:
        daemon.on("project.add", expected).reply(ADDED)
        if fits:
            assert client.call("project.add", args) == ADDED
        else:
            with pytest.raises(CommandError) as raised:
                client.call("project.add", args)
            assert raised.value.code == "UNEXPECTED_CALL"


def test_a_predicate_that_raises_fails_the_test() -> None:
    with unmet(r"an argument of queue\.pause could not be compared: TypeError") as daemon, SyncClient() as client:
        daemon.on("queue.pause", queue=lambda queue: queue < 3).reply(DONE)
        with pytest.raises(InternalError):
            client.call("queue.pause", queue="a")


# -- what a daemon refuses by itself --------------------------------------------------------------------------------


def test_arguments_that_a_daemon_refuses_are_refused_and_fail_the_test() -> None:
    text = r"unexpected: project\.add\(name='x'\): its args are refused: Project path required"
    with unmet(text, assert_all_called=False) as daemon, SyncClient() as client:
        daemon.on("project.add").reply(ADDED)
        with pytest.raises(InvalidArgs, match="Project path required"):
            client.call("project.add", name="x")


def test_a_promised_failure_is_given_for_any_arguments() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("project.add").fail("INVALID_ARGS", "Write a path")
        with pytest.raises(InvalidArgs, match="Write a path"):
            client.call("project.add")


def test_an_unknown_command_is_refused_and_fails_the_test() -> None:
    text = r"unexpected: projct\.add\(path='/a'\): no daemon has this command"
    with unmet(text), SyncClient() as client, pytest.raises(UnknownCommand) as raised:
        client.call("projct.add", path="/a")
    assert raised.value.details is not None
    assert "project.add" in raised.value.details["suggestions"]


# -- calls ----------------------------------------------------------------------------------------------------------


def test_the_calls_that_came() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("project.add").reply(ADDED).always()
        daemon.on("queue.pause").reply(DONE)
        client.call("project.add", path="/a", idempotency_key="k")
        client.call("queue.pause")
        client.call("project.add", path="/b", name="b")
        client.call("ipc.describe")
        calls = daemon.calls
    assert calls.commands == ["project.add", "queue.pause", "project.add"]
    assert len(calls["project.add"]) == 2
    assert calls["project.add"].first.args == {"path": "/a"}
    assert calls.first.idempotency_key == "k"
    assert str(calls.last) == "project.add(path='/b', name='b')"
    assert calls[1:].commands == ["queue.pause", "project.add"]
    assert [call.number for call in calls] == [1, 2, 3]
    assert calls["task.list"].commands == []
    with pytest.raises(AssertionError, match=r"no call number -1 of task\.list; calls: none"):
        _ = calls["task.list"].last


def test_assertions_that_hold() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.assert_not_called()
        daemon.on("project.remove").reply({"message": "gone"}).times(2)
        client.call("project.remove", projectId="p1", force=False)
        daemon.assert_called_once("project.remove")
        daemon.assert_called_once_with("project.remove", projectId="p1")
        daemon.assert_called_with("project.remove", {"projectId": "p1", "force": False})
        client.call("project.remove", projectId="p2", force=True)
        daemon.assert_called("project.remove")
        daemon.assert_called_with("project.remove", projectId=ANY, force=True)
        daemon.assert_not_called("project.add")


def test_assertions_that_do_not_hold_show_the_difference() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("project.add").reply(ADDED).times(2)
        client.call("project.add", path="/a", config={"retries": 3})
        with pytest.raises(AssertionError) as raised:
            daemon.assert_called_once_with("project.add", path="/b", name="b", config={"retries": 4, "x": 1})
        assert str(raised.value).splitlines() == [
            "project.add was called with other arguments",
            "  expected project.add(path='/b', name='b', config={'retries': 4, 'x': 1})",
            "  got      project.add(path='/a', config={'retries': 3})",
            "    path: expected '/b', got '/a'",
            "    name: expected 'b', got None",
            "    config.retries: expected 4, got 3",
            "    config.x: expected 1, was not given",
        ]
        with pytest.raises(AssertionError, match=r"config: not expected, got \{'retries': 3\}"):
            daemon.assert_called_with("project.add", path="/a")
        with pytest.raises(AssertionError, match=r"queue\.pause was not called; calls: project\.add"):
            daemon.assert_called("queue.pause")
        with pytest.raises(AssertionError, match=r"project\.add was called; calls: project\.add"):
            daemon.assert_not_called("project.add")
        with pytest.raises(AssertionError, match="the daemon was called"):
            daemon.assert_not_called()
        client.call("project.add", path="/a")
        with pytest.raises(AssertionError, match="called 2 times and not once"):
            daemon.assert_called_once("project.add")


# -- waiting --------------------------------------------------------------------------------------------------------


def test_waiting_gives_up_with_what_came() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("queue.pause").reply(DONE)
        client.call("queue.pause")
        daemon.wait_for_call("queue.pause")
        began = time.monotonic()
        with pytest.raises(
            AssertionError, match=r"2 of queue\.pause did not come within 0\.01 s; calls: queue\.pause\(\)"
        ):
            daemon.wait_for_call("queue.pause", 2, timeout=0.01)
        with pytest.raises(AssertionError, match=r"a subscription to 'task\.\*' did not come"):
            daemon.wait_until_subscribed("task.*", timeout=0.01)
        assert time.monotonic() - began >= 0.02
        client.subscribe("task.*", "x.*")
        daemon.wait_until_subscribed("task.*")
        daemon.wait_until_subscribed()
