"""The steps of the demo. Each checks what it shows, so that the demo cannot lie."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Sequence
from functools import partial

import trio

from poppo_ipc.cli._demo_daemon import BLOCK
from poppo_ipc.cli._demo_restart import survive_a_crash
from poppo_ipc.cli._demo_work import add_project, kill_worker, pause_queue, run_tasks
from poppo_ipc.cli._stage import Stage
from poppo_ipc.cli._steps import Screen, Step, expect, expect_error, expect_that
from poppo_ipc.client import Event, EventStream, connect
from poppo_ipc.errors import AuthenticationError, InvalidArgs, UnknownCommand

__all__ = ["demo_steps"]

_BLOCKS = 30


def demo_steps(place: Stage) -> Sequence[Step]:
    """All steps, in order."""
    return [
        Step("set-up", "Start a daemon in a process of its own", _Steps(place).set_up),
        Step("authentication", "Authenticate, without the token crossing the wire", _Steps(place).authenticate),
        Step("commands", "Commands and their answers", _Steps(place).ask),
        Step("errors", "Mistakes get answers that help", _Steps(place).err),
        Step("stream", "A long command tells how far it is", _Steps(place).follow),
        Step("cancel", "Cancel a running command", _Steps(place).cancel),
        Step("events", "Events to three clients, each by its pattern", _Steps(place).listen),
        Step("project", "Add a project", partial(add_project, place)),
        Step("tasks", "Run tasks in workers, and follow what they print", partial(run_tasks, place)),
        Step("worker", "Kill a worker; its task is tried again", partial(kill_worker, place)),
        Step("queue", "Pause the queue, and let it go on", partial(pause_queue, place)),
        Step("crash", "Kill the daemon; nothing is lost", partial(survive_a_crash, place)),
        Step("stop", "Stop in order", _Steps(place).stop),
    ]


class _Steps:
    """The steps that play on one stage."""

    def __init__(self, place: Stage) -> None:
        self._place = place

    async def set_up(self, screen: Screen) -> None:
        place = self._place
        began = time.monotonic()
        daemon = await place.start_daemon()
        seconds = time.monotonic() - began
        screen.show("daemon", {"pid": daemon.pid, "seconds": seconds}, f"pid {daemon.pid}, up in {seconds:.2f} s")
        screen.show("listens on", str(place.address))
        if os.name == "posix":
            for what, path in (("socket", place.address.name), ("token file", str(place.token_file))):
                mode = stat.S_IMODE(os.stat(path).st_mode)
                screen.show(f"mode of the {what}", f"{mode:04o}")
                expect(f"the mode of the {what}", mode, 0o600)
        expect_that("the daemon's process", daemon.pid != os.getpid(), "another than this one", daemon.pid)

    async def authenticate(self, screen: Screen) -> None:
        place = self._place
        with expect_error("connecting with a wrong token", AuthenticationError) as refused:
            async with connect(place.address, token="a-wrong-token"):
                pass
        screen.show("with a wrong token", refused.error.message)
        async with connect(place.address, token=place.token) as client:
            session = client.session
            assert session is not None
            capabilities = sorted(session.capabilities)
            screen.show("with the right one", session.id, f"session {session.id}")
            screen.show("agreed on", capabilities, ", ".join(capabilities))
            expect_that("the session", "challenge" in capabilities, "made by challenge", capabilities)
            expect("the pid of the server, by the kernel", session.server.pid, place.running.pid)

    async def ask(self, screen: Screen) -> None:
        place = self._place
        async with connect(place.address, token=place.token) as client:
            greeting = await client.call("demo.greet", name="Ada", times=2)
            screen.show("demo.greet", greeting)
            expect("demo.greet", greeting, "Hello, Ada! Hello, Ada!")
            status = await client.call("daemon.status")
            screen.show("daemon.status", status, f"{status['status']}, pid {status['pid']}, {status['version']}")
            expect("the pid in daemon.status", status["pid"], place.running.pid)
            health = await client.call("health.check")
            screen.show("health.check", health, health["status"])
            expect("health.check", health["status"], "healthy")
            described = await client.call("ipc.describe")
            commands = [command["name"] for command in described["commands"]]
            events = [event["name"] for event in described["events"]]
            screen.show("ipc.describe", described, f"{len(commands)} commands, {len(events)} events, with schemas")
            expect_that("ipc.describe", {"demo.greet", "daemon.status"} <= {*commands}, "all commands", commands)
            seconds = await client.ping()
            screen.show("a ping", seconds, f"{seconds * 1000:.2f} ms there and back")

    async def err(self, screen: Screen) -> None:
        place = self._place
        async with connect(place.address, token=place.token) as client:
            with expect_error("a command that there is not", UnknownCommand) as unknown:
                await client.call("demo.gret", name="Ada")
            details = unknown.error.details or {}
            suggestions = details.get("suggestions", [])
            expect("the first suggestion", suggestions[:1], ["demo.greet"])
            screen.show("demo.gret", details, f"{unknown.error}; did you mean {suggestions[0]}?")
            with expect_error("an argument of a wrong type", InvalidArgs) as wrong:
                await client.call("demo.greet", name="Ada", times="twice")
            screen.show("demo.greet times=twice", wrong.error.details, wrong.error.message)
            expect("the field at fault", (wrong.error.details or {}).get("field"), "times")
            greeting = await client.call("demo.greet", name="again")
            screen.show("and then", greeting)
            expect("the same connection, afterwards", greeting, "Hello, again!")

    async def follow(self, screen: Screen) -> None:
        place = self._place
        steps: list[float] = []
        async with (
            connect(place.address, token=place.token) as client,
            client.stream("demo.hash", blocks=_BLOCKS) as items,
        ):
            async for item in items:
                progress = item["progress"]
                steps.append(progress["done"])
                screen.progress(progress["done"], progress["total"])
        expect("the steps of the progress", steps, list(range(1, _BLOCKS + 1)))
        digest = hashlib.sha256(BLOCK * _BLOCKS).hexdigest()
        screen.show("SHA-256", items.result, f"{items.result['sha256'][:16]}... of {items.result['bytes']} bytes")
        expect("the digest, worked out here too", items.result["sha256"], digest)

    async def cancel(self, screen: Screen) -> None:
        place = self._place
        async with (
            connect(place.address, token=place.token) as client,
            client.subscribe("wait.*") as events,
            trio.open_nursery() as nursery,
        ):
            scope = trio.CancelScope()

            async def ask() -> None:
                with scope:
                    await client.call("demo.wait")

            nursery.start_soon(ask)
            for name in ("wait.started", "wait.cancelled"):
                event = await anext(events)
                expect("an event of the command", isinstance(event, Event) and event.name, name)
                screen.show("the daemon says", name)
                if name == "wait.started":
                    scope.cancel()
                    screen.show("the client", "cancel")
            greeting = await client.call("demo.greet", name="again")
            screen.show("and then", greeting)
            expect("the same connection, afterwards", greeting, "Hello, again!")

    async def listen(self, screen: Screen) -> None:
        place = self._place
        wanted = {
            "build.*": ["build.started", "build.finished"],
            "*.finished": ["deploy.finished", "build.finished"],
            "**": ["build.started", "deploy.started", "deploy.finished", "build.finished"],
        }
        came: dict[str, list[str]] = {}
        subscribed = trio.Event()

        async def hear(pattern: str) -> None:
            async with connect(place.address, token=place.token) as client, client.subscribe(pattern) as events:
                came[pattern] = []
                if len(came) == len(wanted):
                    subscribed.set()
                came[pattern] = await _names_until(events, "build.finished")

        async with connect(place.address, token=place.token) as client, trio.open_nursery() as nursery:
            for pattern in wanted:
                nursery.start_soon(hear, pattern)
            await subscribed.wait()
            await client.call("demo.build", number=1)
        for pattern, names in wanted.items():
            screen.show(f"a client of {pattern}", came[pattern], ", ".join(came[pattern]))
            expect(f"the events of {pattern}", came[pattern], names)

    async def stop(self, screen: Screen) -> None:
        place = self._place
        daemon = place.running
        async with (
            connect(place.address, token=place.token, reconnect=False) as client,
            client.subscribe("daemon.*") as events,
        ):
            answer = await client.call("daemon.stop")
            screen.show("daemon.stop", answer, answer["message"])
            event = await anext(events)
            expect_that("the last event", isinstance(event, Event), "an event", event)
            assert isinstance(event, Event)
            screen.show("the daemon says", event.data, f"{event.name}, reason {event.data['reason']}")
            expect("the last event", event.name, "daemon.stopping")
        code = await daemon.wait()
        left = place.has_socket()
        screen.show("the process", code, f"ended with exit code {code}")
        screen.show(f"the {place.what}", left, "is still there" if left else "is gone")
        expect_that("the exit code", code == 0, "0", f"{code}, and it said: {daemon.last_words}")
        expect(f"whether the {place.what} is left", left, False)


async def _names_until(events: EventStream, last: str) -> list[str]:
    names: list[str] = []
    async for event in events:
        names.append(event.name if isinstance(event, Event) else repr(event))
        if names[-1] == last:
            break
    return names
