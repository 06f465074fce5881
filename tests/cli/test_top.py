"""`top` on a real daemon: by textual's own driver, and once as a person has it, in a terminal of 80x24."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from textual.pilot import Pilot

from poppo_ipc import SyncClient
from poppo_ipc.cli.top._app import TopApp
from poppo_ipc.cli.top._dialogs import Confirm, Help
from poppo_ipc.cli.top._model import LinkState, Part
from poppo_ipc.cli.top._panels import TasksTable, WorkersTable
from poppo_ipc.client import Backoff, connect

from .original import Original
from .processes import PATIENCE, Program, Serve, at, sleeping
from .program import PROGRAM, Shell

Steps = Callable[[TopApp, Pilot[None]], Awaitable[None]]


def token_of(daemon: Serve) -> str:
    return (daemon.state / "token").read_text().strip()


def play(socket: str, steps: Steps, *, token: str | None = None, size: tuple[int, int] = (80, 24)) -> TopApp:
    """Run the program without a terminal, and do these steps with it."""
    backoff = Backoff(start=0.02, cap=0.1)
    app = TopApp(lambda: connect(socket, token=token, retry_initial=True, backoff=backoff), socket)

    async def main() -> None:
        async with app.run_test(size=size) as pilot:
            with anyio.fail_after(PATIENCE):
                await steps(app, pilot)

    anyio.run(main, backend="asyncio")
    return app


async def until(app: TopApp, holds: Callable[[], object]) -> None:
    while not holds():
        await app.drawn()


def shown(app: TopApp) -> str:
    """All that is on the screen."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


@pytest.fixture
def daemon(place: Path) -> Iterator[Serve]:
    with Serve(place / "sock", "--workers", "1") as daemon:
        yield daemon.until_ready()


def sleeper(client: SyncClient, seconds: float = 60) -> str:
    args = {"type": "command", "payload": {"argv": sleeping(seconds)}}
    task_id = client.call("task.submit", args)["taskId"]
    assert isinstance(task_id, str)
    return task_id


@pytest.mark.parametrize("size", [(80, 24), (132, 43), (40, 10), (10, 4)])
def test_it_shows_what_the_daemon_does(daemon: Serve, size: tuple[int, int]) -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        model = app.model
        await until(app, lambda: model.requests.rate and model.queue.running == 1 and model.logs and model.events)
        await until(app, lambda: model.workers and model.workers[0].memory)
        await app.drawn()
        text = shown(app)
        if size[0] < 80:
            return
        assert "connected" in text
        assert f"pid {daemon.pid}" in text
        assert task_id in text
        for word in ("Requests", "Queue", "Workers", "Tasks", "Events", "Log", "latency", "p99", "worker-1", "running"):
            assert word in text, text
        assert "task.started" in text
        assert "Serving on" in text
        assert "Pause/resume" in text
        assert "Quit" in text

    with daemon.client() as client:
        task_id = sleeper(client)
        assert play(daemon.socket, steps, token=token_of(daemon), size=size).failure is None


def test_the_keys_steer_the_daemon(daemon: Serve) -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        model, tasks = app.model, app.query_one(TasksTable)
        await until(app, lambda: model.queue.running == 1 and tasks.row_count == 1)
        await pilot.press("p")
        await until(app, lambda: model.queue.paused is True)
        await until(app, lambda: "PAUSED" in shown(app))
        await pilot.press("p")
        await until(app, lambda: model.queue.paused is False)
        await pilot.press("+", "?")
        assert isinstance(app.screen, Help)
        await pilot.press("x")
        await until(app, lambda: len(model.workers) == 2)
        await pilot.press("-")
        await until(app, lambda: len(model.workers) == 1)
        await pilot.press("c")
        assert isinstance(app.screen, Confirm)
        assert f"Cancel task {task_id}" in shown(app)
        await pilot.press("n")
        assert not isinstance(app.screen, Confirm)
        assert model.queue.running == 1
        await pilot.press("c", "y")
        await until(app, lambda: [task.status for task in model.tasks] == ["cancelled"])
        await until(app, lambda: tasks.selected() == task_id)
        await pilot.press("r")
        await until(app, lambda: [task.status for task in model.tasks] == ["running", "cancelled"])

    with daemon.client() as client:
        task_id = sleeper(client)
        assert play(daemon.socket, steps, token=token_of(daemon)).failure is None
        assert client.call("queue.status")["paused"] is False


def test_the_last_worker_goes_only_after_a_question(daemon: Serve) -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        await until(app, lambda: len(app.model.workers) == 1)
        await pilot.press("-")
        assert isinstance(app.screen, Confirm)
        await pilot.press("escape")
        await pilot.press("-", "y")
        await until(app, lambda: not app.model.workers)
        await pilot.press("+")
        await until(app, lambda: len(app.model.workers) == 1)

    assert play(daemon.socket, steps, token=token_of(daemon)).failure is None


def test_what_the_daemon_refuses_is_told(daemon: Serve) -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        await until(app, lambda: app.model.tasks)
        await until(app, lambda: app.query_one(TasksTable).row_count)
        await pilot.press("r")
        await until(app, lambda: [each.severity for each in app._notifications] == ["error"])

    with daemon.client() as client:
        sleeper(client)
        play(daemon.socket, steps, token=token_of(daemon))


def test_the_cursor_stays_on_its_task(daemon: Serve) -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        tasks = app.query_one(TasksTable)
        await until(app, lambda: tasks.row_count == 3)
        await pilot.press("down", "down")
        chosen = tasks.selected()
        assert chosen is not None
        others = [each for each in ids if each != chosen]
        with daemon.client() as client:
            await anyio.to_thread.run_sync(lambda: client.call("task.cancel", {"taskId": others[0]}))
        await until(app, lambda: "cancelled" in shown(app))
        assert tasks.selected() == chosen
        await pilot.press("home")
        await until(app, lambda: tasks.cursor_row == 0)

    with daemon.client() as client:
        ids = [sleeper(client) for _ in range(3)]
        play(daemon.socket, steps, token=token_of(daemon))


def test_it_goes_on_with_the_next_daemon(place: Path) -> None:
    socket = place / "sock"
    with Serve(socket, "--workers", "1") as first:
        first.until_ready()
        second: list[Serve] = []

        async def steps(app: TopApp, pilot: Pilot[None]) -> None:
            model = app.model
            await until(app, lambda: model.daemon.pid == first.pid)
            await anyio.to_thread.run_sync(first.kill)
            await until(app, lambda: model.link.state is LinkState.AWAY)
            await until(app, lambda: "reconnecting" in shown(app))
            await pilot.press("p")
            await until(app, lambda: any("no connection" in each.message for each in app._notifications))
            second.append(Serve(socket, "--workers", "1"))
            await anyio.to_thread.run_sync(second[0].until_ready)
            await until(app, lambda: model.link.state is LinkState.CONNECTED and model.daemon.pid == second[0].pid)
            await until(app, lambda: " connected " in shown(app))
            await until(app, lambda: None in model.rates and model.rates[-1] is not None)
            started = [event for event in model.events if event.name == "daemon.started"]
            assert len(started) == 2

        try:
            assert play(first.socket, steps, token=token_of(first)).failure is None
        finally:
            for each in second:
                each.__exit__(None, None, None)


def test_the_timer_may_ring_when_the_screen_is_gone_already(place: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        await app.drawn()

    app = play(at(place / "sock"), steps)
    assert app.screen_stack == []
    app._draw()


def test_what_is_left_out_of_a_daemon_is_shown_as_missing(place: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        model = app.model
        missing = {Part.QUEUE, Part.WORKERS, Part.TASKS, Part.REQUESTS, Part.LOGS}
        await until(app, lambda: missing <= set(model.lacks))
        await app.drawn()
        assert shown(app).count("missing: ") == len(missing)
        assert app.query_one(WorkersTable).row_count == 0
        await pilot.press("p", "+", "c", "r")
        await until(app, lambda: len(app._notifications) == 4)
        await until(app, lambda: model.events)

    script, address = Path(__file__).with_name("without.py"), at(place / "sock")
    with Program(sys.executable, script, address, place / "state", "tasks", "metrics", "health", "projects") as daemon:
        daemon.wait_for("ready")
        assert play(address, steps).failure is None


def test_an_original_server_shows_what_it_has(place: Path) -> None:
    worker = {"id": "w-1", "status": "busy", "currentTask": "t-1"}
    answers: dict[str, Any] = {
        "daemon.status": {"status": "running", "pid": 77, "uptime": 5.0, "version": "3.0.0"},
        "daemon.metrics": {"timestamp": "2026-01-01T00:00:00Z", "metrics": {}},
        "queue.status": {"total": 3, "pending": 2, "running": 1, "completed": 0, "failed": 0},
        "worker.status": {"total": 1, "workers": [worker]},
        "task.list": {"count": 1, "tasks": [{"id": "t-1", "type": "\x1b[31m[red]x[/]", "status": "running"}]},
        "logs.tail": {"lines": [{"level": "error", "message": "[b]bad[/b] \x1b[2J"}, "a bare line"]},
        "queue.pause": {"message": "Queue all paused"},
    }

    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        await until(app, lambda: app.model.logs and app.model.tasks and app.model.workers)
        await app.drawn()
        await app.drawn()
        text = shown(app)
        assert "\x1b" not in text
        for word in ("pid 77", "w-1", "busy", "t-1", "\\x1b[31m[r", "ERRO [b]bad[/b]", "a bare line"):
            assert word in text, text
        assert "missing: not measured by this daemon" in text
        await pilot.press("p")
        await until(app, lambda: "PAUSED" in shown(app))

    with Original(place / "sock", answers) as server:
        assert play(at(place / "sock"), steps).failure is None
    assert not [command for command, _ in server.asked if command.startswith(("events.", "ipc."))]


def test_a_token_that_is_no_longer_taken_ends_it_with_the_reason(place: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        while app.failure is None:
            await pilot.pause(0.01)

    with Serve(place / "sock", "--workers", "0") as daemon:
        daemon.until_ready()
        app = play(at(place / "sock"), steps, token="a wrong one")
    assert "token" in str(app.failure)


# -- in a terminal ----------------------------------------------------------------------------------------------------


#: What is on the screen once all of it is drawn.
WORDS = ("task.completed", "█", " connected", "pid", "worker-2", "busy", "q Quit")


class Load:
    """A client that asks and submits for as long as the block lasts."""

    def __init__(self, daemon: Serve) -> None:
        self._daemon = daemon
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._daemon.client() as client:
            while not self._over.wait(0.002):
                sleeper(client, 0.01)
                client.call("daemon.status", idempotent=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_in_a_terminal_under_load_and_over_a_restart(place: Path) -> None:
    from .vt import Terminal

    socket = place / "sock"
    with Serve(socket, "--workers", "2") as first:
        first.until_ready()
        env = {"POPPO_SOCKET": str(socket), "POPPO_STATE_DIR": str(first.state)}
        with Terminal([*PROGRAM, "top"], env) as terminal:
            with Load(first):
                terminal.until(lambda shown: all(word in shown for word in WORDS))
            lines = terminal.shown.splitlines()
            assert len(lines) == 24
            assert "Requests" in lines[1]
            assert "q Quit" in lines[23]
            assert len(terminal.colours) > 3
            first.stop()
            terminal.until_shown("reconnecting")
            with Serve(socket, "--workers", "2") as second:
                second.until_ready()
                terminal.until_shown(f"pid {second.pid}")
                terminal.press("p")
                terminal.until_shown("PAUSED")
                terminal.press("?")
                terminal.until_shown("Any key closes this")
                terminal.press("x")
                terminal.until(lambda shown: "Any key closes this" not in shown)
                terminal.press("q")
                assert terminal.wait() == 0
                second.stop()


def test_ctrl_c_leaves_the_terminal_as_it_was(daemon: Serve) -> None:
    from .vt import Terminal

    env = {"POPPO_SOCKET": daemon.socket, "POPPO_STATE_DIR": str(daemon.state), "NO_COLOR": "1"}
    script = 'before=$(stty -g); "$@"; code=$?; [ "$before" = "$(stty -g)" ] && exit $code'
    with Terminal(["sh", "-c", script, "sh", *PROGRAM, "top"], env) as terminal:
        terminal.until_shown("worker-1")
        assert all(
            colour[:2] == colour[2:4] == colour[4:] for colour in terminal.colours - {"default", "white", "black"}
        )
        terminal.press("\x03")
        assert terminal.wait() == 130
        assert "\x1b[?1049l" in terminal.tail


def test_a_signal_leaves_the_terminal_as_it_was(daemon: Serve) -> None:
    from .vt import Terminal

    env = {"POPPO_SOCKET": daemon.socket, "POPPO_STATE_DIR": str(daemon.state)}
    with Terminal([*PROGRAM, "top"], env) as terminal:
        terminal.until_shown("worker-1")
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait() == 143
        assert "\x1b[?1049l" in terminal.tail


def test_without_a_terminal_it_is_told(served: Shell) -> None:
    for arguments in ((), ("--json",)):
        ran = served.ask("top", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == "poppo-ipc: top needs a terminal. For a program there is poppo-ipc status --json.\n"


def test_without_a_daemon_it_is_told_before_the_screen_is_taken(place: Path) -> None:
    said = Shell({"POPPO_SOCKET": str(place / "none"), "POPPO_STATE_DIR": str(place)}).shown("top")
    assert said.startswith("poppo-ipc: No daemon listens at")
    assert "\x1b" not in said
