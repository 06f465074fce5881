"""Starting a daemon once, however many programs want it at the same moment."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from poppo_ipc.client._beside import beside
from poppo_ipc.client._interrupts import INTERRUPTS
from poppo_ipc.client._launch import Child, DaemonStartFailed, last_line
from poppo_ipc.client._probe import Probe, nothing_listens
from poppo_ipc.client._start_lock import release_start, take_start
from poppo_ipc.errors import ConnectFailed, PoppoError, TransportUnsupported
from poppo_ipc.transport import Address, AddressKind
from poppo_ipc.transport._lock_holder import lock_holder

__all__ = ["Starter", "run_blocking"]

_FIRST_WAIT: Final = 0.005
_LONGEST_WAIT: Final = 0.05
#: Seconds that a half-started daemon has to end in order, before it is killed.
_END_SECONDS: Final = 2.0


class Starter:
    """One attempt to have a daemon at `address`: there already, started by somebody else, or by this.

    Of all that try at once one starts it, by a lock beside the socket (`SOCKET.start`), which dies with its owner; the
    others wait until it greets them. One that is just ending is waited for. Ready is a daemon that greets, not one that
    merely has its socket: it may still find that it cannot use its state.

    Args:
        address: where it will listen; a Unix socket or a named pipe.
        spawn: starts it. Raises DaemonStartFailed or OSError.
        timeout: seconds until it has to be ready.

    Raises TransportUnsupported for another kind of address.
    """

    def __init__(self, address: Address, spawn: Callable[[], Child], timeout: float) -> None:
        if address.kind is AddressKind.MEMORY:
            raise TransportUnsupported(f"Another process cannot listen at {address}: name a socket or a pipe")
        self.ours = False
        """Whether it was this that started the daemon; told when `steps` is over."""
        self.pid: int | None = None
        """The daemon's process, where that is known; told when `steps` is over."""
        self.said = ""
        """What the daemon that this started said until it was ready."""
        self._address = address
        self._spawn = spawn
        self._timeout = timeout
        self._child: Child | None = None
        self._lock: int | None = None
        self._probe: Probe | None = None
        self._nobody = False

    def steps(self) -> Generator[float, None, None]:
        """Do it, giving the seconds to wait before each next step; close it to give up.

        Whatever ends it but success, also ends what was started. Raises DaemonStartFailed with the daemon's own reason;
        ConnectFailed where something has the address and is no daemon to talk to; AddressError and OSError where there
        can be no socket.
        """
        deadline = time.monotonic() + self._timeout
        pause = _FIRST_WAIT
        try:
            while not self._is_ready():
                if time.monotonic() >= deadline:
                    yield from self._end_child()
                    raise self._too_late()
                if not self._go_on():
                    yield pause
                    pause = min(pause * 1.5, _LONGEST_WAIT)
            if self._child is not None:
                child, self._child = self._child, None
                if child.exit_code is None:
                    # The daemon's own word first: what was started may only start it, as in a venv on Windows.
                    self.ours, self.pid, self.said = True, self.pid or child.pid, child.output.text()
                child.let_go()
        finally:
            self._drop_probe()
            if self._child is not None:
                self._child.kill()
            if self._lock is not None:
                release_start(self._lock)

    def _is_ready(self) -> bool:
        """Whether a daemon greets. Notes whether nobody listens."""
        child = self._child
        if child is not None and not child.output.released and child.exit_code is None:
            return False
        self._nobody = False
        if self._probe is None:
            try:
                self._probe = Probe.of(self._address)
            except ConnectFailed as error:
                self._nobody = nothing_listens(error)
                if not error.retryable:
                    raise
                return False
        greeted = self._probe.greeted()
        if greeted is None:
            return False
        self.pid = self._probe.pid
        if not greeted:
            self._drop_probe()
        return greeted

    def _go_on(self) -> bool:
        """Do what is next where nobody listens; gives whether to look again at once."""
        child = self._child
        if not self._nobody:
            return False
        if child is not None:
            if child.exit_code is None or self._is_held():
                return False
            if child.exit_code == 0 and not child.output.text().strip():
                return False  # it may have put itself into the background
            raise self._failed(child)
        if self._lock is None:
            self._lock = take_start(self._address)
            return self._lock is not None  # it may be there by now
        if not self._is_held():
            with _interrupts_later():
                self._child = self._spawn()
        return False

    def _is_held(self) -> bool:
        return bool(lock_holder(beside(self._address, ".lock"))[0])

    def _failed(self, child: Child) -> DaemonStartFailed:
        code, output = child.exit_code, child.output.text()
        assert code is not None
        why = last_line(output)
        message = f"The daemon ended before it was ready ({child.ending}){f': {why}' if why else ''}"
        return DaemonStartFailed(message, exit_code=code, output=output)

    def _end_child(self) -> Generator[float, None, None]:
        if self._child is None:
            return
        self._child.ask_to_end()
        deadline = time.monotonic() + _END_SECONDS
        while self._child.exit_code is None and time.monotonic() < deadline:
            yield _LONGEST_WAIT

    def _too_late(self) -> PoppoError:
        within = f"within {self._timeout:g} s"
        if self._child is not None:
            output = self._child.output.text()
            why = last_line(output)
            said = f"; it said: {why}" if why else ""
            return DaemonStartFailed(f"The daemon was not ready {within}, and was ended{said}", output=output)
        if not self._nobody:
            return ConnectFailed(
                f"Something listens at {self._address} and did not greet {within}",
                reason=ConnectFailed.Reason.NOT_A_DAEMON,
                retryable=False,
            )
        held, pid = lock_holder(beside(self._address, ".lock"))
        if held:
            who = "Another process" if pid is None else f"Process {pid}"
            return ConnectFailed(f"{who} has the address {self._address} and did not listen there {within}")
        return ConnectFailed(f"Another program starts the daemon at {self._address}, and it was not ready {within}")

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None


def run_blocking(starter: Starter) -> None:
    """Do all steps in this thread. Raises as `Starter.steps`."""
    steps = starter.steps()
    try:
        for pause in steps:
            time.sleep(pause)
    finally:
        steps.close()


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C in the block is raised at its end: between the start of a process and its assignment it would be lost.

    By the handler, and not by blocking the signal, since a new process would have it blocked as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {int(number): handler for number in INTERRUPTS if callable(handler := signal.getsignal(number))}
    caught: list[tuple[int, FrameType | None]] = []
    for number in handlers:
        signal.signal(number, lambda *which: caught.append(which))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if caught:
            number, frame = caught[0]
            handlers[number](number, frame)
