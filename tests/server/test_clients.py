"""Clients coming and going: who is let in, how many, what is known of them, and that nothing stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from addresses import NATIVE
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Router
from poppo_ipc.errors import DeclarationError
from poppo_ipc.limits import Limits
from poppo_ipc.server import Server
from poppo_ipc.server._lead import Lead
from poppo_ipc.transport import PeerCredentials, _polled
from poppo_ipc.transport._peer import own_credentials

from .rawclient import ALL, Gate, Serve, command, fault, in_jumping_time, no_log_of, tasks_below, wire

pytestmark = in_jumping_time


def peer(monkeypatch: pytest.MonkeyPatch, credentials: PeerCredentials | None) -> None:
    monkeypatch.setattr(_polled.PolledStream, "peer", property(lambda self: credentials))


@pytest.mark.parametrize("uid", [4711, None])
async def test_a_foreign_user_is_closed_without_a_byte(
    serve: Serve, uid: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    peer(monkeypatch, PeerCredentials(uid=uid, pid=99))
    async with serve() as served:
        client = await served.connect_silently()
        assert await client.rest() == []
        assert client.received == 0
        assert served.server.sessions == ()
    assert "may not connect" in caplog.text


@pytest.mark.parametrize("allowed", [None, [4711], {4711, 1}])
async def test_other_users_can_be_let_in(serve: Serve, allowed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    peer(monkeypatch, PeerCredentials(uid=4711))
    async with serve(allow_uids=allowed) as served:
        await served.original()
        assert served.server.sessions[0].principal.uid == 4711


async def test_root_and_the_own_user_are_let_in(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        root, own, other = (PeerCredentials(sid=sid) for sid in ("S-1-5-18", own_credentials().sid, "S-1-5-21-1-2-3-9"))
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        root, own, other = (PeerCredentials(uid=uid) for uid in (0, 4711, 4712))
    for who, welcome in ((root, True), (own, True), (other, False)):
        peer(monkeypatch, who)
        async with serve() as served:
            client = await served.connect_silently()
            assert (await client.recv_payload() is not None) is welcome


async def test_rights_that_make_no_sense() -> None:
    with pytest.raises(DeclarationError):
        Server(Router(), allow_uids="everybody")


async def test_one_client_too_many(serve: Serve) -> None:
    async with serve(limits=Limits(clients=2)) as served:
        first, _ = await served.original(), await served.original()
        third = await served.connect_silently()
        (answer,) = await third.rest()
        assert answer["id"] is None
        assert fault(answer)["code"] == "BUSY"
        assert fault(answer)["details"] == {"limit": 2}
        assert abs(answer["timestamp"] - time.time() * 1000) < 3_600_000
        await first.aclose()
        await wait_all_tasks_blocked()
        await served.original()


async def test_what_is_known_of_a_client(serve: Serve) -> None:
    gate = Gate()
    router = Router()
    router.command("wait")(gate.wait)
    async with serve(router, auth="t") as served:
        client = await served.connect()
        (info,) = served.server.sessions
        assert (info.authenticated, info.capabilities, info.principal.name) == (False, frozenset(), "anonymous")
        await client.auth(*ALL, token="t")
        await client.subscribe("e")
        await client.error("nope")
        await client.command("w", "wait")
        await served.server.publish("e")
        await client.recv()
        (info,) = served.server.sessions
        assert info.authenticated
        assert info.capabilities == frozenset(ALL)
        assert info.principal.name == "default"
        assert info.peer == own_credentials()
        assert (info.running, info.subscriptions, info.commands, info.errors, info.events) == (1, 1, 3, 1, 1)
        assert (info.dropped_events, info.outbox_bytes, info.bytes_out) == (0, 0, client.received)
        assert info.bytes_in > 100
        statistics = served.server.statistics()
        assert (statistics.sessions, statistics.running, statistics.kept_events, statistics.seq) == (1, 1, 1, 1)
        await client.aclose()
        await wait_all_tasks_blocked()
        assert served.server.sessions == ()


async def test_what_is_known_is_known_at_every_moment_of_a_connection(serve: Serve) -> None:
    async with serve() as served, trio.open_nursery() as nursery:

        async def look() -> None:
            while True:
                assert len(served.server.sessions) == served.server.statistics().sessions
                await trio.lowlevel.checkpoint()

        nursery.start_soon(look)
        for _ in range(10):
            await (await served.original()).aclose()
        nursery.cancel_scope.cancel()


async def test_the_observer_is_told_of_every_answer(serve: Serve) -> None:
    router = Router()
    seen: list[tuple[str, str | None]] = []

    def observer(name: str, seconds: float, code: str | None) -> None:
        assert seconds >= 0
        seen.append((name, code))

    @router.command("plain")
    def plain(size: int = 0) -> Any:
        return "x" * size if size >= 0 else object()

    @router.command("sleep")
    async def sleep() -> None:
        await trio.sleep(1)

    async with serve(router, observer=observer, limits=Limits(frame_bytes=70_000)) as served:
        client = await served.client("cancel", "idempotency")
        await client.call("plain")
        await client.error("nope")
        await client.error("plain", args={"size": "x"})
        await client.error("plain", args={"size": 80_000})
        await client.error("plain", args={"size": -1})
        await client.error("plain", args={"size": -1}, idempotencyKey="k")
        await client.error("plain", args={"size": -1}, idempotencyKey="k")
        await client.call("sleep")
        await client.send_bytes(command("s", "sleep"), wire(type="cancel", id="s"))
        await client.answer("s")
        assert seen == [
            ("plain", None),
            ("", "UNKNOWN_COMMAND"),
            ("plain", "INVALID_ARGS"),
            ("plain", "RESULT_TOO_LARGE"),
            ("plain", "INTERNAL"),
            ("plain", "INTERNAL"),
            ("plain", "INTERNAL"),
            ("sleep", None),
            ("sleep", "CANCELLED"),
        ]


async def test_a_crash_of_a_session_ends_that_client_only(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it had running stayed counted, and who had joined a keyed run of it waited for ever."""
    gate = Gate()
    router = Router()
    router.command("wait")(gate.wait)

    def crash(self: Lead, batch: object) -> None:
        raise RuntimeError("injected")

    async with serve(router) as served:
        client, other = await served.client("idempotency"), await served.client("idempotency")
        await client.send_bytes(command("1", "wait"), command("2", "wait", idempotencyKey="k"))
        await wait_all_tasks_blocked()
        await other.command("3", "wait", idempotencyKey="k")
        await wait_all_tasks_blocked()
        with monkeypatch.context() as patch:
            patch.setattr(Lead, "_take_in", crash)
            await client.send_bytes(b"x")
            assert await client.rest() == []
        assert fault(await other.answer("3"))["code"] == "CANCELLED"
        assert (gate.cancelled, served.server.statistics().running) == (2, 0)
        await other.command("4", "wait", idempotencyKey="k")
        await wait_all_tasks_blocked()
        gate.open()
        assert (await other.answer("4"))["type"] == "response"
    assert "crashed" in caplog.text


async def test_a_silent_client_is_pinged_and_let_go(serve: Serve) -> None:
    async with serve(limits=Limits(idle_seconds=10)) as served:
        pingable, mute = await served.client("ping"), await served.client("cancel")
        began = trio.current_time()
        assert await mute.rest() == []
        assert trio.current_time() - began == pytest.approx(10)
        for _ in range(3):
            ping = await pingable.recv()
            assert ping["type"] == "ping"
            await pingable.send(type="pong", id=ping["id"])
        assert trio.current_time() - began == pytest.approx(30)
        assert [message["type"] for message in await pingable.rest()] == ["ping"]
        assert trio.current_time() - began == pytest.approx(50)


async def test_a_client_with_something_running_is_not_idle(serve: Serve) -> None:
    router = Router()

    @router.command("sleep")
    async def sleep() -> str:
        await trio.sleep(100)
        return "slept"

    async with serve(router, limits=Limits(idle_seconds=10)) as served:
        client = await served.original()
        assert await client.call("sleep") == "slept"
        assert await client.rest() == []


async def test_a_half_closed_connection_is_closed_at_once(serve: Serve) -> None:
    """It stayed open for as long as one of its commands ran."""
    gate = Gate()
    router = Router()
    router.command("wait")(gate.wait)
    async with serve(router) as served:
        client = await served.client("idempotency")
        await client.command("w", "wait", idempotencyKey="k")
        await wait_all_tasks_blocked()
        await client.stream.send_eof()
        with trio.fail_after(1):
            assert await client.rest() == []
        assert (gate.entered, gate.cancelled) == (1, 0)
        gate.open()


async def test_a_client_that_is_found_gone_in_the_middle_of_what_it_sent(serve: Serve) -> None:
    """The pong could not be written; the command behind it was begun all the same, and counted for ever."""
    gate = Gate()
    router = Router()
    router.command("wait")(gate.wait)
    async with serve(router) as served:
        for _ in range(5):
            client = await served.client("ping")
            # Before the server gets to run.
            client.stream.send_nowait(wire(type="ping", id="p") + command("1", "wait") + command("2", "wait"))
            await client.aclose()
            await wait_all_tasks_blocked()
            assert gate.entered == gate.cancelled == 0
            assert served.server.statistics().running == 0


def open_files() -> int:
    """How many files this process has open, or on Windows handles."""
    if sys.platform == "win32":
        return psutil.Process().num_handles()
    return len(os.listdir("/dev/fd"))


@pytest.mark.parametrize("kind", ["memory", NATIVE])
async def test_nothing_stays_behind_of_a_thousand_clients(
    serve: Serve, kind: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = "memory:many" if kind == "memory" else address
    root = trio.lowlevel.current_root_task()
    assert root is not None
    with no_log_of(caplog):
        async with serve(address=address, auth="t") as served:
            tasks, files = tasks_below(root), open_files()
            for _ in range(20):
                clients = [await served.connect_silently() for _ in range(50)]
                for number, client in enumerate(clients):
                    if number % 3:
                        await client.recv()
                    if number % 3 == 2:
                        await client.auth("subscribe", token="t")
                        await client.subscribe("a.*")
                for client in clients:
                    await client.aclose()
            while served.server.sessions:
                await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()
            assert tasks_below(root) == tasks
            assert open_files() == files
            assert len(served.server.timers) == 0


FEW_FILES = """
import logging, resource, socket, sys, trio
from poppo_ipc.commands import Router
from poppo_ipc.server import Server, running

told = trio.Event()

class Listening(logging.StreamHandler):
    def emit(self, record):
        super().emit(record)
        if "cannot accept" in record.getMessage():
            told.set()

logging.getLogger("poppo_ipc").addHandler(Listening())

async def main(path):
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    async with running(Server(Router(), address=path, eager=sys.argv[2] == "True")) as server:
        socks = []
        try:
            while True:
                socks.append(socket.socket(socket.AF_UNIX))
        except OSError:
            pass
        # All files are taken: these can connect, but not be accepted.
        for sock in socks[:10]:
            sock.connect(path)
            sock.setblocking(False)
        await told.wait()
        assert not server.sessions
        for sock in socks[10:]:
            sock.close()
        for sock in socks[:10]:
            await trio.lowlevel.wait_readable(sock)
            assert b"welcome" in sock.recv(1000)
        assert len(server.sessions) == 10
        for sock in socks[:10]:
            sock.close()
    print("outlived")

trio.run(main, sys.argv[1])
"""


async def test_a_shortage_of_files_is_outlived(eager: bool, short_dir: Path) -> None:
    done = await trio.to_thread.run_sync(
        lambda: subprocess.run(
            [sys.executable, "-c", textwrap.dedent(FEW_FILES), str(short_dir / "s"), str(eager)],
            capture_output=True,
            text=True,
            timeout=20,
        )
    )
    assert done.stdout == "outlived\n", done.stderr
    assert "cannot accept" in done.stderr
