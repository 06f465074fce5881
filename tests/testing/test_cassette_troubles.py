"""Cassettes when something is wrong: with the program, with the daemon that is recorded, and with what carries both."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from poppo_ipc import Backoff, CallTimeout, ConnectFailed, ConnectionLost
from poppo_ipc.protocol._frames import frame
from poppo_ipc.testing import Cassette, CassetteError, FakeDaemon, _cassette_recorder
from poppo_ipc.testing._cassette_match import Bindings
from poppo_ipc.testing._cassette_player import Player
from poppo_ipc.testing._cassette_recorder import Recorder
from poppo_ipc.testing._cassette_tape import Tape
from poppo_ipc.testing._cassette_upstream import Upstream
from poppo_ipc.testing._core import DaemonCore
from poppo_ipc.testing.conformance._target import Client, Settings, Target
from poppo_ipc.transport import Address, connect
from poppo_ipc.transport._memory import MemoryListener, MemoryStream

from .answers import DONE, ENDED

OUTPUT: dict[str, Any] = {"command": "task.output", "args": {"taskId": "t1"}}
Talk = Callable[[Client], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "it.json"


# -- credit that is none --------------------------------------------------------------------------------------------


def asking(credit: object) -> Talk:
    # As it is: `ask` leaves out what is None.
    return lambda client: client.send_bytes(
        frame(json.dumps({"type": "command", "id": "it", **OUTPUT, "credit": credit}).encode())
    )


def giving(**fields: object) -> Talk:
    return lambda client: client.send_bytes(frame(json.dumps({"type": "credit", "id": "it", **fields}).encode()))


BAD = ["x", 0, -1, True, 1.0, [1]]
BAD_TALKS = {
    **{f"asks with {each!r}": asking(each) for each in BAD},
    **{f"gives {each!r}": giving(credit=each) for each in [*BAD, None]},
    "gives nothing": giving(),
}


def answered(daemon: FakeDaemon | Cassette, talk: Talk) -> Iterator[list[Any]]:
    """What is answered to that, and to a good question on the same connection."""
    target = Target(Settings(address=daemon.address, token=daemon.token, patience=5))
    client = target.client("stream")
    talk(client)
    answer = client.next("the answer")
    yield [answer.get(name) for name in ("type", "id", "error")]
    client.ask(OUTPUT["command"], "good", args=OUTPUT["args"], credit=5)
    yield [client.next("an item or the result")["type"] for _ in range(3)]
    target.end()


@pytest.mark.parametrize("said", BAD_TALKS)
def test_credit_that_is_none_is_refused_as_the_daemon_refuses_it(file: Path, said: str) -> None:
    """It ended the player: the test got a ValueError of the harness, and the program a lost connection."""
    talk = BAD_TALKS[said]
    with FakeDaemon() as daemon:
        daemon.on("task.output").stream([{"text": "0"}, {"text": "1"}], result=ENDED).times(2)
        with Cassette(file, upstream=daemon) as recording, recording.client() as client:
            assert len(list(client.stream("task.output", taskId="t1"))) == 2
        refused, served = answered(daemon, talk)
    cassette = Cassette(file).start()
    assert list(answered(cassette, talk)) == [refused, served]
    cassette.stop()
    assert refused[:2] == ["error", "it"]
    assert served == ["item", "item", "response"]
    with pytest.raises(CassetteError) as raised:
        cassette.verify()
    (problem,) = str(raised.value).splitlines()[1:]
    assert problem.startswith("the program ")
    assert problem.endswith(refused[2]["message"])


# -- what is no message, or no frame ----------------------------------------------------------------------------------

NO_MESSAGES = {
    "no UTF-8": b'{"type":"\xff"}',
    "no JSON": b"{",
    "no object": b"[]",
    "no type": b"{}",
    "too deep": b'{"type":"command","id":"it","command":"x","args":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    "half a pair": b'{"type":"cancel","id":"it","x":"\\ud83d"}',
    "another type": b'{"type":"hello","id":"it"}',
    "an id that is none": b'{"type":"cancel","id":["it"]}',
    "a cancel of nothing": b'{"type":"cancel"}',
}
NO_FRAMES = {
    "another version": frame(b'{"type":"cancel","id":"it","version":"2.0.0"}'),
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
}


def kept(file: Path, daemon: FakeDaemon) -> None:
    daemon.on("task.output").stream([{"text": "0"}, {"text": "1"}], result=ENDED).times(2)
    with Cassette(file, upstream=daemon) as recording, recording.client() as client:
        assert len(list(client.stream("task.output", taskId="t1"))) == 2


@pytest.mark.parametrize("said", NO_MESSAGES)
def test_what_is_no_message_is_refused_as_the_daemon_refuses_it(file: Path, said: str) -> None:
    with FakeDaemon() as daemon:
        kept(file, daemon)
        refused, served = answered(daemon, lambda client: client.send_bytes(frame(NO_MESSAGES[said])))
    cassette = Cassette(file).start()
    assert list(answered(cassette, lambda client: client.send_bytes(frame(NO_MESSAGES[said])))) == [refused, served]
    cassette.stop()
    assert refused[0] == "error"
    assert served == ["item", "item", "response"]
    with pytest.raises(CassetteError) as raised:
        cassette.verify()
    (problem,) = str(raised.value).splitlines()[1:]
    assert problem == f"the program sent what no daemon takes: {refused[2]['message']}"


@pytest.mark.parametrize("said", NO_FRAMES)
def test_what_ends_a_connection_of_the_daemon_ends_that_of_the_player(file: Path, said: str) -> None:
    def told(daemon: FakeDaemon | Cassette) -> list[Any]:
        target = Target(Settings(address=daemon.address, token=daemon.token, patience=5))
        client = target.client("stream")
        client.send_bytes(NO_FRAMES[said])
        answer = client.next("the answer")
        assert client.expect_closed("the end") == []
        target.end()
        return [answer.get(name) for name in ("type", "id", "error")]

    with FakeDaemon(assert_all_called=False) as daemon:
        kept(file, daemon)
        refused = told(daemon)
    cassette = Cassette(file).start()
    assert told(cassette) == refused
    # Nobody else is troubled.
    with cassette.client() as client:
        assert len(list(client.stream("task.output", taskId="t1"))) == 2
    cassette.stop()
    with pytest.raises(CassetteError, match=r"the program sent what "):
        cassette.verify()


@pytest.mark.parametrize("capabilities", ["stream", 5, None, {"stream": True}])
def test_capabilities_that_are_none_are_those_of_an_original(file: Path, capabilities: object) -> None:
    def greeted(daemon: FakeDaemon | Cassette) -> set[str]:
        target = Target(Settings(address=daemon.address, token=daemon.token, patience=5))
        client = target.greeted()
        client.send(type="auth", id="it", token=daemon.token, capabilities=capabilities)
        answer = client.next("the answer")
        target.end()
        return set(answer)

    with FakeDaemon(assert_all_called=False) as daemon:
        kept(file, daemon)
        wanted = greeted(daemon)
    with Cassette(file) as cassette:
        assert greeted(cassette) == wanted
        with cassette.client() as client:
            assert len(list(client.stream("task.output", taskId="t1"))) == 2
    assert "sessionId" not in wanted


@pytest.mark.parametrize("capabilities", [("stream",), ("ping",)])
def test_credit_that_counts_as_absent_is_no_trouble(file: Path, capabilities: tuple[str, ...]) -> None:
    """Null is as good as none, and so is anything where streams were not agreed on."""
    credit = None if "stream" in capabilities else "x"
    for recording in (True, False):
        with FakeDaemon(assert_all_called=recording) as daemon, Cassette(file, upstream=daemon) as cassette:
            daemon.on("task.output").stream([], result=ENDED)
            target = Target(Settings(address=cassette.address, token=cassette.token, patience=5))
            client = target.client(*capabilities)
            asking(credit)(client)
            assert client.result("it") == ENDED
            target.end()


# -- a daemon that cannot be recorded -------------------------------------------------------------------------------


def pause(cassette: Cassette) -> Any:
    with cassette.client(initial=Backoff(start=0.01, cap=0.01, attempts=3)) as client:
        return client.call("queue.pause")


def test_a_daemon_that_is_not_there_is_told(file: Path) -> None:
    """The program saw a lost connection, and nobody why; what was kept then played nothing, and that passed."""
    with FakeDaemon() as daemon:
        cassette = Cassette(file, upstream=daemon).start()
        with daemon.faults.refuse(), pytest.raises((ConnectionLost, ConnectFailed, CallTimeout)):
            pause(cassette)
        cassette.stop()
    assert not file.exists()
    with pytest.raises(CassetteError, match=r"this was not recorded\nthe daemon could not be reached: [^\n]+$"):
        cassette.verify()


def test_a_failed_test_has_it_in_a_note(file: Path) -> None:
    with FakeDaemon() as daemon, daemon.faults.refuse():  # noqa: SIM117 - what comes out of the cassette is caught
        with pytest.raises((ConnectionLost, ConnectFailed, CallTimeout)) as raised:
            with Cassette(file, upstream=daemon) as cassette:
                pause(cassette)
    assert "could not be reached" in "".join(raised.value.__notes__)


def test_a_daemon_that_is_away_for_a_moment_is_recorded(file: Path) -> None:
    with FakeDaemon() as daemon, Cassette(file, upstream=daemon) as cassette:
        daemon.on("queue.pause").reply(DONE)
        with daemon.faults.refuse(), pytest.raises((ConnectionLost, ConnectFailed, CallTimeout)):
            pause(cassette)
        assert pause(cassette) == DONE
    with Cassette(file) as cassette:
        assert pause(cassette) == DONE


def failing_once(error: Exception) -> Callable[[Address], Awaitable[Any]]:
    left = [error]

    async def connect_or_fail(address: Address) -> Any:
        if left:
            raise left.pop()
        return await connect(address)

    return connect_or_fail


@pytest.mark.parametrize("error", [ConnectFailed("No permission", retryable=False), OSError("No permission")])
def test_a_refused_permission_is_told_whatever_comes_after(
    file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(_cassette_recorder, "connect", failing_once(error))
    with FakeDaemon(assert_all_called=False) as daemon:
        daemon.on("queue.pause").reply(DONE)
        cassette = Cassette(file, upstream=daemon).start()
        assert pause(cassette) == DONE  # the client has connected once more
        cassette.stop()
    with pytest.raises(CassetteError, match="could not be reached: No permission"):
        cassette.verify()


def test_a_bug_of_the_harness_looks_like_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cassette_recorder, "connect", failing_once(ZeroDivisionError("a bug")))
    with FakeDaemon() as daemon:
        cassette = Cassette(file, upstream=daemon).start()
        with pytest.raises((ConnectionLost, ConnectFailed, CallTimeout)):
            pause(cassette)
        with pytest.raises(ZeroDivisionError, match="a bug"):
            cassette.stop()
    assert not file.exists()


# -- a close that hangs ---------------------------------------------------------------------------------------------


def hanging(aclose: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    async def hang(resource: Any) -> None:
        try:
            await trio.sleep(3600)
        finally:
            await aclose(resource)

    return hang


DAEMON, PROXY = Address.parse("memory:daemon"), Address.parse("memory:proxy")
SERVERS: dict[str, Callable[[], Any]] = {
    "recorder": lambda: Recorder(DAEMON),
    "player": lambda: Player(Tape(), "token", Bindings({})),
    "upstream": lambda: Player(Tape(), "token", Bindings({}), Upstream(DAEMON, None).ask),
}


@pytest.mark.parametrize("part", ["fake", *SERVERS])
def test_nobody_waits_for_a_close_that_hangs(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Shielded and without a limit, one stream that would not close held the end of the test up for ever."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            if part != "player":
                await nursery.start(DaemonCore(token=None).serve, DAEMON)
            if part != "fake":
                await nursery.start(SERVERS[part]().serve, PROXY)
            client = await connect(DAEMON if part == "fake" else PROXY)
            assert isinstance(client, MemoryStream)
            assert b"welcome" in await client.receive()
            await client.send(frame(json.dumps({"type": "command", "id": "1", "command": "ipc.describe"}).encode()))
            await wait_all_tasks_blocked()
            assert b'"id":' in await client.receive()
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 30
        client.close_nowait()

    for kind in (MemoryListener, MemoryStream):
        monkeypatch.setattr(kind, "aclose", hanging(kind.aclose))
    trio.run(main, clock=MockClock(autojump_threshold=0))
