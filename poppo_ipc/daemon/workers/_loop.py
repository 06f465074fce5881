"""The main loop of a worker process; what differs between systems is in `_main_unix` and `_main_windows`.

Blocking, single-threaded, and light: the standard library and msgspec only, until a task's function imports more.
"""

from __future__ import annotations

import enum
import faulthandler
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable

import msgspec

from poppo_ipc.daemon.workers import _messages as messages
from poppo_ipc.daemon.workers._call import Result, call_function
from poppo_ipc.daemon.workers._context import TaskContext, set_current
from poppo_ipc.daemon.workers._output import flush_all, install

__all__ = ["Loop", "Phase", "read_message"]


class Phase(enum.Enum):
    """What an order to stop does now."""

    IDLE = "die at once"
    FUNCTION = "interrupt it, so that its finally blocks run"
    BUSY = "nothing yet: it is looked at in a moment"


class Loop(ABC):
    """This process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.phase = Phase.BUSY
        self.stopping = False
        self._output = self.identity()

    def run(self) -> None:
        """Take jobs until told to go. Ends this process at once where the daemon has gone."""
        faulthandler.enable()
        install(self.settle)
        self.set_up()
        setup = self.receive()
        if not isinstance(setup, messages.Setup):
            os._exit(1)
        sys.path[:] = setup.path or sys.path
        os.environ.pop("PYTHONPATH", None)
        if setup.pythonpath is not None:
            os.environ["PYTHONPATH"] = setup.pythonpath
        self.send(messages.Hello(self.pid))
        while True:
            self.phase = Phase.IDLE
            if self.stopping:
                self.die()
            order = self.receive()
            self.phase = Phase.BUSY
            if order is None:
                os._exit(0)
            if not isinstance(order, messages.JobOrder):
                return
            self.begin()
            self.send(self._attend(order))

    def _attend(self, order: messages.JobOrder) -> messages.Done:
        set_current(TaskContext(order.task_id, order.attempt))
        result = self._perform(order)
        if os.getpid() != self.pid:
            # The function forked and its child came back here: there must be one main loop only.
            os._exit(0)
        set_current(None)
        flush_all()
        retire = None
        if not self.sweep():
            retire = "a process of its task cannot be killed"
        elif self._output != self.identity():
            retire = "its task closed or replaced the output"
        self.set_handlers()
        if self.stopping:
            self.die()
        return messages.Done(result.ok, msgspec.Raw(result.value), result.error, retire)

    def _perform(self, order: messages.JobOrder) -> Result:
        if order.target is None:
            from poppo_ipc.daemon.workers._command import run_command

            return run_command(order.payload, order.cwd, lambda: self.stopping)
        try:
            self.enter(Phase.FUNCTION)
            if self.stopping:
                self.die()
            return call_function(order.target, order.payload)
        finally:
            self.enter(Phase.BUSY)

    def enter(self, phase: Phase) -> None:
        """Say what an order to stop does from now on."""
        self.phase = phase

    # -- what systems do in their own way ---------------------------------------------------------------------------

    @abstractmethod
    def set_up(self) -> None:
        """Make this process one that can be stopped."""

    @abstractmethod
    def send(self, message: msgspec.Struct) -> None:
        """Send a message to the daemon."""

    @abstractmethod
    def receive(self) -> messages.Down | None:
        """The next message; None at the end of the stream."""

    @abstractmethod
    def begin(self) -> None:
        """A job was taken."""

    @abstractmethod
    def settle(self, fd: int) -> None:
        """Wait until the daemon has read what is in the stream of this descriptor, or for 1 s."""

    @abstractmethod
    def sweep(self) -> bool:
        """Kill what a task has left, where the daemon does not. False where something cannot be killed."""

    @abstractmethod
    def set_handlers(self) -> None:
        """Set those that stopping a task relies on; a function may have set its own."""

    @abstractmethod
    def identity(self) -> list[tuple[int, int] | None]:
        """Which files are behind the descriptors of the output."""

    @abstractmethod
    def die(self) -> None:
        """End as whoever stops a task expects."""


def read_message(read: Callable[[int], bytes], buffer: bytearray) -> messages.Down | None:
    """The next message of a stream; None at its end. `read` gives some bytes, as many as told or not."""
    header = _take(read, buffer, messages.HEADER_BYTES)
    payload = None if header is None else _take(read, buffer, messages.parse_header(header))
    return None if payload is None else messages.decode_down(payload)


def _take(read: Callable[[int], bytes], buffer: bytearray, count: int) -> bytes | None:
    while len(buffer) < count:
        data = read(count - len(buffer))
        if not data:
            return None
        buffer += data
    taken = bytes(buffer[:count])
    del buffer[:count]
    return taken
