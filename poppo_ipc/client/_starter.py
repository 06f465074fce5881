"""Starting a daemon once, however many programs want it at the same moment."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from poppo_ipc.client._launch import Child, DaemonStartFailed, last_line
from poppo_ipc.errors import AddressInUse, ConnectFailed, PoppoError, TransportUnsupported
from poppo_ipc.transport import OWN_AND_ROOT, Address, AddressKind, connect_blocking
from poppo_ipc.transport._connection import Connection, peer_of
from poppo_ipc.transport._lock_holder import lock_holder

__all__ = ["Starter", "nothing_listens", "run_blocking"]

_FIRST_WAIT: Final = 0.005
_LONGEST_WAIT: Final = 0.05
#: Seconds that a half-started daemon has to end in order, before it is killed.
_END_SECONDS: Final = 2.0


def nothing_listens(error: BaseException) -> bool:
    """Whether this says that there is nobody at the address: no socket, or one whose owner is dead."""
    cause = error.__cause__
    return (
        isinstance(error, ConnectFailed)
        and error.retryable
        and isinstance(cause, OSError)
        and cause.errno in (errno.ENOENT, errno.ECONNREFUSED)
    )


class Starter:
    """One attempt to have a daemon at `address`: there already, started by somebody else, or by this.

    Of all that try at once one starts it, by a lock beside the socket (`SOCKET.start`), which dies with its owner; the
    others wait until it greets them. One that is just ending is waited for. Ready is a daemon that greets, not one that
    merely has its socket: it may still find that it cannot use its state.

    Args:
        address: where it will listen; a Unix socket.
        spawn: starts it. Raises DaemonStartFailed or OSError.
        timeout: seconds until it has to be ready.

    Raises TransportUnsupported for another kind of address.
    """

    def __init__(self, address: Address, spawn: Callable[[], Child], timeout: float) -> None:
        if address.kind is not AddressKind.UNIX:
            raise TransportUnsupported(f"Only a daemon on a Unix socket can be started, not one at {address}")
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
        self._probe: Connection | None = None
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
            if self._child is not None and self._child.exit_code is None:
                child, self._child = self._child, None
                self.ours, self.pid, self.said = True, child.pid, child.output.text()
                child.let_go()
        finally:
            self._drop_probe()
            if self._child is not None:
                self._child.kill()
            if self._lock is not None:
                _release(self._lock)

    def _is_ready(self) -> bool:
        """Whether a daemon greets. Notes whether nobody listens."""
        child = self._child
        if child is not None and not child.output.released and child.exit_code is None:
            return False
        self._nobody = False
        if self._probe is None:
            try:
                self._probe = connect_blocking(self._address, 0.0, trusted_uids=OWN_AND_ROOT)
            except ConnectFailed as error:
                self._nobody = nothing_listens(error)
                if not error.retryable:
                    raise
                return False
            self._probe.setblocking(False)
        try:
            greeted = bool(self._probe.recv(1))
            self.pid = peer_of(self._probe).pid
        except BlockingIOError:
            return False
        except OSError:
            greeted = False
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
            self._lock = _take(self._address.name)
            return self._lock is not None  # it may be there by now
        if not self._is_held():
            with _interrupts_later():
                self._child = self._spawn()
        return False

    def _is_held(self) -> bool:
        return bool(lock_holder(f"{self._address.name}.lock")[0])

    def _failed(self, child: Child) -> DaemonStartFailed:
        code, output = child.exit_code, child.output.text()
        assert code is not None
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        why = last_line(output)
        return DaemonStartFailed(
            f"The daemon ended {how} before it was ready{f': {why}' if why else ''}", exit_code=code, output=output
        )

    def _end_child(self) -> Generator[float, None, None]:
        if self._child is None:
            return
        self._child.signal(signal.SIGTERM)
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
            return ConnectFailed(f"Something listens at {self._address} and did not greet {within}", retryable=False)
        held, pid = lock_holder(f"{self._address.name}.lock")
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
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    caught: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _, frame: caught.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(signal.SIGINT, caught[0])


def _take(path: str) -> int | None:
    """The lock of those who start a daemon at `path`; None where another has it."""
    from poppo_ipc.transport._directory import open_directory
    from poppo_ipc.transport._lock import take_lock

    directory = open_directory(os.path.dirname(path))
    try:
        return take_lock(directory, f"{os.path.basename(path)}.start", f"{path}.start")
    except AddressInUse:
        return None
    finally:
        os.close(directory)


def _release(lock: int) -> None:
    from poppo_ipc.transport._lock import release_lock

    release_lock(lock)
