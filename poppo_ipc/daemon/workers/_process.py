"""One worker process as the daemon holds it: its pipes, its control socket, its guardian, and its end.

The daemon starts, and reaps, the guardian (see `_guardian`), which ends as the worker does. Only the guardian signals
the worker, as only for the parent of a process its number is safe to use; the daemon gives it orders.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Literal

import trio

import poppo_ipc
from poppo_ipc.daemon.workers import _guardian as guardian
from poppo_ipc.daemon.workers import _messages as messages
from poppo_ipc.daemon.workers import _platform as platform
from poppo_ipc.protocol import FrameDecoder

__all__ = ["STREAMS", "StreamName", "WorkerProcess"]

logger = logging.getLogger("poppo_ipc.daemon.workers")

StreamName = Literal["stdout", "stderr"]
STREAMS: Final[tuple[StreamName, StreamName]] = ("stdout", "stderr")

_READ_BYTES: Final = 65536

#: Bytes that a pipe can hold at most (Linux lets a user raise it to 1 MiB): what came before a message is among them.
_PIPE_BYTES: Final = 1024 * 1024

#: Seconds for killed processes to be gone. Only one that the kernel holds in a call takes longer.
_REAP_SECONDS: Final = 5.0

#: Run as a file: as a module it would load the whole package first.
_PROGRAM: Final = str(Path(guardian.__file__).resolve())


class WorkerProcess:
    """A running worker. Used by the tasks of one `Worker`; nothing here outlives `aclose`."""

    def __init__(self, python: str) -> None:
        """Start the guardian, which starts the worker; takes some milliseconds, and no thread.

        Raises:
            OSError: there is no such interpreter, or the system has no processes or descriptors left.
        """
        with ExitStack() as undo:
            with ExitStack() as theirs:
                # All are closed on exec: of the processes that are started later none holds our ends.
                self._socket, its_socket = socket.socketpair()
                undo.callback(self._socket.close)
                theirs.callback(its_socket.close)
                self._lifeline, its_lifeline = socket.socketpair()
                undo.callback(self._lifeline.close)
                theirs.callback(its_lifeline.close)
                self._pipes: dict[StreamName, int] = {}
                writing = []
                for stream in STREAMS:
                    reader, writer = os.pipe()
                    undo.callback(os.close, reader)
                    theirs.callback(os.close, writer)
                    os.set_blocking(reader, False)
                    self._pipes[stream] = reader
                    writing.append(writer)
                fds = [its_socket.fileno(), its_lifeline.fileno()]
                self._popen = subprocess.Popen(
                    [python, "-P", _PROGRAM, *map(str, fds), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=writing[0],
                    stderr=writing[1],
                    pass_fds=fds,
                    start_new_session=True,
                    env=_environment(),
                )
            undo.callback(self._popen.wait)
            undo.callback(self._popen.kill)  # no task has begun: there is nothing that could be left
            self._handle = platform.open_exit_handle(self._popen.pid)
            undo.pop_all()
        self._socket.setblocking(False)
        self._lifeline.setblocking(False)
        self._gone = trio.Event()
        self._decoder = FrameDecoder()
        self._received: list[messages.Hello | messages.Done] = []
        self._at_end = False
        self._closed = False
        self._pid: int | None = None
        self.exited = trio.Event()
        """The worker has exited. Of what it leaves, some may still be about to be killed."""
        self.order_unread = False
        """The worker died without having read all that was sent to it: it never began the job."""

    @property
    def pid(self) -> int | None:
        """The worker's, and its group's; None until it has said hello. Not to be signalled: it may be another's."""
        return self._pid

    @property
    def returncode(self) -> int | None:
        """As of `subprocess`: -n for signal n. None until all of its processes are gone."""
        return self._popen.returncode

    @property
    def exit_text(self) -> str:
        """How the worker ended, in words."""
        code = self._popen.returncode
        return "cannot be killed" if code is None else platform.exit_text(code)

    # -- messages -----------------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send one encoded message. A worker that is gone is no error here: `receive` tells.

        Cancelled half-way, the worker cannot be used any more.
        """
        if self.exited.is_set():
            self.order_unread = True
            return
        view = memoryview(messages.frame(data))
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                try:
                    await trio.lowlevel.wait_writable(self._socket)
                except trio.ClosedResourceError:
                    return  # `_wake`: it has exited
            except OSError:
                self.order_unread = True
                return

    async def receive(self) -> messages.Hello | messages.Done | None:
        """The next message; None when the worker has gone, or speaks nonsense. Loses nothing when cancelled."""
        while True:
            self._read_socket()
            if self._received:
                return self._received.pop(0)
            if self._at_end or self.exited.is_set():
                return None
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                continue  # `_wake`: once more, for what it said before it died

    def _read_socket(self) -> None:
        if self._at_end:
            return
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self.order_unread = True
            data = b""
        except OSError as error:
            logger.warning("worker process %d: control socket: %s", self._number, error)
            data = b""
        if not data:
            self._at_end = True
            return
        self._decoder.feed(data)
        try:
            for payload in self._decoder.drain(messages.MAX_FRAME_BYTES):
                message = messages.decode_up(payload)
                if self._pid is None and isinstance(message, messages.Hello):
                    self._pid = message.pid
                self._received.append(message)
            if self._decoder.error is not None:
                raise ValueError(str(self._decoder.error))
        except ValueError as error:
            # A function that wrote to a descriptor that is not its own.
            logger.warning("worker process %d: control socket: %s", self._number, error)
            self._at_end = True

    # -- output -------------------------------------------------------------------------------------------------

    async def pump(self, stream: StreamName, take: Callable[[StreamName, bytes], None]) -> None:
        """Give all that comes out of one pipe to `take`, until its end or that of the process."""
        fd = self._pipes[stream]
        while True:
            try:
                await trio.lowlevel.wait_readable(fd)
                if stream not in self._pipes:
                    return  # closed in the same moment: the number may be another file's
                data = os.read(fd, _READ_BYTES)
            except BlockingIOError:
                continue  # `drain` was faster
            except trio.ClosedResourceError:
                return
            if not data:
                return
            take(stream, data)

    def drain(self, take: Callable[[StreamName, bytes], None]) -> None:
        """Give all that is in the pipes now to `take`, without waiting: what was written before a message came."""
        for stream, fd in self._pipes.items():
            count = 0
            while count < _PIPE_BYTES:
                try:
                    data = os.read(fd, _READ_BYTES)
                except BlockingIOError:
                    break
                if not data:
                    break
                take(stream, data)
                count += len(data)

    # -- the end ------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Wait for the worker to exit, set `exited` and wake `receive`; then wait for all of its processes to be gone.

        Shielded: whoever ends the process waits for this to see it. Ends with `aclose` at the latest.
        """
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen)
                with suppress(trio.ClosedResourceError):
                    await platform.wait_exit(self._popen.pid, self._handle)
                    self._gone.set()
                    self._note_exit()
                nursery.cancel_scope.cancel()

    async def _listen(self) -> None:
        """Wait for the guardian to say that the worker has exited. It says nothing else."""
        with suppress(trio.ClosedResourceError):
            await trio.lowlevel.wait_readable(self._lifeline)
            self._note_exit()

    def _note_exit(self) -> None:
        if not self.exited.is_set():
            self.exited.set()
            if self._socket.fileno() >= 0:
                # A fork of the worker may hold the other end of the socket open: do not wait for its end.
                trio.lowlevel.notify_closing(self._socket)

    def _order(self, order: bytes) -> None:
        with suppress(OSError):  # the guardian is gone, or about to go
            platform.resume(self._popen.pid)
            self._lifeline.send(order)

    async def terminate(self, grace: float) -> None:
        """SIGTERM to all of its processes, SIGKILL after `grace` seconds, and wait until they are gone.

        Cancelled, it leaves the process dying or to be killed.
        """
        if not self.exited.is_set():
            self._order(guardian.TERMINATE)
            with trio.move_on_after(grace):
                await self.exited.wait()
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to all of its processes that still run, and reap. Shielded, for 5 s at most; idempotent."""
        if self.returncode is not None:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _REAP_SECONDS):
            if self._pid is not None:
                self._order(guardian.KILL)
            else:
                # No guardian may be there yet to take orders, and no task was given that could have left anything.
                # A worker that is just coming up dies with its parent.
                platform.kill_group(self._popen.pid)
            await self._gone.wait()
            self._popen.wait()

    async def aclose(self) -> None:
        """Kill whatever still runs, and give everything back. Shielded, for 5 s at most; idempotent.

        `watch` must be running, or have ended.
        """
        if self._closed:
            return
        self._closed = True
        try:
            await self.kill()
            if self.returncode is None:
                # Its guardian stays, and goes on trying.
                logger.error("worker process %d cannot be killed", self._number)
        finally:
            for end in (self._socket, self._lifeline):
                trio.lowlevel.notify_closing(end)
                end.close()
            for fd in (*self._pipes.values(), self._handle):
                if fd >= 0:
                    trio.lowlevel.notify_closing(fd)
                    os.close(fd)
            self._pipes.clear()

    @property
    def _number(self) -> int:
        """What to call it in a log."""
        return self._popen.pid if self._pid is None else self._pid


def encoded_setup(python: str) -> bytes:
    """The message that makes a worker's interpreter look like this one; another `python` keeps its own path."""
    path = list(sys.path) if python == sys.executable else []
    return messages.encode(messages.Setup(path=path, pythonpath=os.environ.get("PYTHONPATH")))


def _environment() -> dict[str, str]:
    """The daemon's, with this package importable from the start. The worker puts `PYTHONPATH` back by the setup."""
    root = str(Path(poppo_ipc.__file__ or "").resolve().parent.parent)
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root if not known else f"{root}{os.pathsep}{known}"}
