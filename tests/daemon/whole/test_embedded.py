"""A daemon inside a program: what an author adds, leaves out and replaces, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from cli.processes import at
from store.kit import Gate

from poppo_ipc import AddressInUse, CommandError, DeclarationError, Event, PoppoError, Unavailable, connect
from poppo_ipc.client import Client, EventStream
from poppo_ipc.daemon import ConfigError, Daemon, DaemonConfig
from poppo_ipc.daemon import _daemon as daemon_module
from poppo_ipc.daemon.store import StoreError, StoreLocked
from poppo_ipc.daemon.workers import Ending, Functions, JobOutcome, JobSource, PoolStatus, WorkerEvents
from poppo_ipc.errors import Conflict, ShuttingDown

from . import functions
from .programs import SLEEP, TRUE

pytestmark = pytest.mark.trio

FALLEN = "an access violation" if sys.platform == "win32" else "SIGSEGV"


@pytest.fixture
def home(short_dir: Path) -> Path:
    return short_dir


@pytest.fixture
def shared(home: Path) -> Path:
    """A directory that others can read."""
    directory = home / "shared"
    directory.mkdir()  # without a mode Windows hands down what the directory above has
    directory.chmod(0o755)
    return directory


def config(home: Path, **more: Any) -> DaemonConfig:
    return DaemonConfig(**{"state_dir": home, "socket": at(home / "sock"), "workers": 0, "stop_grace": 1.0, **more})


@asynccontextmanager
async def serving(daemon: Daemon) -> AsyncIterator[Client]:
    """The daemon, and a client of it; stopped in order at the end."""
    with trio.fail_after(45):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(daemon.serve)
            async with connect(address, token=None) as client:
                yield client
            daemon.stop_soon()


async def until(events: EventStream, name: str) -> Event:
    async for event in events:
        if isinstance(event, Event) and event.name == name:
            return event
    raise AssertionError("the events ended")


@attrs.frozen
class Greeted:
    name: str


async def test_a_task_a_command_an_event_and_a_check_of_its_author(home: Path) -> None:
    daemon = Daemon(config(home, workers=1))
    daemon.task("double")(functions.double)
    daemon.router.event("somebody.greeted", Greeted)

    @daemon.router.command("greet")
    async def greet(name: str) -> str:
        await daemon.publish("somebody.greeted", Greeted(name))
        return f"Hello, {name}!"

    @daemon.health.check("mine")
    def mine() -> bool:
        return True

    async with serving(daemon) as client, client.subscribe("somebody.*", "task.*") as events:
        assert await client.call("greet", name="Ada") == "Hello, Ada!"
        assert (await until(events, "somebody.greeted")).data == {"name": "Ada"}
        task = (await client.call("task.submit", type="double", payload={"number": 21}))["taskId"]
        await until(events, "task.completed")
        assert (await client.call("task.status", taskId=task))["result"] == 42
        assert (await client.call("health.check"))["checks"]["mine"] is True


async def test_who_is_cancelled_waits_for_an_event_to_be_stored_no_longer_than_its_time(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was shielded with no limit: where the disk hung, so did who published."""
    daemon = Daemon(config(home))
    daemon.router.event("somebody.greeted", Greeted)

    async def publish(name: str) -> None:
        await daemon.publish("somebody.greeted", Greeted(name))
        stored.append(name)

    stored: list[str] = []
    async with serving(daemon) as client, client.subscribe("somebody.*") as events:
        assert daemon._queue is not None
        monkeypatch.setattr(daemon_module, "_PUBLISH_SECONDS", 0.05)
        async with trio.open_nursery() as nursery, Gate(daemon._queue.store) as gate:
            nursery.start_soon(publish, "Ada")
            with trio.CancelScope() as scope:
                scope.cancel()
                await publish("Bob")
            assert scope.cancelled_caught
            assert "The store did not take somebody.greeted within 0.05 s" in caplog.text
            assert stored == []
            gate.open()
        # Who was not cancelled has waited on, and it is stored once.
        await publish("Eve")
        assert [(await until(events, "somebody.greeted")).data["name"] for _ in range(2)] == ["Ada", "Eve"]
    assert stored == ["Ada", "Eve"]


@pytest.mark.parametrize(("function", "says"), [(functions.leave, "3"), (functions.fall, FALLEN)])
async def test_a_function_that_takes_its_worker_with_it(home: Path, function: Callable[[], None], says: str) -> None:
    daemon = Daemon(config(home, workers=1))
    daemon.task("fatal")(function)
    daemon.task("double")(functions.double)
    async with serving(daemon) as client, client.subscribe("task.*", "worker.*") as events:
        await client.call("task.submit", type="fatal", maxAttempts=1, payload={})
        assert says in (await until(events, "task.failed")).data["error"]
        await client.call("task.submit", type="double", payload={"number": 1})
        await until(events, "task.completed")


async def test_a_decorated_function_that_no_worker_could_import_is_refused_by_serve(home: Path) -> None:
    daemon = Daemon(config(home))

    @daemon.task("local")
    def local() -> None: ...

    with pytest.raises(DeclarationError, match="local"):
        await daemon.serve()


@pytest.mark.parametrize(
    ("part", "command"),
    [
        ("workers", "worker.status"),
        ("tasks", "task.list"),
        ("tasks", "worker.scale"),
        ("projects", "project.list"),
        ("metrics", "metrics.get"),
        ("health", "health.check"),
        ("", "logs.tail"),
    ],
)
async def test_a_part_that_is_left_out_is_unavailable(home: Path, part: str, command: str) -> None:
    async with serving(Daemon(config(home), without={part} - {""})) as client:
        with pytest.raises(Unavailable, match=f"{command} is not part of this daemon"):
            await client.call(command, odd=1)
        status = await client.call("status")
        assert status["workers"] == {"total": 0, "active": 0, "idle": 0, "workers": []}
        assert status["daemon"]["components"]["workerPool"] is (part not in ("workers", "tasks"))


async def test_there_are_no_other_parts_to_leave_out() -> None:
    with pytest.raises(DeclarationError, match="no part 'wokers'"):
        Daemon(without={"wokers"})


class OwnPool:
    """Runs tasks in this process, one after the other."""

    def __init__(self, functions: Functions, source: JobSource, events: WorkerEvents) -> None:
        self._source = source
        self._draining = trio.Event()
        self.failing: Exception | None = None
        self.scaled: list[int] = []
        self.graces: list[float] = []

    async def run(self) -> None:
        while self.failing is None:
            job = await self._source.next_job("own")
            if job.type != "command":
                await self._source.job_ended(job, "own", JobOutcome(ending=Ending.COMPLETED, result="by hand"))
                continue
            self.failing = RuntimeError("the pool failed")
            await self._source.job_ended(job, "own", JobOutcome(ending=Ending.FAILED, error="no"))
        raise self.failing

    async def drain(self, grace: float) -> None:
        self._draining.set()

    def cancel_job(self, task_id: str) -> bool:
        return False

    def set_kill_grace(self, seconds: float) -> None:
        self.graces.append(seconds)

    async def scale(self, count: int) -> None:
        self.scaled.append(count)

    async def restart(self, worker_id: str | None = None) -> None: ...

    def status(self) -> PoolStatus:
        return PoolStatus(total=0, active=0, idle=0, target=0, workers=())


async def test_a_pool_of_the_authors_own(home: Path) -> None:
    pools: list[OwnPool] = []

    def make(*args: Any) -> OwnPool:
        pools.append(OwnPool(*args))
        return pools[0]

    daemon = Daemon(config(home), pool=make)
    daemon.task("double")(functions.double)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            address = await nursery.start(daemon.serve)
            async with connect(address, token=None) as client, client.subscribe("task.*") as events:
                task = (await client.call("task.submit", type="double", payload={}))["taskId"]
                await until(events, "task.completed")
                assert (await client.call("task.status", taskId=task))["result"] == "by hand"
                await client.call("worker.scale", count=3)
                assert pools[0].scaled == [3]
        nursery.cancel_scope.cancel()


async def test_a_part_that_fails_ends_the_daemon_with_its_error_and_bare(home: Path) -> None:
    daemon = Daemon(config(home), pool=OwnPool)
    ended: list[BaseException] = []

    async def serve(*, task_status: trio.TaskStatus[Any]) -> None:
        try:
            await daemon.serve(task_status=task_status)
        except RuntimeError as error:
            ended.append(error)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(serve)
            async with connect(address, token=None, reconnect=False) as client:
                with pytest.raises(PoppoError):  # noqa: PT012 - the connection may break at any of them
                    await client.call("task.submit", type="command", payload={"argv": TRUE})
                    while True:
                        await client.call("daemon.status")
    assert [str(error) for error in ended] == ["the pool failed"]


async def test_it_serves_once(home: Path) -> None:
    daemon = Daemon(config(home))
    async with serving(daemon):
        pass
    with pytest.raises(PoppoError, match="has served already"):
        await daemon.serve()


async def test_errors_of_the_start_come_bare_and_leave_nothing(home: Path, shared: Path) -> None:
    async with serving(Daemon(config(home))):
        with pytest.raises(AddressInUse):
            await Daemon(config(home)).serve()
        with pytest.raises(StoreLocked):
            await Daemon(config(home, socket=at(home / "other"))).serve()
        assert not (home / "other").exists()
    with pytest.raises(StoreError, match="is open to "):
        await Daemon(config(home, state_dir=shared)).serve()
    async with serving(Daemon(config(home))) as client:
        assert (await client.call("daemon.status"))["status"] == "running"


async def test_cancelled_at_any_moment_it_leaves_the_state_to_the_next(home: Path) -> None:
    for steps in range(0, 60, 4):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Daemon(config(home, workers=1)).serve)
                for _ in range(steps):
                    await trio.testing.wait_all_tasks_blocked() if steps % 8 else await trio.lowlevel.checkpoint()
                scope.cancel()
    async with serving(Daemon(config(home))) as client:
        assert (await client.call("daemon.status"))["status"] == "running"


async def test_what_has_no_source_of_settings_cannot_reload(home: Path) -> None:
    async with serving(Daemon(config(home))) as client:
        with pytest.raises(Unavailable, match="nothing to read again"):
            await client.call("daemon.reload")


async def test_a_reload_takes_over_what_can_change(home: Path) -> None:
    new = config(home, workers=2, kill_grace=0.5, stop_grace=0.5, log_level="debug", no_auth=True)
    sources: list[DaemonConfig | Exception] = [new, ConfigError(()), new]

    async def source() -> DaemonConfig:
        found = sources.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    pools: list[OwnPool] = []

    def make(*args: Any) -> OwnPool:
        pools.append(OwnPool(*args))
        return pools[0]

    daemon = Daemon(config(home), config_source=source, pool=make)
    async with trio.open_nursery() as nursery:
        address = await nursery.start(daemon.serve)
        async with connect(address, token=None) as client:
            shown = (await client.call("daemon.reload"))["config"]
            assert shown["changed"] == ["workers", "log_level", "kill_grace", "stop_grace"]
            assert shown["needsRestart"] == ["no_auth"]
            assert (pools[0].scaled, pools[0].graces) == ([2], [0.5])
            assert (daemon.config.stop_grace, daemon.config.no_auth) == (0.5, False)
            with pytest.raises(Conflict):
                await client.call("daemon.reload")
            assert daemon.config.workers == 2
            assert (await client.call("daemon.reload"))["config"]["changed"] == []
            assert (pools[0].scaled, pools[0].graces) == ([2], [0.5])
        nursery.cancel_scope.cancel()


async def test_in_an_orderly_end_clients_hear_of_the_tasks_and_are_refused_new_commands(home: Path) -> None:
    daemon = Daemon(config(home, workers=1, stop_grace=0.3, kill_grace=0.3))
    seen: list[str] = []
    async with trio.open_nursery() as nursery:
        address = await nursery.start(daemon.serve)
        async with connect(address, token=None, reconnect=False) as client, client.subscribe("**") as events:
            task = (await client.call("task.submit", type="command", payload={"argv": SLEEP}))["taskId"]
            await until(events, "task.started")
            daemon.stop_soon(reason="test")
            try:
                async for event in events:
                    assert isinstance(event, Event)
                    seen.append(event.name)
                    if event.name == "daemon.stopping":
                        assert event.data["reason"] == "test"
                        with pytest.raises(ShuttingDown):
                            await client.call("task.status", taskId=task)
                    if event.name == "task.failed":
                        assert event.data["willRetry"] is True
            except (PoppoError, CommandError):
                pass
    assert seen == ["daemon.stopping", "task.failed", "worker.removed"]
