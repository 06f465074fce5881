"""dbus-fast with a dbus-daemon of its own: both processes count as the server. The bus authenticates by user.

Events wait for the bus after each 50 of them: dbus-fast breaks the connection off where its socket is full.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench_peers.kit import work
from bench_peers.kit.async_load import Tally
from bench_peers.kit.peer import ALL_MODES, Load, Peer, Place
from bench_peers.kit.processes import ready

__all__ = ["PEERS", "client", "serve"]

PEERS = (
    Peer(
        name="dbus",
        title="dbus-fast + dbus-daemon",
        module="dbus_bus",
        load=Load.ASYNCIO,
        kinds=ALL_MODES,
        needs=("dbus_fast",),
        programs=("dbus-daemon",),
        most_clients=1000,
    ),
)

_NAME = "org.example.Bench"
_PATH = "/org/example/Bench"
_BUS = "org.freedesktop.DBus"
_BUS_PATH = "/org/freedesktop/DBus"
_AHEAD = 50
_CONFIG = """<busconfig>
<type>session</type>
<listen>unix:path={socket}</listen>
<auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy>
<limit name="max_completed_connections">100000</limit>
<limit name="max_incomplete_connections">10000</limit>
<limit name="max_connections_per_user">100000</limit>
<limit name="max_replies_per_connection">50000</limit>
</busconfig>"""


def _start_bus(place: Place) -> None:
    config = place.directory / "bus.conf"
    config.write_text(_CONFIG.format(socket=place.socket))
    bus = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"], stdout=subprocess.PIPE
    )
    assert bus.stdout is not None
    if not bus.stdout.readline():
        raise SystemExit("dbus-daemon did not start")


async def _connect(place: Place) -> Any:
    from dbus_fast.aio import MessageBus

    return await MessageBus(bus_address=f"unix:path={place.socket}").connect()


async def _serve(place: Place) -> None:
    from dbus_fast import Message, MessageType

    bus = await _connect(place)
    tasks: set[asyncio.Task[None]] = set()

    async def broadcast(count: int, burst: int) -> None:
        for number in range(count):
            await bus.send(Message.new_signal(_PATH, _NAME, "Event", "s", [json.dumps(work.EVENT_DATA)]))
            if number % burst == 0:
                await asyncio.sleep(0)
            if number % _AHEAD == 0:
                await bus.call(Message(destination=_BUS, path=_BUS_PATH, interface=_BUS, member="GetId"))

    def handle(message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL or message.member != "Call":
            return None
        command, args = message.body[0], json.loads(message.body[1])
        if command == "bench.broadcast":
            task = asyncio.create_task(broadcast(args["n"], args["burst"]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return Message.new_method_return(message, "s", [json.dumps(work.answer(command, args))])

    bus.add_message_handler(handle)
    await bus.request_name(_NAME)
    ready()
    await bus.wait_for_disconnect()


def serve(place: Place) -> None:
    """Serve until killed."""
    _start_bus(place)
    asyncio.run(_serve(place))


class _Client:
    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self._tally = Tally()
        self.take = self._tally.take

    async def call(self, command: str, args: dict[str, Any]) -> Any:
        """Ask and wait for the answer."""
        return json.loads((await self._send(_NAME, _PATH, "Call", "ss", [command, json.dumps(args)])).body[0])

    async def _send(self, name: str, path: str, member: str, signature: str, body: list[str]) -> Any:
        from dbus_fast import Message, MessageType

        answer = await self._bus.call(
            Message(destination=name, path=path, interface=name, member=member, signature=signature, body=body)
        )
        if answer.message_type is MessageType.ERROR:
            raise work.WrongAnswer(f"{member} was answered with {answer.body}")
        return answer

    async def subscribe(self) -> None:
        """Get every event from now on."""
        rule = f"type='signal',interface='{_NAME}',member='Event'"
        await self._send(_BUS, _BUS_PATH, "AddMatch", "s", [rule])
        self._bus.add_message_handler(self._take_in)

    def _take_in(self, message: Any) -> None:
        if message.member == "Event":
            self._tally.add(json.loads(message.body[0]))


@asynccontextmanager
async def client(place: Place) -> AsyncIterator[_Client]:
    """A client, connected."""
    bus = await _connect(place)
    try:
        yield _Client(bus)
    finally:
        bus.disconnect()
