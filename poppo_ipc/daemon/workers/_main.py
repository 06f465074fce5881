"""The main loop of a worker process, in the fork that its guardian makes (`_guardian`).

Blocking, single-threaded, and light: the standard library and msgspec only, until a task's function imports more.
"""

from __future__ import annotations

import enum
import faulthandler
import os
import signal
import socket
import sys
from types import FrameType
from typing import Final

import msgspec

from poppo_ipc.daemon.workers import _messages as messages
from poppo_ipc.daemon.workers._call import Result, call_function
from poppo_ipc.daemon.workers._context import TaskContext, set_current
from poppo_ipc.daemon.workers._output import flush_all, install
from poppo_ipc.daemon.workers._platform import restore_signals, sweep_children, tie_to_parent

_RECEIVE_BYTES: Final = 65536


class _Phase(enum.Enum):
    """What a SIGTERM does now."""

    IDLE = "die at once"
    FUNCTION = "interrupt it, so that its finally blocks run"
    BUSY = "nothing yet: it is looked at in a moment"


class _Channel:
    """The control socket, read and written with blocking calls."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._buffer = bytearray()

    def send(self, message: msgspec.Struct) -> None:
        self._socket.sendall(messages.frame(messages.encode(message)))

    def receive(self) -> messages.Setup | messages.JobOrder | messages.Bye | None:
        """The next message; None at the end of the stream."""
        header = self._take(messages.HEADER_BYTES)
        payload = None if header is None else self._take(messages.parse_header(header))
        return None if payload is None else messages.decode_down(payload)

    def _take(self, count: int) -> bytes | None:
        buffer = self._buffer
        while len(buffer) < count:
            data = self._socket.recv(max(_RECEIVE_BYTES, count - len(buffer)))
            if not data:
                return None
            buffer += data
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken


class _Worker:
    """This process."""

    def __init__(self, fd: int, parent: int) -> None:
        os.set_inheritable(fd, False)
        self._adopts_orphans = tie_to_parent(parent)
        self._pid = os.getpid()
        self._phase = _Phase.BUSY
        self._stopping = False
        self._channel = _Channel(fd)
        self._output = _identity()

    def run(self) -> None:
        """Take jobs until told to go. Ends this process at once where the daemon has gone."""
        faulthandler.enable()
        install()
        restore_signals()
        self._set_handlers()
        setup = self._channel.receive()
        if not isinstance(setup, messages.Setup):
            os._exit(1)
        sys.path[:] = setup.path or sys.path
        os.environ.pop("PYTHONPATH", None)
        if setup.pythonpath is not None:
            os.environ["PYTHONPATH"] = setup.pythonpath
        self._channel.send(messages.Hello(self._pid))
        while True:
            self._phase = _Phase.IDLE
            if self._stopping:
                self._die()
            order = self._channel.receive()
            self._phase = _Phase.BUSY
            if order is None:
                os._exit(0)
            if not isinstance(order, messages.JobOrder):
                return
            self._channel.send(self._attend(order))

    def _attend(self, order: messages.JobOrder) -> messages.Done:
        set_current(TaskContext(order.task_id, order.attempt))
        result = self._perform(order)
        if os.getpid() != self._pid:
            # The function forked and its child came back here: there must be one main loop only.
            os._exit(0)
        set_current(None)
        flush_all()
        retire = None
        if not sweep_children(self._adopts_orphans):
            retire = "a process of its task cannot be killed"
        elif self._output != _identity():
            retire = "its task closed or replaced the output"
        self._set_handlers()
        if self._stopping:
            self._die()
        return messages.Done(result.ok, msgspec.Raw(result.value), result.error, retire)

    def _perform(self, order: messages.JobOrder) -> Result:
        if order.target is None:
            from poppo_ipc.daemon.workers._command import run_command

            return run_command(order.payload, order.cwd, lambda: self._stopping)
        try:
            self._phase = _Phase.FUNCTION
            if self._stopping:
                self._die()
            return call_function(order.target, order.payload)
        finally:
            self._phase = _Phase.BUSY

    def _set_handlers(self) -> None:
        """Those that stopping a task relies on; a function may have set its own."""
        if signal.getsignal(signal.SIGTERM) != self._on_term:
            signal.signal(signal.SIGTERM, self._on_term)
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid or self._phase is _Phase.IDLE:
            # A fork of this process by a function dies as any process would.
            self._die()
        self._stopping = True
        if self._phase is _Phase.FUNCTION:
            # As Ctrl-C does: Trio and asyncio know how to end on that.
            signal.raise_signal(signal.SIGINT)

    def _die(self) -> None:
        """End by SIGTERM, as whoever sent it expects."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def _identity() -> list[tuple[int, int] | None]:
    """Which files are behind the descriptors of the output."""
    found: list[tuple[int, int] | None] = []
    for fd in (1, 2):
        try:
            status = os.fstat(fd)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return found


def main(fd: int, guardian: int) -> None:
    """Run this process as a worker: `fd` is its control socket, `guardian` the number of its parent."""
    _Worker(fd, guardian).run()
