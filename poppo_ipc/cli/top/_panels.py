"""The places on the screen: each makes its text of the model, as large as it is just then."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Literal

from rich.text import Text
from textual.widget import Widget
from textual.widgets import DataTable

from poppo_ipc.cli.top._draw import (
    age_text,
    clock,
    count_text,
    curve,
    percent_text,
    rate_text,
    size_text,
    time_text,
)
from poppo_ipc.cli.top._model import LinkState, Model, Part, Series, TaskRow, WorkerRow

__all__ = ["EventsPanel", "Head", "LogsPanel", "QueuePanel", "RequestsPanel", "TasksTable", "WorkersTable"]

_GOOD: Final = "green"
_BAD: Final = "red"
_WARY: Final = "yellow"
_FAINT: Final = "grey62"
_COLOURS: Final = {
    **dict.fromkeys(("running", "completed", "busy", "healthy"), _GOOD),
    **dict.fromkeys(("failed", "error", "critical", "dead"), _BAD),
    **dict.fromkeys(("pending", "cancelled", "starting", "stopping", "paused", "warning"), _WARY),
}
#: Columns of a figure's name and of the figure, before its curve.
_NAME: Final = 9
_FIGURE: Final = 9


class _Place(Widget):
    """Shows the model, or why there is nothing to show."""

    def __init__(self, model: Model, part: Part | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.part = part

    def render(self) -> Text:
        lack = None if self.part is None else self.model.lacks.get(self.part)
        return self.lines() if lack is None else _missing(lack.reason, self.size.width)

    def lines(self) -> Text:
        """What is shown."""
        # Not abstract: the metaclass of Textual's widgets is not that of ABC.
        raise NotImplementedError


class Head(_Place):
    """One line: which daemon, and how it stands with it."""

    def __init__(self, model: Model, address: str, now: Callable[[], float], **kwargs: Any) -> None:
        super().__init__(model, None, **kwargs)
        self._address = address
        self._now = now

    def lines(self) -> Text:
        """The connection on the right, which is never cut, and what fits of the rest on the left."""
        model, facts = self.model, self.model.daemon
        link = model.link
        if link.state is LinkState.CONNECTED:
            right = Text(" connected ", f"black on {_GOOD}")
        elif link.state is LinkState.AWAY:
            right = Text(f" reconnecting, {age_text(self._now() - link.since)} ", f"black on {_WARY}")
        else:
            right = Text(" connecting ", f"black on {_WARY}")
        words = [("poppo-ipc top", "bold"), (facts.status, _COLOURS.get(facts.status, ""))]
        if facts.pid is not None:
            words.append((f"pid {facts.pid}", ""))
        if facts.uptime is not None:
            words.append((f"up {age_text(facts.uptime)}", ""))
        if facts.cpu is not None:
            words.append((f"cpu {percent_text(facts.cpu)}", ""))
        if facts.memory is not None:
            words.append((f"mem {size_text(facts.memory)}", ""))
        if facts.version:
            words.append((f"v{facts.version}", ""))
        words.append((self._address, _FAINT))
        left = Text("  ").join(Text(word, style) for word, style in words if word)
        room = max(0, self.size.width - len(right))
        left.truncate(room, overflow="ellipsis", pad=True)
        return Text.assemble(left, right)


class RequestsPanel(_Place):
    """What clients ask, and how fast they are answered."""

    def lines(self) -> Text:
        """Two curves, and what is said in words below them."""
        facts = self.model.requests
        p50, p95, p99 = map(time_text, facts.percentiles)
        errors = facts.errors or 0.0
        words = [
            _words(("p50", p50), ("p95", p95), ("p99", p99), width=self.size.width),
            _words(
                ("sessions", count_text(facts.sessions)),
                ("asking", count_text(facts.running)),
                ("errors", rate_text(facts.errors), _BAD if errors else ""),
                ("subscribed", count_text(facts.subscriptions)),
                ("in", f"{size_text(facts.bytes_in)}/s"),
                ("out", f"{size_text(facts.bytes_out)}/s"),
                width=self.size.width,
            ),
        ]
        curves = [
            ("requests", rate_text(facts.rate), self.model.rates, "cyan"),
            ("latency", time_text(facts.latency), self.model.latencies, "magenta"),
        ]
        return _figures(curves, words, self.size.width, self.size.height)


class QueuePanel(_Place):
    """What waits and what runs."""

    def lines(self) -> Text:
        """The same for the queue."""
        facts = self.model.queue
        failed = facts.failed or 0
        throughput = "-" if facts.throughput is None else f"{count_text(facts.throughput)}/min"
        words = [
            _words(
                ("", "PAUSED" if facts.paused else "", f"bold {_WARY}"),
                ("done", count_text(facts.completed)),
                ("failed", count_text(facts.failed), _BAD if failed else ""),
                ("", throughput),
                width=self.size.width,
            ),
            _words(("p95: wait", time_text(facts.wait)), ("run", time_text(facts.run)), width=self.size.width),
        ]
        curves = [
            ("waiting", count_text(facts.pending), self.model.depths, _WARY),
            ("running", count_text(facts.running), self.model.busy, _GOOD),
        ]
        return _figures(curves, words, self.size.width, self.size.height)


class EventsPanel(_Place):
    """The last events."""

    def lines(self) -> Text:
        """As many as there is room for, the newest at the bottom."""
        lines = []
        for event in _last(self.model.events, self.size.height):
            if event.gap:
                lines.append(Text(f"---- {event.text} ----", _WARY))
                continue
            kind = event.name.rpartition(".")[2]
            style = _BAD if kind in ("failed", "events-dropped") else _GOOD if kind in ("completed", "started") else ""
            lines.append(Text.assemble((clock(event.time), _FAINT), " ", (event.name, style), " ", event.text))
        return Text("\n").join(lines)


class LogsPanel(_Place):
    """The last lines of the log."""

    def lines(self) -> Text:
        """As many as there is room for, the newest at the bottom."""
        lines = []
        for entry in _last(self.model.logs, self.size.height):
            style = _COLOURS.get(entry.level.lower(), "")
            mark = entry.level[:4].upper() if style else ""
            lines.append(
                Text.assemble((clock(entry.time), _FAINT), " ", (f"{mark} " if mark else "", style), entry.message)
            )
        return Text("\n").join(lines)


class _Table(DataTable[Text]):
    """Rows of the model, with a cursor that stays on its row while others come and go."""

    #: (heading, width; the last column gets what is left, from which width of the table on)
    COLUMNS: ClassVar[Sequence[tuple[str, int, int]]] = ()

    CURSOR: ClassVar[Literal["row", "none"]] = "row"

    def __init__(self, model: Model, part: Part, **kwargs: Any) -> None:
        super().__init__(cursor_type=self.CURSOR, cell_padding=0, **kwargs)
        self.model = model
        self.part = part
        self._shown: tuple[Any, ...] | None = None

    def selected(self) -> str | None:
        """The id of the row that the cursor is on."""
        if not self.row_count or not self.is_valid_coordinate(self.cursor_coordinate):
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value

    def show(self) -> None:
        """Draw the rows anew, where they have changed."""
        lack = self.model.lacks.get(self.part)
        width = self.content_size.width - 1  # the bar for scrolling, whether it is there or not
        wide = [column for column in self.COLUMNS if width >= column[2]]
        rows = [] if lack is not None else self.rows_of(self.model)
        cells = [(key, values[: len(wide)]) for key, values in rows]
        reason = "" if lack is None else lack.reason
        state = (width, reason, cells)
        if state == self._shown or not wide:
            return
        self._shown = state
        self._draw(width, wide, cells, reason)

    def _draw(
        self, width: int, wide: Sequence[tuple[str, int, int]], cells: Sequence[tuple[str, list[Text]]], reason: str
    ) -> None:
        selected, at, top = self.selected(), self.cursor_row, self.scroll_y
        with self.app.batch_update():
            self.clear(columns=True)
            if reason:
                self.add_column(_missing(reason, len(reason) + 20), width=max(1, width))
                return
            left = width - sum(size for _, size, _ in wide[:-1])
            for number, (heading, size, _) in enumerate(wide):
                self.add_column(Text(heading, _FAINT), width=max(1, left if number == len(wide) - 1 else size))
            for key, values in cells:
                self.add_row(*values, key=key)
            if cells:
                keys = [key for key, _ in cells]
                # At the top it stays at the top, whichever task that is; moved away, it goes with its task.
                row = keys.index(selected) if at and selected in keys else min(at, len(keys) - 1)
                self.move_cursor(row=row, animate=False, scroll=False)
                self.scroll_to(y=top, animate=False, immediate=True)

    def rows_of(self, model: Model) -> list[tuple[str, list[Text]]]:
        """The key and the cells of each row."""
        # Not abstract: the metaclass of Textual's widgets is not that of ABC.
        raise NotImplementedError


class WorkersTable(_Table):
    """The workers."""

    CURSOR = "none"
    COLUMNS = (
        ("worker", 11, 0), ("state", 9, 0), ("cpu", 5, 0), ("memory", 8, 0), ("done", 7, 52), ("task", 20, 60),
    )  # fmt: skip

    def rows_of(self, model: Model) -> list[tuple[str, list[Text]]]:
        """One for each worker."""
        return [(worker.id, self._cells(worker)) for worker in {each.id: each for each in model.workers}.values()]

    def _cells(self, worker: WorkerRow) -> list[Text]:
        style = _COLOURS.get(worker.state, "")
        texts = (percent_text(worker.cpu), size_text(worker.memory), count_text(worker.done), worker.task)
        return [Text(_cut(worker.id, 10)), Text(worker.state, style), *map(Text, texts)]


class TasksTable(_Table):
    """The tasks that run, those that failed lately, and those that wait."""

    COLUMNS = (("task", 19, 0), ("state", 10, 0), ("for", 5, 0), ("type", 12, 0), ("error", 20, 70))

    def rows_of(self, model: Model) -> list[tuple[str, list[Text]]]:
        """One for each task."""
        now = time.time()
        return [(task.id, self._cells(task, now)) for task in model.tasks]

    def _cells(self, task: TaskRow, now: float) -> list[Text]:
        age = age_text(None if task.since is None else now - task.since)
        kind = _cut(task.type, 11) if self.content_size.width >= self.COLUMNS[-1][2] else task.type
        return [
            Text(task.id), Text(task.status, _COLOURS.get(task.status, "")), Text(age), Text(kind), Text(task.error),
        ]  # fmt: skip


def _figures(curves: Sequence[tuple[str, str, Series, str]], words: Sequence[Text], width: int, height: int) -> Text:
    """Curves with their names and figures, which share the height that the words below leave them."""
    tall = max(1, (height - len(words)) // len(curves))
    lines: list[Text] = []
    for name, figure, series, style in curves:
        drawn = curve(series, width - _NAME - _FIGURE - 1, tall)
        for number, blocks in enumerate(drawn):
            label = f"{name:<{_NAME}}{figure:>{_FIGURE}} " if number == len(drawn) - 1 else " " * (_NAME + _FIGURE + 1)
            lines.append(Text.assemble(label, (blocks, style)))
    return Text("\n").join([*lines, *words][: max(1, height)])


def _words(*pairs: tuple[str, ...], width: int) -> Text:
    """Names and figures, as many as fit."""
    line = Text()
    for name, figure, *style in pairs:
        if not figure:
            continue
        word = Text.assemble((f"{name} " if name else "", _FAINT), (figure, style[0] if style else ""))
        if len(line) + len(word) + 2 > width and len(line):
            break
        line = Text.assemble(line, "  " if len(line) else "", word)
    return line


def _missing(reason: str, width: int) -> Text:
    """Why there is nothing, in as many lines as it takes."""
    lines = textwrap.wrap(f"missing: {reason}", max(1, width))
    return Text("\n".join(lines), _WARY)


def _last(entries: Any, count: int) -> list[Any]:
    return list(entries)[-count:] if count > 0 else []


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
