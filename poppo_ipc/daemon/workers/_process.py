"""One worker process as the daemon holds it: its pipes, its control socket, its guardian, and its end."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

import trio

import poppo_ipc
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

#: Seconds for a killed process to be gone. Only one that the kernel holds in a call takes longer.
_REAP_SECONDS: Final = 5.0


class WorkerProcess:
    """A running worker. Used by the tasks of one `Worker`; nothing here outlives `aclose`."""

    def __init__(self, python: str) -> None:
        """Start the process and its guardian; takes some milliseconds, and no thread.

        In the thread of the event loop on purpose: on Linux a worker dies with the *thread* that started it.

        Raises:
            OSError: there is no such interpreter, or the system has no processes or descriptors left.
        """
        with ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs, ExitStack() as writers:
                self._pipes: dict[StreamName, int] = {}
                writing = []
                for stream in STREAMS:
                    reader, writer = os.pipe()
                    undo.callback(os.close, reader)
                    writers.callback(os.close, writer)
                    os.set_blocking(reader, False)
                    self._pipes[stream] = reader
                    writing.append(writer)
                self._popen = subprocess.Popen(
                    [python, "-P", "-m", f"{__package__}._main", str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=writing[0],
                    stderr=writing[1],
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    env=_environment(),
                )
            undo.callback(self._popen.wait)
            undo.callback(self._popen.kill)
            self._handle = platform.open_exit_handle(self._popen.pid)
            if self._handle >= 0:
                undo.callback(os.close, self._handle)
            self._guardian = platform.Guardian(self._popen.pid)
            undo.pop_all()
        ours.setblocking(False)
        self._socket = ours
        self._decoder = FrameDecoder()
        self._received: list[messages.Hello | messages.Done] = []
        self._at_end = False
        self._closed = False
        self.exited = trio.Event()
        self.order_unread = False
        """The worker died without having read all that was sent to it: it never began the job."""

    @property
    def pid(self) -> int:
        """The process's, and its group's."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """As of `subprocess`: -n for signal n. None until the process is reaped."""
        return self._popen.returncode

    @property
    def exit_text(self) -> str:
        """How it ended, in words."""
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
            logger.warning("worker process %d: control socket: %s", self.pid, error)
            data = b""
        if not data:
            self._at_end = True
            return
        self._decoder.feed(data)
        try:
            for payload in self._decoder.drain(messages.MAX_FRAME_BYTES):
                self._received.append(messages.decode_up(payload))
            if self._decoder.error is not None:
                raise ValueError(str(self._decoder.error))
        except ValueError as error:
            # A function that wrote to a descriptor that is not its own.
            logger.warning("worker process %d: control socket: %s", self.pid, error)
            self._at_end = True

    # -- output -------------------------------------------------------------------------------------------------

    async def pump(self, stream: StreamName, take: Callable[[StreamName, bytes], None]) -> None:
        """Give all that comes out of one pipe to `take`, until its end or that of the process."""
        fd = self._pipes[stream]
        while True:
            try:
                await trio.lowlevel.wait_readable(fd)
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
        """Wait for the process to exit; then kill what is left of its group, set `exited` and wake `receive`.

        Shielded: whoever ends the process waits for this to see it. Ends with `aclose` at the latest.
        """
        try:
            with trio.CancelScope(shield=True):
                await platform.wait_exit(self.pid, self._handle)
        except trio.ClosedResourceError:
            return
        # Its number is not given to another process before it is reaped, so the group is still its own.
        platform.kill_group(self.pid)
        self.exited.set()
        # A fork of the worker may hold the other end of the socket open: do not wait for its end.
        trio.lowlevel.notify_closing(self._socket)

    async def terminate(self, grace: float) -> None:
        """SIGTERM to all of its processes, SIGKILL after `grace` seconds, and wait until they are gone.

        Cancelled, it leaves the process dying or to be killed.
        """
        if not self.exited.is_set():
            strays = platform.signal_tree(self.pid, kill=False)
            with trio.move_on_after(grace):
                await self.exited.wait()
            platform.kill_strays(strays)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to all of its processes that still run, and reap. Shielded, for 5 s at most; idempotent."""
        if self.returncode is not None:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _REAP_SECONDS):
            if not self.exited.is_set():
                platform.signal_tree(self.pid, kill=True)
                await self.exited.wait()
            self._guardian.release()
            self._popen.wait()
            await self._guardian.reap()

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
                # Its guardian stays, and kills it again when the daemon ends.
                logger.error("worker process %d cannot be killed", self.pid)
        finally:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            for fd in (*self._pipes.values(), self._handle):
                if fd >= 0:
                    trio.lowlevel.notify_closing(fd)
                    os.close(fd)
            self._guardian.close()


def encoded_setup(python: str) -> bytes:
    """The message that makes a worker's interpreter look like this one; another `python` keeps its own path."""
    path = list(sys.path) if python == sys.executable else []
    return messages.encode(messages.Setup(path=path, pythonpath=os.environ.get("PYTHONPATH")))


def _environment() -> dict[str, str]:
    """The daemon's, with this package importable from the start. The worker puts `PYTHONPATH` back by the setup."""
    root = str(Path(poppo_ipc.__file__ or "").resolve().parent.parent)
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root if not known else f"{root}{os.pathsep}{known}"}
