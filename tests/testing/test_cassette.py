"""Recording a daemon once, and playing it from then on: the same to every client, and a clear word where it is not."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from poppo_ipc import CommandError, Event, SyncClient, connect
from poppo_ipc.testing import Cassette, CassetteError, FakeDaemon, RealDaemon, run_cli
from poppo_ipc.testing.conformance._target import Settings, Target

from .answers import ADDED, DONE, PATH, STARTED
from .clients import RUNNERS, AnyClient
from .preloaded import PRELOADED as PRELOADED
from .programs.click_blog import blog

pytest_plugins = ["pytester"]

LATER = "2099-01-01T00:00:00.000Z"
Scenario = Callable[[AnyClient], Awaitable[Any]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "it.json"


def messages(file: Path) -> list[dict[str, Any]]:
    rows = [row for connection in json.loads(file.read_text())["connections"] for row in connection]
    return [message for row in rows for message in row.values() if isinstance(message, dict)]


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_was_recorded_is_played_without_a_daemon(file: Path, tmp_path: Path, runner: str) -> None:
    async def scenario(client: AnyClient) -> Any:
        async with client.subscribe("project.*") as events:
            added = await client.call("project.add", path=str(tmp_path))
            event = await anext(events)
            assert isinstance(event, Event)
            assert event.data["projectId"] == added["project"]["id"]
        with pytest.raises(CommandError, match="There is no project nope"):
            await client.call("project.remove", projectId="nope")
        listed = await client.call("project.list")
        assert listed["projects"][0]["id"] == added["project"]["id"]
        status = await client.call("project.status", projectId=added["project"]["id"])
        return listed, status["path"]

    results = []
    for recording in (True, False, False):
        with Cassette(file, replace={str(tmp_path): "<home>"}) as cassette:
            assert cassette.recording is recording
            results.append(RUNNERS[runner](scenario))
    assert results[1] == results[2]
    assert results[0][1] == results[1][1] == str(tmp_path)
    assert str(tmp_path) not in file.read_text()


def test_a_recording_of_the_same_is_the_same(file: Path) -> None:
    """Tokens, nonces, ids and times are none of the file."""

    def scenario() -> None:
        with SyncClient() as client:
            task = client.call("task.submit", type="command", payload={"argv": ["true"]}, runAt=LATER)["taskId"]
            assert client.call("task.status", taskId=task)["id"] == task
            client.call("task.cancel", taskId=task)

    texts = []
    for _ in range(2):
        with RealDaemon(set_environment=False) as daemon, Cassette(file, mode="all", upstream=daemon):
            scenario()
        texts.append(file.read_text())
        assert daemon.token not in texts[-1]
    assert texts[0] == texts[1]
    with Cassette(file):
        scenario()


def test_a_changed_request_fails_and_says_in_what(file: Path) -> None:
    for path, fails in ((PATH, False), ("/srv/shop", True)):
        with FakeDaemon(assert_all_called=False) as daemon:
            daemon.on("project.add").reply(ADDED)
            cassette = Cassette(file, upstream=daemon)
            cassette.start()
            ran = run_cli(blog, ["add", path])
            cassette.stop()
        assert ran.exit_code == fails
    with pytest.raises(CassetteError) as raised:
        cassette.verify()
    assert str(raised.value).splitlines() == [
        f"{file}: the program did something else (if that is meant, record it again with --poppo-record=all)",
        "the program asked project.add(path='/srv/shop'), which the cassette does not have; "
        "the nearest is project.add(path='/srv/blog'):",
        "  args.path: expected '/srv/blog', got '/srv/shop'",
        "never came: project.add(path='/srv/blog')",
    ]


def recorded_pause(file: Path) -> None:
    with FakeDaemon() as daemon, Cassette(file, upstream=daemon) as cassette:
        daemon.on("queue.pause").reply(DONE)
        with cassette.client() as client:
            client.call("queue.pause")


def test_a_request_that_does_not_come_fails_unless_that_is_allowed(file: Path) -> None:
    recorded_pause(file)
    with pytest.raises(CassetteError, match=r"never came: queue\.pause\(\)"), Cassette(file):
        pass
    with Cassette(file, assert_all_played=False):
        pass


def test_a_request_that_comes_too_often_fails(file: Path) -> None:
    recorded_pause(file)
    cassette = Cassette(file).start()
    with cassette.client() as client:
        client.call("queue.pause")
        with pytest.raises(CommandError, match="does not have"):
            client.call("queue.pause")
    cassette.stop()
    with pytest.raises(CassetteError, match="all that it has was asked before"):
        cassette.verify()


def test_modes(file: Path) -> None:
    with pytest.raises(CassetteError, match="there is no cassette"):
        Cassette(file, mode="none").start()
    with pytest.raises(ValueError, match="there is no mode 'some'"):
        Cassette(file, mode="some")
    recorded_pause(file)
    before = file.read_text()
    with Cassette(file, mode="none") as cassette, cassette.client() as client:
        assert client.call("queue.pause") == DONE

    with FakeDaemon() as daemon:  # what is there is played, what is not is asked and kept
        daemon.on("queue.resume").reply({"message": "Queue all resumed"})
        with Cassette(file, mode="new", upstream=daemon) as cassette, cassette.client() as client:
            assert client.call("queue.pause") == DONE
            assert client.call("queue.resume")["message"] == "Queue all resumed"
    assert file.read_text() != before
    with Cassette(file) as cassette, cassette.client() as client:
        assert client.call("queue.pause") == DONE
        assert client.call("queue.resume")["message"] == "Queue all resumed"

    with FakeDaemon() as daemon, Cassette(file, mode="all", upstream=daemon) as cassette:
        daemon.on("queue.resume").reply(DONE)
        with cassette.client() as client:
            client.call("queue.resume")
    assert [each["command"] for each in messages(file) if each["type"] == "command"] == ["queue.resume"]


def test_a_failed_test_keeps_nothing(file: Path) -> None:
    with FakeDaemon() as daemon, pytest.raises(RuntimeError, match="broken"), Cassette(file, upstream=daemon):
        raise RuntimeError("broken")
    assert not file.exists()


def test_a_file_that_is_no_cassette(file: Path) -> None:
    file.parent.mkdir()
    for text in ("", "[]", '{"cassette": 1, "connections": [[{"nobody": {}}]]}', '{"cassette": 9, "connections": []}'):
        file.write_text(text)
        with pytest.raises(CassetteError, match=r"no cassette|another format"):
            Cassette(file).start()


def test_it_decorates_plain_and_async_functions(file: Path) -> None:
    recorded_pause(file)

    @Cassette(file)
    def plain(cassette: Cassette) -> Any:
        with cassette.client() as client:
            return client.call("queue.pause")

    @Cassette(file)
    async def concurrent() -> Any:
        async with connect() as client:
            return await client.call("queue.pause")

    assert plain() == plain() == trio.run(concurrent) == DONE


def test_secrets_and_what_the_program_makes_anew(file: Path) -> None:
    for _ in range(2):
        with (
            FakeDaemon(assert_all_called=False) as daemon,
            Cassette(file, upstream=daemon, secrets=["pin"]) as cassette,
        ):
            daemon.on("project.add").call(
                lambda call: {"message": "added", "project": {"id": "p", "name": call.args["name"], "path": PATH}}
            )
            name = str(uuid.uuid4())
            with cassette.client() as client:
                config = {"pin": f"pin-of-{name}", "token": f"token-of-{name}"}
                added = client.call("project.add", path=PATH, name=name, config=config)
                assert added["project"]["name"] == name
        assert "-of-" not in file.read_text()
        assert '"<uuid-1>"' in file.read_text()


@pytest.mark.parametrize("recorded_credit", [4, 64])
def test_streams_keep_to_the_credit_that_they_have(file: Path, recorded_credit: int) -> None:
    """A client that takes items at another pace than the recorded one gets the same."""
    lines = [{"text": str(number)} for number in range(200)]
    with FakeDaemon() as daemon, Cassette(file, upstream=daemon) as cassette:
        daemon.on("task.output").stream(lines, result={"taskId": "t1", "status": "completed"})
        with cassette.client(stream_credit=recorded_credit) as client:
            texts = [line["text"] for line in client.stream("task.output", taskId="t1")]
    assert texts == [str(number) for number in range(200)]
    for credit in (1, 7, 1000):
        with Cassette(file) as cassette, cassette.client(stream_credit=credit) as client:
            assert [line["text"] for line in client.stream("task.output", taskId="t1")] == texts
    with Cassette(file) as cassette, cassette.client(stream_credit=2) as client:
        stream = client.stream("task.output", taskId="t1")
        assert next(stream)["text"] == "0"
    with Cassette(file) as cassette:
        target = Target(Settings(address=cassette.address, token=cassette.token, patience=30))
        peer = target.client("stream", "ping")
        peer.ask("task.output", "few", args={"taskId": "t1"}, credit=2)
        kinds = [peer.next("an item")["type"] for _ in range(2)]
        peer.send(type="ping", id="no more?")
        kinds.append(peer.next("the pong")["type"])
        target.end()
    assert kinds == ["item", "item", "pong"]


def test_several_connections_and_tasks_at_once(file: Path) -> None:
    async def main() -> list[Any]:
        found = []

        async def ask(number: int) -> None:
            async with connect() as client:
                found.append(await client.call("queue.pause", queue=f"a{number}"))
                found.append(await client.call("queue.pause", queue=f"b{number}"))

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(ask, number)
        return found

    for _ in range(3):
        with FakeDaemon(assert_all_called=False) as daemon, Cassette(file, upstream=daemon):
            daemon.on("queue.pause").call(lambda call: {"message": f"Queue {call.args['queue']} paused"}).times(10)
            assert len(trio.run(main)) == 10


def test_a_cancelled_call(file: Path) -> None:
    async def main(daemon: FakeDaemon | None) -> Any:
        async with connect() as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.call, "queue.pause")
                if daemon is not None:
                    await trio.to_thread.run_sync(daemon.wait_for_call, "queue.pause")
                else:
                    await trio.testing.wait_all_tasks_blocked(0.05)
                nursery.cancel_scope.cancel()
            return await client.call("queue.resume")

    with FakeDaemon() as daemon, Cassette(file, upstream=daemon):
        daemon.on("queue.pause").reply(DONE).delay(3600)
        daemon.on("queue.resume").reply(DONE)
        assert trio.run(main, daemon) == DONE
    kinds = [each["type"] for each in messages(file)]
    # Its own answer may come behind that of the next call, and then nobody is there to hear it.
    assert kinds.count("cancel") == 1
    with Cassette(file):
        assert trio.run(main, None) == DONE


def test_programs_in_processes(file: Path) -> None:
    program = Path(__file__).parent / "programs" / "click_blog.py"
    outputs = []
    for recording in (True, False):
        with FakeDaemon(assert_all_called=recording) as daemon, Cassette(file, upstream=daemon):
            daemon.on("project.add").reply(ADDED)
            daemon.on("project.list").reply({"count": 0, "projects": []})
            outputs.append([run_cli(program, ["add", PATH]), run_cli([sys.executable, str(program), "list", "--json"])])
    assert outputs[0] == outputs[1]
    assert all(each.ok for each in outputs[0])


def test_an_original_client_gets_its_events_when_it_did(file: Path) -> None:
    for recording in (True, False):
        with (
            FakeDaemon(assert_all_called=recording) as daemon,
            Cassette(file, upstream=daemon) as cassette,
            cassette.client(capabilities=()) as client,
        ):
            daemon.on("queue.pause").emit("task.started", STARTED).reply(DONE)
            events = client.subscribe("task.*", timeout=30)
            assert client.call("queue.pause") == DONE
            event = next(events)
            assert isinstance(event, Event)
            assert event.data == STARTED
    kinds = [each["type"] for each in messages(file)]
    assert kinds == ["welcome", "auth", "auth-success", "command", "event", "response"]


def test_a_client_that_only_listens_gets_what_it_got(file: Path) -> None:
    """Nothing of the client's comes before such an event, so it is played as soon as the client is let in."""
    heard = []
    token: str | None = None
    for recording in (True, False):
        with FakeDaemon() as daemon, Cassette(file, upstream=daemon) as cassette:
            target = Target(Settings(address=cassette.address, token=cassette.token, patience=30))
            listener = target.original()
            if recording:
                daemon.emit("task.started", STARTED)
            heard.append(listener.next_event("the event")["data"])
            target.end()
            token = daemon.token if recording else token
    assert heard == [STARTED, STARTED]
    # The token went over the wire here, and not into the file.
    assert token
    assert token not in file.read_text()
    assert '"token": "<token>"' in file.read_text()


def test_events_are_numbered_from_one_however_many_there_were_before(file: Path) -> None:
    """A worker more that was told of before the client came made another file of it."""

    def scenario(cassette: Cassette) -> list[int | None]:
        seqs = []
        position = None
        for _ in range(2):
            with cassette.client() as client:
                events = client.subscribe("task.*", since=position, timeout=30)
                assert client.call("queue.pause") == DONE
                event = next(events)
                assert isinstance(event, Event)
                seqs.append(event.seq)
                position = events.position
        return seqs

    texts = []
    for before in (0, 3):
        with FakeDaemon() as daemon, Cassette(file, mode="all", upstream=daemon) as cassette:
            daemon.on("queue.pause").emit("task.started", STARTED).reply(DONE).times(2)
            for _ in range(before):
                daemon.emit("task.started", STARTED)
            assert scenario(cassette) == [before + 1, before + 2]
        texts.append(file.read_text())
    assert texts[0] == texts[1]
    since = [each["args"]["since"]["seq"] for each in messages(file) if "since" in each.get("args", {})]
    with Cassette(file) as cassette:
        # Numbered from 1: what the first client was told of as having been, before the first event.
        assert scenario(cassette) == [2, 3]
    assert since == [2]


def test_an_answer_waits_for_what_had_come_before_it(file: Path) -> None:
    opened = trio.Event()

    async def held(call: object) -> dict[str, Any]:
        await opened.wait()
        return DONE

    def let_go(call: object) -> dict[str, Any]:
        opened.set()
        return {"message": "Queue all resumed"}

    for recording in (True, False):
        with FakeDaemon(assert_all_called=recording) as daemon, Cassette(file, upstream=daemon) as cassette:
            daemon.on("queue.pause").call(held)
            daemon.on("queue.resume").call(let_go)
            target = Target(Settings(address=cassette.address, token=cassette.token, patience=30))
            client = target.client("ping")
            client.ask("queue.pause", "first")
            client.send(type="ping", id="is there an answer?")
            client.expect("`pong` before the answer", type="pong")
            client.ask("queue.resume", "second")
            left = {"first", "second"}
            while left:
                left.remove(client.next("the answers")["id"])
            target.end()


def test_the_fixture_and_its_option(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        from poppo_ipc import SyncClient

        def test_add(cassette, tmp_path):
            with SyncClient() as client:
                assert client.call("project.add", path=str(tmp_path))["project"]["path"] == str(tmp_path)
        """
    )
    kept = pytester.path / "cassettes" / "test_it" / "test_add.json"
    for option, outcome in (("none", "errors"), ("once", "passed"), ("none", "passed"), ("all", "passed")):
        pytester.runpytest_inprocess(f"--poppo-record={option}").assert_outcomes(**{outcome: 1})
        assert kept.exists() is (outcome == "passed")
    kept.write_text(kept.read_text().replace("<tmp_path>", "<tmp_path>/other"))
    ran = pytester.runpytest_inprocess("--poppo-record=none")
    ran.stdout.fnmatch_lines(["*args.path: expected '*/other', got '*"])
