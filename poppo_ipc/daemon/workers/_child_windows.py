"""A worker on Windows: one process in a job object, with pipes.

The job holds whatever the worker starts, and nobody can leave it. So the daemon does here what the guardian does on
Unix: it kills what a task has left when the task is over, and all of it with the worker; Windows does so where the
daemon dies. The worker has a console of its own, without a window; a Ctrl-C in there, which the worker makes when
`terminate` sets its event, is what SIGTERM is elsewhere.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from poppo_ipc._exits import KILLED
from poppo_ipc._win32.calls import close_handle
from poppo_ipc._win32.events import Event
from poppo_ipc._win32.jobs import Job
from poppo_ipc._win32.pipes import cancel_all, has_gone
from poppo_ipc._win32.processes import exit_code
from poppo_ipc._win32.starting import start_in_job
from poppo_ipc.daemon.workers import _pipes_windows as pipes
from poppo_ipc.daemon.workers._child import STREAMS, StreamName, package_root

__all__ = ["WindowsChild"]

_READ_BYTES: Final = 65536

#: Seconds in which what a task has left must be gone, once killed.
_SWEEP_SECONDS: Final = 5.0
_PAUSE_FIRST: Final = 0.0005
_PAUSE_LAST: Final = 0.05

#: Not `-m`: the interpreter may be one that does not know where this package is.
_RUN: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from poppo_ipc.daemon.workers._main_windows import main; main(*map(int, sys.argv[2:]))"
)


class WindowsChild:
    """See `Child`."""

    acknowledges = True

    def __init__(self, python: str) -> None:
        with ExitStack() as undo:
            with ExitStack() as theirs:

                def keep(pair: tuple[int, int]) -> tuple[int, int]:
                    undo.callback(close_handle, pair[0])
                    theirs.callback(close_handle, pair[1])
                    return pair

                self._down, its_down = keep(pipes.pipe_to())
                self._up, its_up = keep(pipes.pipe_from())
                self._pipes: dict[StreamName, int] = {}
                writing = []
                for stream in STREAMS:
                    self._pipes[stream], writer = keep(pipes.pipe_from())
                    writing.append(writer)
                self._event = Event()  # for `pipes.read_now`
                self._termination = Event(inheritable=True)
                null = pipes.open_null()
                theirs.callback(close_handle, null)
                for end in (self._down, self._up, *self._pipes.values()):
                    trio.lowlevel.register_with_iocp(end)
                self._job = Job()
                undo.callback(self._job.close)  # kills, too
                handles = (its_down, its_up, self._termination.handle)
                self._process, self._pid = start_in_job(
                    [_console_python(python), "-P", "-c", _RUN, package_root(), *map(str, handles)],
                    environment=_environment(python),
                    job=self._job.handle,
                    streams=(null, writing[0], writing[1]),
                    handles=handles,
                )
            undo.pop_all()
        self._uses: Counter[int] = Counter()
        self._own: frozenset[int] = frozenset()
        self._returncode: int | None = None
        self._exited = trio.Event()
        self._watching = trio.CancelScope()
        self._closed = False

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def returncode(self) -> int | None:
        return self._returncode

    # -- the channel ----------------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        with self._in_use(self._down):
            await trio.lowlevel.write_overlapped(self._down, data)

    async def wait_message(self) -> None:
        await self._wait(self._up)

    def receive(self) -> bytes:
        return self._read(self._up)

    def wake(self) -> None:
        for end in (self._down, self._up):
            cancel_all(end)

    # -- output ---------------------------------------------------------------------------------------------------

    async def wait_output(self, stream: StreamName) -> None:
        await self._wait(self._pipes[stream])

    def read(self, stream: StreamName) -> bytes:
        pipe = self._pipes.get(stream)
        return b"" if pipe is None else self._read(pipe)

    async def _wait(self, pipe: int) -> None:
        """Wait until there is something, or the end. A read of no bytes takes none, so none is lost when cancelled."""
        try:
            with self._in_use(pipe):
                await trio.lowlevel.readinto_overlapped(pipe, bytearray())
        except OSError as error:
            if not has_gone(error):
                raise

    @contextmanager
    def _in_use(self, end: int) -> Iterator[None]:
        """Keep the handle for as long as Trio has an operation of it: cancelled, it asks Windows by the handle."""
        self._uses[end] += 1
        try:
            yield
        finally:
            self._uses[end] -= 1
            if self._closed and not self._uses[end]:
                close_handle(end)

    def _read(self, pipe: int) -> bytes:
        try:
            return pipes.read_now(pipe, self._event, _READ_BYTES)
        except BlockingIOError:
            raise
        except OSError as error:
            if has_gone(error):
                return b""
            raise

    # -- the end --------------------------------------------------------------------------------------------------

    def family(self) -> list[int] | None:
        # Without its handle it would be our own job that is asked.
        return [] if self._closed else self._job.processes()

    def greeted(self) -> None:
        # The worker, the launcher that a virtual environment has in its place, and what holds their console.
        self._own = frozenset(self._job.processes())

    async def sweep(self) -> bool:
        with trio.move_on_after(_SWEEP_SECONDS):
            pause = _PAUSE_FIRST
            while left := [pid for pid in self._job.processes() if pid not in self._own]:
                for pid in left:
                    self._job.kill_one(pid, KILLED)
                await trio.sleep(pause)
                pause = min(2 * pause, _PAUSE_LAST)
            return True
        return False

    async def wait_exited(self) -> None:
        with self._watching:
            await trio.lowlevel.WaitForSingleObject(self._process)
        self._exited.set()
        if self._closed:
            raise trio.ClosedResourceError

    async def wait_gone(self) -> None:
        await self._exited.wait()
        pause = _PAUSE_FIRST
        while not self._closed and self._job.active:
            self._job.kill(KILLED)
            await trio.sleep(pause)
            pause = min(2 * pause, _PAUSE_LAST)
        if self._closed:
            raise trio.ClosedResourceError

    def terminate(self) -> None:
        self._termination.set()

    def kill(self) -> None:
        with suppress(OSError):
            self._job.kill(KILLED)

    def reap(self) -> None:
        if self._returncode is None:
            self._returncode = exit_code(self._process)

    def close(self) -> None:
        self._closed = True
        self._watching.cancel()
        for end in (self._down, self._up, *self._pipes.values()):
            cancel_all(end)  # wakes who waits, and the last of them closes it
            if not self._uses[end]:
                close_handle(end)
        self._pipes.clear()
        self._job.close()
        self._event.close()
        self._termination.close()
        close_handle(self._process)


def _console_python(python: str) -> str:
    """What to start for this interpreter.

    For the daemon's own in a virtual environment, not the launcher that is there in its place: a process less. And
    the one with a console for the one without: what it starts would open a window each.
    """
    if python == sys.executable:
        python = getattr(sys, "_base_executable", python)
    path = Path(shutil.which(python) or python)  # the system looks for what it is given nowhere
    if path.name.lower() == "pythonw.exe" and path.with_name("python.exe").exists():
        path = path.with_name("python.exe")
    return str(path)


def _environment(python: str) -> dict[str, str]:
    environment = dict(os.environ)
    if python == sys.executable and getattr(sys, "_base_executable", python) != python:
        # So the launcher tells it which environment it is in; see `multiprocessing.popen_spawn_win32`.
        environment["__PYVENV_LAUNCHER__"] = python
    return environment
