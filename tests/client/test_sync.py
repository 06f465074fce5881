"""The client without an event loop, over real sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import attrs
import pytest

from poppo_ipc.client import Backoff, ClientState, Gap, GapReason, SyncClient
from poppo_ipc.client._sync_link import SyncLink
from poppo_ipc.commands import CommandSpec, NoArgs
from poppo_ipc.errors import (
    AuthenticationError,
    Busy,
    CallTimeout,
    ConnectFailed,
    ConnectionClosed,
    ConnectionLost,
    FrameTooLarge,
    LocalProtocolError,
    NotFound,
    OutcomeUnknown,
    ProtocolError,
    VersionMismatch,
)
from poppo_ipc.protocol import Cancel, Command, Credit, Ping, Pong

from .peer import Original, Peer
from .threads import serving_in_thread

QUICK = Backoff(start=0.001, cap=0.001)


@attrs.frozen
class Greeting:
    greeting_text: str


GREET = CommandSpec("greet", NoArgs, Greeting, item=Greeting, idempotent=True)


async def answering(peer: Peer) -> None:
    await peer.settle()
    try:
        while True:
            command = await peer.recv(Command)
            await peer.respond(command, {"args": command.args, "key": command.idempotency_key or None})
    except anyio.EndOfStream:
        pass


def test_calls(address: str) -> None:
    async def script(peer: Peer) -> None:
        auth = await peer.settle(token="sekrit")
        assert not auth.token
        command = await peer.command("a")
        assert command.args == {"n": 1}
        assert 0 < command.timeout_ms <= 30_000  # what is left of it, by a real clock
        await peer.respond(command, "x" * (1 << 20))
        await peer.fail(await peer.command("b"), NotFound("no b"))
        await peer.respond(await peer.command("greet"), {"greetingText": "hi"})
        assert await peer.until_closed() == []

    with serving_in_thread(address, script, auth_required=True), SyncClient(address, token="sekrit") as client:
        assert client.call("a", n=1) == "x" * (1 << 20)
        with pytest.raises(NotFound):
            client.call("b")
        assert client.call(GREET, NoArgs()) == Greeting("hi")
        with pytest.raises(TypeError):
            client.call("a", what=object())
        assert client.state is ClientState.CONNECTED
        assert (client.server.name, client.server.pid, client.session_id) == ("scripted", os.getpid(), "s1")


def test_an_original(address: str) -> None:
    async def script(peer: Original) -> None:
        await peer.welcome("sekrit")
        command = await peer.recv()
        await peer.send(type="event", event="a.b", data={"n": 1})
        await peer.send(type="response", id=command["id"], success=True, result=1)
        await peer.send(type="event", event="b", data={"n": 2})
        await peer.send(type="event", event="a.c", data={"n": 3})
        await peer.until_closed()

    with serving_in_thread(address, script, kind=Original), SyncClient(address, token="sekrit") as client:
        with client.subscribe("a.*") as events:
            assert client.call("x") == 1
            got = [next(events), next(events)]
        assert [getattr(event, "data", event) for event in got] == [{"n": 1}, {"n": 3}]


@pytest.mark.parametrize("original", [False, True])
def test_a_wrong_token_is_final(address: str, original: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle(token="sekrit")
        await peer.until_closed()

    async def script_of_original(peer: Original) -> None:
        await peer.welcome("sekrit")
        await peer.until_closed()

    options: dict[str, Any] = {"kind": Original} if original else {"auth_required": True}
    with serving_in_thread(address, script_of_original if original else script, **options):
        client = SyncClient(address, token="wrong")
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                client.call("x")
        assert client.state is ClientState.FAILED
        client.close()


def test_another_version(address: str) -> None:
    async def script(peer: Original) -> None:
        await peer.send(type="welcome", authRequired=False, version="2.0.0")
        await peer.until_closed()

    with serving_in_thread(address, script, kind=Original), pytest.raises(VersionMismatch, match=r"2\.0\.0"):
        SyncClient(address).call("x")


def test_no_server_of_this_protocol(address: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.send(b"SSH-2.0-OpenSSH_9.9\r\n")
        await peer.until_closed()

    with serving_in_thread(address, script), pytest.raises(ProtocolError):
        SyncClient(address).call("x")


def test_nobody_listens(address: str) -> None:
    with pytest.raises(ConnectFailed, match="No daemon listens"), SyncClient(address, initial=Backoff(start=100)):
        pytest.fail("connected")


def test_a_busy_server_is_tried_again(address: str) -> None:
    async def busy(peer: Original) -> None:
        await peer.send(type="error", id=None, error={"message": "full", "code": "BUSY"})

    async def welcoming(peer: Original) -> None:
        await peer.welcome()
        await peer.until_closed()

    with serving_in_thread(address, busy, welcoming, kind=Original), SyncClient(address, initial=QUICK) as client:
        assert client.state is ClientState.CONNECTED
    with serving_in_thread(address, busy, busy, kind=Original), pytest.raises(Busy):
        SyncClient(address, initial=Backoff(start=0.001, attempts=1)).call("x")


def test_a_mute_server_is_given_up(address: str) -> None:
    async def mute(peer: Peer) -> None:
        await peer.until_closed()

    with (
        serving_in_thread(address, mute, mute),
        pytest.raises(ConnectionLost, match=r"handshake in time; try again$") as caught,
    ):
        SyncClient(address, handshake_seconds=0.05, initial=Backoff(start=0.001, attempts=1)).call("x")
    assert caught.value.timed_out


def test_time_is_kept(address: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.recv()
        assert 0 < command.timeout_ms <= 50
        assert (await peer.recv(Cancel)).id == command.id
        await peer.respond(command, "late")
        await peer.fail(await peer.recv(), CallTimeout("the server said so"))
        await peer.until_closed()

    with serving_in_thread(address, script), SyncClient(address, timeout_grace=0.02) as client:
        began = time.monotonic()
        with pytest.raises(CallTimeout, match=r"within 0\.05 s"):
            client.call("x", timeout=0.05)
        assert 0.07 <= time.monotonic() - began < 5
        with pytest.raises(CallTimeout, match="the server said so"):
            client.call("x", timeout=5)


def test_a_stream(address: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.command("count")
        assert command.credit == 4
        for n in range(4):
            await peer.send(peer.connection.item(command.id, n))
        assert [(await peer.recv(Credit)).credit for _ in range(2)] == [2, 2]
        await peer.send(peer.connection.item(command.id, 4), peer.connection.respond(command.id, "end"))
        greet = await peer.command("greet")
        await peer.send(peer.connection.item(greet.id, {"greetingText": "hi"}))
        assert (await peer.recv(Cancel)).id == greet.id
        await peer.until_closed()

    with serving_in_thread(address, script), SyncClient(address) as client:
        items = client.stream("count", credit=4)
        with pytest.raises(RuntimeError):
            _ = items.result
        assert list(items) == [0, 1, 2, 3, 4]
        assert items.result == "end"
        with client.stream(GREET, NoArgs()) as greetings:
            assert next(greetings) == Greeting("hi")
        with pytest.raises(ConnectionClosed):
            next(greetings)


def test_events_that_come_during_calls_are_kept(address: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe()
        command = await peer.command("x")
        await peer.event("a", {}, 1)
        await peer.event("a", {}, 2)
        await peer.respond(command, "answer")
        await peer.event("a", {}, 3)
        assert (await peer.command("events.unsubscribe")).args == {"subscriptionId": "sub"}
        await peer.until_closed()

    with serving_in_thread(address, script), SyncClient(address) as client:
        with client.subscribe("a", timeout=0.2) as events:
            assert client.call("x") == "answer"
            assert [getattr(event, "seq", event) for event in events] == [1, 2, 3]  # and the time ends it
        with pytest.raises(ValueError, match="pattern"):
            client.subscribe("a..b")


def test_events_go_on_over_a_reconnect(address: str) -> None:
    async def first(peer: Peer) -> None:
        await peer.settle()
        await peer.subscribe()
        await peer.event("a", {}, 1)

    async def second(peer: Peer) -> None:
        await peer.settle()
        command = await peer.subscribe(seq=2)
        assert command.args["since"] == {"epoch": "e1", "seq": 1}
        await peer.event("a", {}, 2)

    async def third(peer: Peer) -> None:
        await peer.settle(epoch="e2")
        await peer.subscribe(gap=True, missed=None)
        await peer.until_closed()

    with serving_in_thread(address, first, second, third), SyncClient(address, backoff=QUICK) as client:
        events = client.subscribe("a")
        assert [getattr(next(events), "seq", None) for _ in range(2)] == [1, 2]
        assert next(events) == Gap(None, GapReason.RESTARTED)


def swallowing(keys: list[Any], **session: Any) -> Any:
    async def script(peer: Peer) -> None:
        await peer.settle(**session)
        keys.append((await peer.recv(Command)).idempotency_key)

    return script


def test_a_call_is_sent_again_with_its_key(address: str) -> None:
    keys: list[Any] = []
    with serving_in_thread(address, swallowing(keys), answering), SyncClient(address, backoff=QUICK) as client:
        assert [client.call("x")["key"]] == keys


def test_after_a_restart_the_outcome_is_unknown(address: str) -> None:
    keys: list[Any] = []
    with (
        serving_in_thread(address, swallowing(keys, epoch="old"), answering),
        SyncClient(address, backoff=QUICK) as client,
    ):
        with pytest.raises(OutcomeUnknown):
            client.call("x")
        assert client.call("y", a=1)["args"] == {"a": 1}


def test_a_connection_that_ended_meanwhile_is_noticed_before_anything_is_sent(address: str) -> None:
    async def ending(peer: Original) -> None:
        await peer.welcome()

    async def again(peer: Original) -> None:
        await peer.welcome()
        command = await peer.recv()
        await peer.send(type="response", id=command["id"], success=True, result="again")
        await peer.until_closed()

    with serving_in_thread(address, ending, again, kind=Original), SyncClient(address, backoff=QUICK) as client:
        assert client._link is not None
        assert client._link._wait(10)  # the end has come
        # An original has no keys: had it been sent, the outcome would be unknown.
        assert client.call("x") == "again"


def test_without_reconnect(address: str) -> None:
    keys: list[Any] = []
    with serving_in_thread(address, swallowing(keys)), SyncClient(address, reconnect=False) as client:
        with pytest.raises(OutcomeUnknown):
            client.call("x")
        with pytest.raises(ConnectionLost):
            client.call("x")


def test_a_call_while_away_keeps_its_deadline(address: str) -> None:
    async def ending(peer: Peer) -> None:
        await peer.settle()
        await peer.recv(Command)

    backoff = Backoff(start=60, cap=60)
    with (
        serving_in_thread(address, ending),
        SyncClient(address, backoff=backoff, random=lambda: 1.0, timeout_grace=60) as client,
    ):
        began = time.monotonic()
        with pytest.raises(CallTimeout):
            client.call("x", timeout=0.1)
        with pytest.raises(CallTimeout) as caught:
            client.call("y", timeout=0.05)
        assert caught.value.details == {"sent": False}
        assert time.monotonic() - began < 10


def test_a_silent_server_is_found_dead(address: str) -> None:
    async def half_open(peer: Peer) -> None:
        await peer.settle()
        await peer.recv(Command)
        await peer.recv(Ping)
        await peer.recv(Ping)
        await peer.until_closed()

    with (
        serving_in_thread(address, half_open, answering),
        SyncClient(address, ping_seconds=0.03, backoff=QUICK) as client,
    ):
        assert client.call("x", a=1, timeout=None)["args"] == {"a": 1}


def test_pings_both_ways(address: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.send(peer.connection.pong(await peer.recv(Ping)))
        command = await peer.command("x")
        await peer.send(peer.connection.ping("you?"))
        assert getattr(await peer.recv(object), "id", None) == "you?"
        await peer.respond(command, 1)
        await peer.recv(Ping)
        await peer.until_closed()

    with serving_in_thread(address, script), SyncClient(address) as client:
        assert 0 < client.ping() < 5
        assert client.call("x") == 1
        with pytest.raises(CallTimeout):
            client.ping(timeout=0.02)


def test_what_came_between_two_calls_is_dealt_with_first(address: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.send(peer.connection.ping("you?"))
        sent.set()
        assert (await peer.recv(Pong)).id == "you?"
        await peer.respond(await peer.command("x"), 1)
        await peer.until_closed()

    sent = threading.Event()
    with serving_in_thread(address, script), SyncClient(address) as client:
        assert sent.wait(10)
        assert client.call("x") == 1


def test_a_pipeline(address: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        a, b = await peer.command("a"), await peer.command("b")
        await peer.fail(b, NotFound("b"))
        await peer.respond(a, 1)
        assert await peer.until_closed() == []

    with serving_in_thread(address, script), SyncClient(address, frame_bytes=2048) as client:
        with client.pipeline() as pipeline:
            a, b, big = pipeline.call("a"), pipeline.call("b"), pipeline.call("big", text="x" * 3000)
        assert a.result() == 1
        with pytest.raises(NotFound):
            b.result()
        with pytest.raises(FrameTooLarge):
            big.result()


def test_a_long_question_and_a_long_answer_at_once(address: str) -> None:
    """Both sides write at once: a client that only writes, or only reads, would be stuck for ever."""
    text = "x" * (4 << 20)

    async def script(peer: Peer) -> None:
        await peer.settle()
        first = await peer.recv(Command)
        await peer.respond(first, text)
        await peer.respond(await peer.recv(Command), "got it")
        await peer.until_closed()

    with serving_in_thread(address, script), SyncClient(address) as client:
        with client.pipeline() as pipeline:
            a, b = pipeline.call("a"), pipeline.call("b", text=text)
        assert a.result() == text
        assert b.result() == "got it"


def test_closing(address: str) -> None:
    with serving_in_thread(address, answering):
        client = SyncClient(address)
        assert client.call("x")
        client.close()
        client.close()
        assert client.state is ClientState.CLOSED
        with pytest.raises(ConnectionClosed):
            client.call("x")


def test_two_threads_at_once_are_refused(address: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.command("x")
        got.set()
        await anyio.to_thread.run_sync(refused.wait)
        await peer.respond(command, 1)
        await peer.until_closed()

    got, refused = threading.Event(), threading.Event()
    with serving_in_thread(address, script), SyncClient(address) as client:

        def other() -> None:
            try:
                assert got.wait(10)
                with pytest.raises(LocalProtocolError, match="thread"):
                    client.call("y")
            finally:
                refused.set()

        thread = threading.Thread(target=other)
        thread.start()
        assert client.call("x") == 1
        thread.join()


def test_ctrl_c_cancels_the_command_and_the_client_goes_on(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.settle()
        command = await peer.command("x")
        got.set()
        assert (await peer.recv(Cancel)).id == command.id
        await peer.respond(await peer.command("y"), "y")
        assert await peer.until_closed() == []

    def interrupted(link: SyncLink, timeout: float) -> bool:
        """What the wait does when Ctrl-C is pressed during it: a real signal might come a moment before or after."""
        if got.is_set():
            monkeypatch.undo()
            raise KeyboardInterrupt
        return wait(link, min(timeout, 0.01))

    got = threading.Event()
    wait = SyncLink._wait
    monkeypatch.setattr(SyncLink, "_wait", interrupted)
    with serving_in_thread(address, script), SyncClient(address) as client:
        with pytest.raises(KeyboardInterrupt):
            client.call("x", timeout=20)
        assert client.call("y") == "y"


def test_ctrl_c_while_bytes_are_dealt_with_costs_the_connection(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that were taken and not dealt with put the stream out of step: it cannot be gone on with."""

    async def first(peer: Peer) -> None:
        await peer.settle()
        await peer.respond(await peer.command("x"), "x")
        assert await peer.until_closed() == []

    def interrupted(received: Any) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with serving_in_thread(address, first, answering), SyncClient(address, backoff=QUICK) as client:
        monkeypatch.setattr(client._engine, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.call("x", timeout=20)
        assert client.call("y", a=1)["args"] == {"a": 1}


DAEMON = """
import sys, os, trio
from poppo_ipc.commands import Router
from poppo_ipc.server import Server
router = Router()
@router.command("pid")
async def pid() -> int:
    return os.getpid()
@router.command("die")
async def die() -> int:
    os.kill(os.getpid(), 9)
async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(router, address=sys.argv[1], auth="sekrit").serve)
        print("up", flush=True)
trio.run(main)
"""


@contextmanager
def daemon(address: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", DAEMON, address], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_daemon_that_is_killed_and_started_again(address: str) -> None:
    with daemon(address) as first:
        client = SyncClient(address, token="sekrit", backoff=Backoff(start=0.01, cap=0.05))
        assert client.call("pid") == client.server.pid == first.pid
        events = client.subscribe("**", timeout=0.1)
        first.kill()
        first.wait()
    with pytest.raises(CallTimeout) as caught:
        client.call("pid", timeout=0.1)
    assert caught.value.details == {"sent": False}
    with daemon(address) as second:
        assert client.call("pid", timeout=10) == second.pid
        assert list(events) == [Gap(None, GapReason.RESTARTED)]
        with pytest.raises(CallTimeout):  # it died of this very command, and nobody starts it again
            client.call("die", timeout=0.3, idempotent=True)
        client.close()
    with daemon(address), SyncClient(address, token="sekrit", reconnect=False) as other, pytest.raises(OutcomeUnknown):
        other.call("die")
