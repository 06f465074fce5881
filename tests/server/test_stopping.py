"""How a server ends: gracefully, at once, and with clients that make it hard (WIRE.md section 8)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import anyio
import pytest
import trio
from addresses import NATIVE
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Context, Router
from poppo_ipc.errors import AddressInUse, ConnectFailed, DeclarationError, PoppoError
from poppo_ipc.limits import Limits
from poppo_ipc.server import EventLog, Server, encode_event, running
from poppo_ipc.transport import connect

from .rawclient import TOKEN, Gate, Message, RawClient, Serve, command, fault, in_jumping_time, no_log_of

pytestmark = in_jumping_time


class Slow:
    def __init__(self) -> None:
        self.gate = Gate()
        self.router = Router()
        self.router.command("wait")(self.gate.wait)

        @self.router.command("sleep")
        async def sleep(seconds: float) -> str:
            await trio.sleep(seconds)
            return "slept"

        @self.router.command("stubborn")
        async def stubborn() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

        @self.router.command("plain")
        def plain() -> str:
            return "plain"


async def test_a_graceful_stop(serve: Serve) -> None:
    work = Slow()
    async with serve(work.router) as served:
        client, subscriber, deaf = await served.original(), *[await served.client("subscribe") for _ in range(2)]
        await subscriber.subscribe("daemon.*")
        await client.send_bytes(
            command("ends", "sleep", args={"seconds": 1}), command("too-long", "sleep", args={"seconds": 100})
        )
        await wait_all_tasks_blocked()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.stop)
            event = await client.recv()
            assert event["event"] == "daemon.stopping"
            assert event["data"] == {"pid": os.getpid(), "reason": "requested"}
            await client.command("late", "plain")
            assert fault(await client.answer("late"))["code"] == "SHUTTING_DOWN"
            with pytest.raises(ConnectFailed):
                await connect(served.server.address)
            assert (await client.answer("ends"))["result"] == "slept"
            assert trio.current_time() - began == pytest.approx(1)
            assert fault(await client.answer("too-long"))["code"] == "SHUTTING_DOWN"
            assert trio.current_time() - began == pytest.approx(5)
            assert await client.rest() == []
            await client.aclose()
            assert [message["event"] for message in await subscriber.rest()] == ["daemon.stopping"]
            await subscriber.aclose()
            assert await deaf.rest() == []
            await deaf.aclose()
        assert trio.current_time() - began == pytest.approx(5)


async def test_nothing_running_is_not_waited_for(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.stop)
            assert [message["event"] for message in await client.rest()] == ["daemon.stopping"]
            await client.aclose()
        assert trio.current_time() == began


async def test_stop_twice_and_the_reason(serve: Serve) -> None:
    async with serve() as served:
        client = await served.original()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: served.server.stop(0, reason="upgrade"))
            await wait_all_tasks_blocked()
            nursery.start_soon(served.server.stop)
            (event,) = await client.rest()
            assert event["data"]["reason"] == "upgrade"
            await client.aclose()
        await served.server.stop()


async def test_a_stop_that_is_cancelled_goes_on(serve: Serve) -> None:
    work = Slow()
    async with serve(work.router) as served:
        client = await served.original()
        await client.command("w", "wait")
        with trio.move_on_after(1):
            await served.server.stop(3)
        messages = await client.rest()
        assert fault(messages[-1])["code"] == "SHUTTING_DOWN"


@pytest.mark.parametrize("handler", ["wait", "stubborn"])
async def test_a_stop_has_an_end(serve: Serve, handler: str) -> None:
    """A client that never reads, and a handler that will not be cancelled: each has its time."""
    work = Slow()
    limits = Limits(flush_seconds=2, outbox_bytes=10_000)
    async with serve(work.router, limits=limits) as served:
        _deaf, good = await served.original(), await served.original()
        for _ in range(300):
            await served.server.publish("e", {"text": "x" * 1000})
            await good.recv()
        await good.command("h", handler)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await served.server.stop(1)
        took = trio.current_time() - began
        assert took == pytest.approx(1 + 2 if handler == "wait" else 100)
        codes = [fault(each)["code"] for each in await good.rest() if each["type"] == "error"]
        assert codes == ["SHUTTING_DOWN"]


async def test_everything_queued_is_flushed(serve: Serve) -> None:
    router = Router()

    @router.command("big")
    def big() -> str:
        return "x" * 100_000

    async with serve(router) as served:
        client = await served.original()
        await client.send_bytes(*(command(str(n), "big") for n in range(50)))
        await wait_all_tasks_blocked()
        messages: list[Message] = []

        async def drink() -> None:
            messages.extend(await client.rest())
            await client.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.stop)
            nursery.start_soon(drink)
        assert [message.get("id", message.get("event")) for message in messages] == [
            *(str(n) for n in range(50)),
            "daemon.stopping",
        ]


async def test_commands_that_were_read_are_answered(serve: Serve) -> None:
    """More than one turn of them: their answers came after the goodbye, and were lost."""
    work = Slow()
    async with serve(work.router) as served:
        client = await served.original()
        await client.send_bytes(*(command(str(n), "plain") for n in range(300)))
        served.server.stop_soon()
        messages = await client.rest()
        await client.aclose()
        answers = [message for message in messages if message["type"] != "event"]
        assert [answer["id"] for answer in answers] == [str(n) for n in range(300)]
        assert {fault(each)["code"] for each in answers if each["type"] == "error"} <= {"SHUTTING_DOWN"}


async def test_a_client_that_comes_while_it_stops(serve: Serve) -> None:
    """It was accepted, and its session had not begun."""
    async with serve() as served:
        clients = [await served.connect_silently() for _ in range(5)]
        served.server.stop_soon()
        served.server.stopping = True
        for client in clients:
            for message in await client.rest():
                assert message["type"] in ("welcome", "event") or fault(message)["code"] == "SHUTTING_DOWN"
            await client.aclose()


async def test_the_stop_is_heard_by_nobody_unknown(serve: Serve) -> None:
    async with serve(auth=TOKEN) as served:
        stranger = await served.connect()
        served.server.stop_soon()
        assert await stranger.rest() == []


async def test_a_publisher_that_fails_does_not_stop_the_stop(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def publisher(event: str, data: object) -> int:
        raise OSError("disk full")

    async with serve(publisher=publisher) as served:
        client = await served.original()
        with pytest.raises(DeclarationError):
            served.server.publish_nowait("x")
        served.server.stop_soon()
        assert await client.rest() == []
    assert "could not be told" in caplog.text


async def test_a_publisher_stores_first(serve: Serve) -> None:
    stored: list[tuple[str, object]] = []

    async def publisher(event: str, data: object) -> int:
        stored.append((event, data))
        await trio.sleep(1)
        seq = served.server.fanout.log.seq + 1
        served.server.emit(event, seq, encode_event(event, data, 1000, seq).frame)
        return seq

    async with serve(publisher=publisher, log=EventLog(10, 1000, seq=5)) as served:
        client = await served.original()
        assert await served.server.publish("x", {"a": 1}) == 6
        assert stored == [("x", {"a": 1})]
        message = await client.recv()
        assert (message["event"], message["seq"]) == ("x", 6)


async def test_serve_is_cancelled(eager: bool, address: str, caplog: pytest.LogCaptureFixture) -> None:
    work = Slow()
    server = Server(work.router, address=address, eager=eager)
    with no_log_of(caplog):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            client = RawClient(await connect(address))
            await client.recv()
            await client.send_bytes(command("1", "wait"), command("2", "wait"))
            while work.gate.entered < 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert await client.rest() == []
        with pytest.raises(ConnectFailed):
            await connect(address)
        assert work.gate.cancelled == 2
        assert server.statistics().running == 0
        await client.aclose()


async def test_a_handler_that_fails_as_serve_is_cancelled_harms_nobody_else(
    eager: bool, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises comes in one group with the cancellation, which alone may go on."""
    entered = trio.Event()

    async def odd() -> None:
        try:
            entered.set()
            await trio.sleep_forever()
        finally:
            raise ValueError("odd")

    router = Router()

    @router.command("odd")
    async def handler() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(odd)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await nursery.start(Server(router, address=address, eager=eager).serve)
        client = RawClient(await connect(address))
        await client.send_bytes(command("1", "odd"))
        await entered.wait()
        nursery.cancel_scope.cancel()
    assert "ValueError: odd" in caplog.text
    await client.aclose()


async def test_not_a_byte_follows_a_torn_frame(eager: bool) -> None:
    """A handler that outlives the cancellation has an answer when half a frame has been written."""
    router = Router()

    @router.command("big")
    def big() -> str:
        return "x" * 200_000

    @router.command("late")
    async def late() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return "late"

    server = Server(router, address="memory:torn", eager=eager)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        client = RawClient(await connect("memory:torn"))
        await client.recv()
        await client.send_bytes(command("l", "late"), command("b", "big"))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    data = b""
    with contextlib.suppress(anyio.EndOfStream):
        while True:
            data += await client.stream.receive()
    assert data.startswith(b"POPPO")
    assert data.count(b"POPPO") == 1
    await client.aclose()


async def test_the_socket_is_removed(serve: Serve, short_dir: Path) -> None:
    path = short_dir / "s"
    for _ in range(2):
        async with serve(address=str(path)) as served:
            assert path.is_socket()
            await served.original()
        assert not path.exists()


async def test_a_server_serves_once(serve: Serve) -> None:
    async with serve() as served:
        with pytest.raises(PoppoError, match="served already"):
            await served.server.serve()
    with pytest.raises(PoppoError, match="served already"):
        await served.server.serve()


async def test_before_it_serves() -> None:
    server = Server(Router(), address="memory:x")
    with pytest.raises(PoppoError):
        server.stop_soon()
    with pytest.raises(PoppoError):
        _ = server.address
    assert server.sessions == ()


@pytest.mark.parametrize("kind", ["memory", NATIVE])
async def test_an_address_that_is_taken(serve: Serve, eager: bool, kind: str, address: str) -> None:
    address = "memory:taken" if kind == "memory" else address
    async with serve(address=address) as served:
        second = Server(Router(), address=address, eager=eager)
        with pytest.raises(AddressInUse) as caught:
            async with running(second):
                raise AssertionError
        assert caught.value.pid == os.getpid()
        # Of several, those that had begun are stopped.
        first, third = Server(Router(), address="memory:free"), Server(Router(), address="memory:never")
        with pytest.raises(AddressInUse):
            async with running(first, Server(Router(), address=address), third):
                raise AssertionError
        await (await served.original()).call("ipc.describe")
        async with running(Server(Router(), address="memory:free")):
            pass


async def test_several_servers_in_one_process(eager: bool) -> None:
    servers = [Server(Slow().router, address=f"memory:{n}", name=f"s{n}", eager=eager) for n in range(3)]
    async with running(*servers) as first:
        assert first is servers[0]
        for server in servers:
            client = RawClient(await connect(server.address))
            assert (await client.recv())["server"]["name"] == server.name
            await server.publish("own")
            assert (await client.recv())["seq"] == 1
            await client.aclose()
    assert [server.statistics().sessions for server in servers] == [0, 0, 0]


async def test_an_exception_of_the_block_comes_out_bare(eager: bool) -> None:
    server = Server(Router(), address="memory:x", eager=eager)
    with pytest.raises(KeyError):
        async with running(server):
            raise KeyError
    with pytest.raises(DeclarationError):
        async with running():
            pass


async def test_a_handler_that_stops_the_server(serve: Serve) -> None:
    router = Router()

    @router.command("stop")
    async def stop(ctx: Context) -> str:
        served.server.stop_soon()
        return "stopping"

    async with serve(router) as served:
        client = await served.original()
        assert await client.call("stop") == "stopping"
        assert [message["event"] for message in await client.rest()] == ["daemon.stopping"]
