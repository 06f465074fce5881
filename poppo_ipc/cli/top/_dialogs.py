"""What is shown over the screen: a question, and the help."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

__all__ = ["Confirm", "Help"]

_HELP: Final = """\
p        pause the queue, or let it go on
+  -     one worker more, or one less; a busy one
         finishes its task first
c        cancel the task under the cursor
r        run the failed or cancelled task
         under the cursor again
up down  choose a task; tab: the workers
?        this help
q        quit; the daemon runs on

Curves: a column a second, the newest on the right.
Requests include the ten or so that this view asks
each second. Events and the log are live.
Any key closes this."""


class Confirm(ModalScreen[bool]):
    """A question that is answered with yes or no; anything but yes is no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "answer(True)", "Yes"),
        ("n,escape,q,enter", "answer(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, markup=False)
            yield Static("y: yes    n: no", classes="keys", markup=False)

    def action_answer(self, answer: bool) -> None:
        """Close, with the answer."""
        self.dismiss(answer)


class Help(ModalScreen[None]):
    """The keys."""

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(_HELP, markup=False)

    def on_key(self) -> None:
        """Close."""
        self.dismiss()
