"""How the demo looks: in colours with a live bar, plain, or as JSON lines."""

from __future__ import annotations

import json
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from poppo_ipc.cli._steps import Outcome, Step

__all__ = ["JsonScreen", "TextScreen"]

_LABEL = 26
_QUARTERS = 4


class TextScreen:
    """For people."""

    def __init__(self, stream: TextIO, *, plain: bool) -> None:
        self._console = Console(
            file=stream,
            highlight=False,
            soft_wrap=True,
            no_color=True if plain else None,
            color_system=None if plain else "auto",
        )
        self._live = self._console.is_terminal and not plain
        self._bar: tuple[Progress, TaskID] | None = None
        self._quarter = 0

    def begin(self, number: int, count: int, step: Step) -> None:
        """A heading."""
        self._quarter = 0
        self._console.print(f"\n[bold cyan]{number}/{count}  {escape(step.title)}[/]")

    def show(self, what: str, value: Any, text: str | None = None) -> None:
        """A line: what it is on the left, what came on the right."""
        said = text if text is not None else value if isinstance(value, str) else json.dumps(value, default=str)
        self._console.print(f"     [dim]{escape(what):<{_LABEL}}[/] {escape(said)}")

    def progress(self, done: float, total: float) -> None:
        """A bar that grows; a line for each quarter where nothing can move."""
        if self._live:
            self._move_bar(done, total)
            return
        quarter = int(_QUARTERS * done / total)
        if quarter > self._quarter:
            self._quarter = quarter
            self.show("progress", None, f"{done:g} of {total:g}")

    def _move_bar(self, done: float, total: float) -> None:
        if self._bar is None:
            label = TextColumn(f"     [dim]{'progress':<{_LABEL}}[/]")
            progress = Progress(label, BarColumn(40), TaskProgressColumn(), console=self._console)
            self._bar = progress, progress.add_task("", total=total)
            progress.start()
        progress, task = self._bar
        progress.update(task, completed=done)
        if done >= total:
            self.close()

    def end(self, outcome: Outcome) -> None:
        """Whether all was well, and what was not."""
        self.close()
        if outcome.mismatch is None:
            self._console.print(f"     [bold green]ok[/] [dim]in {outcome.seconds * 1000:.0f} ms[/]")
            return
        wrong = outcome.mismatch
        self._console.print(f"     [bold red]FAILED[/] {escape(wrong.what)}")
        self._console.print(f"       expected  {escape(wrong.expected)}")
        self._console.print(f"       came      {escape(wrong.came)}")

    def summary(self, ok: bool, seconds: float) -> None:
        """The last line."""
        how = "[bold green]All steps showed what they should[/]" if ok else "[bold red]A step failed[/]"
        self._console.print(f"\n{how}, in {seconds:.1f} s.")

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None


class JsonScreen:
    """For programs: one object a line for each step, once it is over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._step: dict[str, Any] = {}

    def begin(self, number: int, count: int, step: Step) -> None:
        """Begin the object."""
        self._step = {"number": number, "of": count, "step": step.name, "title": step.title, "shown": []}

    def show(self, what: str, value: Any, text: str | None = None) -> None:
        """Add to it."""
        self._step["shown"].append({"what": what, "value": value})

    def progress(self, done: float, total: float) -> None:
        """Only the last is worth keeping."""
        self._step["progress"] = {"done": done, "total": total}

    def end(self, outcome: Outcome) -> None:
        """Print it."""
        self._step |= {"ok": outcome.ok, "seconds": round(outcome.seconds, 3)}
        if outcome.mismatch is not None:
            wrong = outcome.mismatch
            self._step |= {"failed": wrong.what, "expected": wrong.expected, "came": wrong.came}
        print(json.dumps(self._step, default=str), file=self._stream, flush=True)

    def summary(self, ok: bool, seconds: float) -> None:
        """Nothing: each line says it for its step, and the exit code for all."""

    def close(self) -> None:
        """Nothing is left open."""
