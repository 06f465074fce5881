"""A task from its submission to its exit code, with what it prints in between."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from poppo_ipc.cli._connection import Invocation
from poppo_ipc.cli._failures import ExitCode, Failure, failure_of
from poppo_ipc.cli._printable import PrintedText
from poppo_ipc.cli._safe import safe

if TYPE_CHECKING:
    from poppo_ipc.client import SyncClient

__all__ = ["follow_task", "run_task"]

_ENDINGS: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class _Ended(KeyboardInterrupt):
    """A signal that ends the program came."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run_task(invocation: Invocation, args: dict[str, Any]) -> int:
    """Submit a task, show what it prints, and give its exit code; 128 + N where signal N ended it.

    Ctrl-C, SIGTERM and SIGHUP cancel the task; then the code is 128 + the signal's number.
    """
    from poppo_ipc.errors import CommandError, PoppoError

    task_id = None
    with _endings_interrupt() as endings:
        try:
            with invocation.client() as client:
                try:
                    with endings.held():  # until it is known which task there is to cancel
                        task_id = client.call("task.submit", args)["taskId"]
                    follow_task(invocation, client, task_id, follow=True)
                    task = client.call("task.status", {"taskId": task_id}, idempotent=True)
                except CommandError as error:
                    raise failure_of(error, "task.submit") from error
        except KeyboardInterrupt as interrupt:
            if task_id is not None:
                _cancel(invocation, task_id)
            return 128 + (interrupt.number if isinstance(interrupt, _Ended) else signal.SIGINT)
        except PoppoError as error:
            if task_id is None:
                raise
            what = f"{error.message}, and task {task_id} may run on"
            todo = f"Follow it with poppo-ipc tasks output -f {task_id}"
            raise Failure(what, todo, ExitCode.NOT_CONNECTED) from error
    return _exit_code(task_id, task)


def follow_task(invocation: Invocation, client: SyncClient, task_id: str, *, follow: bool) -> None:
    """Show what a task printed: to stdout and stderr as it did, or as JSON Lines with `--json`."""
    from poppo_ipc.errors import CommandError

    output = invocation.output
    out, err = PrintedText(sys.stdout), PrintedText(sys.stderr)
    args = {"taskId": task_id, "follow": follow}
    try:
        with client.stream("task.output", args, timeout=invocation.timeout, idempotent=True) as items:
            for item in items:
                if invocation.json:
                    output.item(item)
                elif isinstance(item, dict):
                    _print(item, out, err)
    except CommandError as error:
        raise failure_of(error, "task.output") from error
    finally:
        out.close()
        err.close()


def _print(item: dict[str, Any], out: PrintedText, err: PrintedText) -> None:
    text, stream = str(item.get("text", "")), item.get("stream")
    if stream == "truncated":
        err.write(f"poppo-ipc: {safe(text)}\n")
    else:
        (err if stream == "stderr" else out).write(text)


def _cancel(invocation: Invocation, task_id: str) -> None:
    from poppo_ipc.errors import Conflict, PoppoError

    try:
        # A connection of its own: the other one was interrupted in the middle of something.
        with invocation.client() as client:
            client.call("task.cancel", {"taskId": task_id})
    except Conflict:
        return  # it has ended by itself
    except PoppoError as error:
        todo = f"Cancel it with poppo-ipc tasks cancel {task_id}"
        raise Failure(f"Task {task_id} could not be cancelled: {error.message}", todo) from error
    print(f"poppo-ipc: task {safe(task_id)} cancelled", file=sys.stderr)


def _exit_code(task_id: str, task: Any) -> int:
    status = task.get("status") if isinstance(task, dict) else None
    result = task.get("result") if isinstance(task, dict) else None
    code = result.get("exitCode") if isinstance(result, dict) else None
    if isinstance(code, int) and not isinstance(code, bool) and status in ("completed", "failed"):
        return 128 - code if code < 0 else code
    if status == "completed":
        return ExitCode.DONE
    reason = f": {task['error']}" if isinstance(task, dict) and task.get("error") else ""
    raise Failure(f"Task {task_id} is {status}{reason}", f"See poppo-ipc tasks status {task_id}")


class _Endings:
    """The signals that end the program, each raised as `_Ended`."""

    def __init__(self) -> None:
        self._holding = False
        self._kept: int | None = None

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._holding and self._kept is None:
            self._kept = number
            return
        raise _Ended(number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, the first one waits for the end of it, unless that fails; a second one is raised at once."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._kept is not None:
            raise _Ended(self._kept)


@contextmanager
def _endings_interrupt() -> Iterator[_Endings]:
    """Within, a signal that ends the program is raised as `_Ended`."""
    endings = _Endings()
    if threading.current_thread() is not threading.main_thread():
        yield endings  # no signal comes to another thread
        return
    numbers = [getattr(signal, name) for name in _ENDINGS if hasattr(signal, name)]
    # What `nohup`, or `&` in a script, has had ignored stays so.
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, endings.interrupt) for number in heard}
    try:
        yield endings
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
