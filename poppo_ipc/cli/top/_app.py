"""The program: the places, the keys, and the feed that fills them."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Final

import anyio
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Footer

from poppo_ipc.cli._safe import safe
from poppo_ipc.cli.top._actions import cancel_task, retry_task, scale_workers, toggle_queue
from poppo_ipc.cli.top._dialogs import Confirm, Help
from poppo_ipc.cli.top._ending import ending_signals
from poppo_ipc.cli.top._feed import Feed
from poppo_ipc.cli.top._model import LinkState, Model, Part
from poppo_ipc.cli.top._panels import (
    EventsPanel,
    Head,
    LogsPanel,
    QueuePanel,
    RequestsPanel,
    TasksTable,
    WorkersTable,
)
from poppo_ipc.client import Client
from poppo_ipc.errors import PoppoError

__all__ = ["TopApp"]

#: Seconds between two drawings at least, however often something changes.
_FRAME: Final = 0.2
#: Lines of the screen from which on the curves get more of them.
_TALL: Final = 34

#: The exit code of an end by a signal, without the signal's number.
_BY_SIGNAL: Final = 128

Act = Callable[[Client], Awaitable[str]]


class TopApp(App[None]):
    """The screen. `open_client` gives the client, for the length of a block; `failure` is why it ended by itself."""

    TITLE = "poppo-ipc top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    Head { height: 1; background: $panel; }
    Head, #figures > *, #told > * { text-wrap: nowrap; text-overflow: clip; }
    #figures { height: 5; }
    #figures.tall { height: 9; }
    #work, #told { height: 1fr; }
    #figures > *, #told > *, #work > * {
        height: 100%; border-top: solid $primary-darken-1; border-title-color: $text; border-title-style: bold;
    }
    #figures > *, #told > * { width: 1fr; }
    WorkersTable { width: 34; background: $background; }
    TasksTable { width: 1fr; background: $background; }
    WorkersTable, TasksTable { overflow-x: hidden; scrollbar-size-vertical: 1; }
    #work.wide WorkersTable { width: 2fr; }
    #work.wide TasksTable { width: 3fr; }
    #work > *:focus { border-top: solid $accent; background-tint: transparent; }
    .left { margin-right: 1; }
    Confirm, Help { align: center middle; }
    Confirm > Vertical, Help > Vertical {
        width: auto; max-width: 90%; height: auto; padding: 1 2; border: round $accent; background: $panel;
    }
    Confirm Static, Help Static { width: auto; }
    .keys { margin-top: 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "toggle_queue", "Pause/resume"),
        Binding("plus,kp_plus", "scale(1)", "Worker", key_display="+"),
        Binding("minus,kp_subtract", "scale(-1)", "Worker", key_display="-"),
        Binding("c", "cancel_task", "Cancel task"),
        Binding("r", "retry_task", "Retry"),
        Binding("question_mark,h", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]

    def __init__(self, open_client: Callable[[], AbstractAsyncContextManager[Client]], address: str) -> None:
        super().__init__()
        self.model = Model()
        self.failure: Exception | None = None
        self._open_client = open_client
        self._address = safe(address)
        self._client: Client | None = None
        self._feed: Feed | None = None
        self._changed = True
        self._drawn: anyio.Event | None = None

    def compose(self) -> ComposeResult:
        model = self.model
        yield Head(model, self._address, time.monotonic)
        with Horizontal(id="figures"):
            yield _titled(RequestsPanel(model, Part.REQUESTS, classes="left"), "Requests")
            yield _titled(QueuePanel(model, Part.QUEUE), "Queue")
        with Horizontal(id="work"):
            yield _titled(WorkersTable(model, Part.WORKERS, classes="left"), "Workers")
            yield _titled(TasksTable(model, Part.TASKS), "Tasks")
        with Horizontal(id="told"):
            yield _titled(EventsPanel(model, Part.EVENTS, classes="left"), "Events")
            yield _titled(LogsPanel(model, Part.LOGS), "Log")
        yield Footer()

    def on_mount(self) -> None:
        """Begin."""
        self.query_one(TasksTable).focus()
        self.set_interval(_FRAME, self._draw)
        self.run_worker(self._live(), exit_on_error=False)
        self.run_worker(self._end_on_signal())

    def on_resize(self, event: events.Resize) -> None:
        """Use the room there is."""
        self.query_one("#figures").set_class(event.size.height >= _TALL, "tall")
        self.query_one("#work").set_class(event.size.width >= 110, "wide")
        self._changed = True

    async def drawn(self) -> None:
        """Wait until the screen has been drawn anew."""
        if self._drawn is None:
            self._drawn = anyio.Event()
        await self._drawn.wait()

    async def _live(self) -> None:
        try:
            async with self._open_client() as client:
                self._client, self._feed = client, Feed(client, self.model, self._note)
                await self._feed.run()
        except Exception as error:
            # To be told when the screen is gone, as any command tells it.
            self.failure = _first(error)
            self.exit()

    async def _end_on_signal(self) -> None:
        """Leave the terminal as it was found, however the program is ended."""
        async with ending_signals() as signals:
            async for number in signals:
                self.exit(return_code=_BY_SIGNAL + number)

    def _note(self) -> None:
        self._changed = True

    def _draw(self) -> None:
        if not self._changed and self.model.link.state is LinkState.CONNECTED:
            return
        self._changed = False
        # The timer may ring while the screen is still being made, or is being taken down: then there are none of these,
        # or there is no screen any more.
        for screen in self.screen_stack[:1]:
            for kind in (Head, RequestsPanel, QueuePanel, EventsPanel, LogsPanel):
                for panel in screen.query(kind):
                    panel.refresh()
            for each in (WorkersTable, TasksTable):
                for table in screen.query(each):
                    table.show()
        drawn, self._drawn = self._drawn, None
        if drawn is not None:
            self.call_after_refresh(drawn.set)

    # -- keys -----------------------------------------------------------------------------------------------------

    def action_toggle_queue(self) -> None:
        """Pause the queue, or let it go on."""
        self._act(lambda client: toggle_queue(client, self.model))

    def action_scale(self, step: int) -> None:
        """One worker more or less."""
        count = max(0, len(self.model.workers) + step)
        if count or not self.model.workers:
            self._act(lambda client: scale_workers(client, count))
        else:
            self._ask("Without its last worker the daemon runs no task. Stop it?", lambda c: scale_workers(c, 0))

    def action_cancel_task(self) -> None:
        """Cancel the task under the cursor."""
        task_id = self.screen_stack[0].query_one(TasksTable).selected()
        task = next((task for task in self.model.tasks if task.id == task_id), None)
        if task is None:
            self._say("There is no task to cancel", "warning")
            return
        self._ask(f"Cancel task {task.id} ({task.type}, {task.status})?", lambda c: cancel_task(c, task.id))

    def action_retry_task(self) -> None:
        """Run the task under the cursor again."""
        task_id = self.screen_stack[0].query_one(TasksTable).selected()
        if task_id is None:
            self._say("There is no task to retry", "warning")
        else:
            self._act(lambda client: retry_task(client, task_id))

    def action_interrupt(self) -> None:
        """End as Ctrl-C ends any program."""
        self.exit(return_code=_BY_SIGNAL + signal.SIGINT)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def _ask(self, question: str, act: Act) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._act(act)

        self.push_screen(Confirm(question), answered)

    def _act(self, act: Act) -> None:
        client = self._client
        if client is None or self.model.link.state is not LinkState.CONNECTED:
            self._say("There is no connection to the daemon just now", "warning")
            return
        self.run_worker(self._do(act, client))

    async def _do(self, act: Act, client: Client) -> None:
        try:
            said = await act(client)
        except PoppoError as error:
            self._say(safe(error.message), "error")
        else:
            self._say(said, "information")
        if self._feed is not None:
            self._feed.poke()

    def _say(self, text: str, severity: str) -> None:
        self.notify(text, severity=severity, timeout=4, markup=False)  # type: ignore[arg-type]  # one of three words


def _titled(widget: Widget, title: str) -> Widget:
    widget.border_title = title
    return widget


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
