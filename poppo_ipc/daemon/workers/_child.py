"""A worker's process as the daemon has it: what each kind of system does in its own way, behind one interface."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, Literal, Protocol

import poppo_ipc

__all__ = ["STREAMS", "Child", "StreamName", "package_root", "start_child"]

StreamName = Literal["stdout", "stderr"]
STREAMS: Final[tuple[StreamName, StreamName]] = ("stdout", "stderr")


class Child(Protocol):
    """A process with a control channel and two streams of output; with it goes all that it starts.

    Whoever waits on a channel or stream that is closed meanwhile gets `trio.ClosedResourceError`.
    """

    acknowledges: bool
    """Whether a worker says that it begins a job. Else the system tells of an unread one, by ConnectionResetError."""

    @property
    def pid(self) -> int:
        """Of what was started: the worker, or what watches over it."""

    @property
    def returncode(self) -> int | None:
        """As of `subprocess`; None before `reap`."""

    # -- the channel

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError where nobody reads any more."""

    async def wait_message(self) -> None:
        """Wait until `receive` has something."""

    def receive(self) -> bytes:
        """What has come; nothing at the end. Raises BlockingIOError where there is nothing yet, and OSError."""

    def wake(self) -> None:
        """Let go who waits for the channel: the worker has exited, but a process may hold its end open."""

    # -- output

    async def wait_output(self, stream: StreamName) -> None:
        """Wait until `read` has something."""

    def read(self, stream: StreamName) -> bytes:
        """What has come of one stream; nothing at its end, or when closed. Raises BlockingIOError for nothing yet."""

    # -- the end

    def family(self) -> list[int] | None:
        """The processes of the worker, itself included; None where they are to be found by who started whom."""

    def greeted(self) -> None:
        """The worker has said hello: what there is of processes belongs to it, what comes belongs to its tasks."""

    async def sweep(self) -> bool:
        """Kill what a task has left, where the worker does not do so itself. False where something cannot be killed."""

    async def wait_exited(self) -> None:
        """Wait for the worker to exit."""

    async def wait_gone(self) -> None:
        """Wait for all of its processes to be gone; they are killed as soon as it has exited."""

    def terminate(self) -> None:
        """Ask all of its processes to end."""

    def kill(self) -> None:
        """Kill all of its processes."""

    def reap(self) -> None:
        """Take the return code of a process that is gone."""

    def close(self) -> None:
        """Give everything back."""


def start_child(python: str) -> Child:
    """Start a worker with this interpreter; takes some milliseconds, and no thread.

    Raises:
        OSError: there is no such interpreter, or the system has no processes or descriptors left.
    """
    if sys.platform == "win32":
        from poppo_ipc.daemon.workers._child_windows import WindowsChild

        return WindowsChild(python)
    else:
        from poppo_ipc.daemon.workers._child_unix import UnixChild

        return UnixChild(python)


def package_root() -> str:
    """The directory that this package is imported from."""
    return str(Path(os.path.abspath(poppo_ipc.__file__ or "")).parent.parent)
