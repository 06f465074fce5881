"""A worker process on Windows: two pipes to the daemon, an event that tells it to stop, and a console of its own.

The handles stay handles: a function that closes every descriptor, or a child that inherits them, does no harm to them.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import _winapi  # what `multiprocessing` and `asyncio` use
import msvcrt
import os
import signal
import stat
import threading
from types import FrameType
from typing import Final

import msgspec

from poppo_ipc._exits import STOPPED
from poppo_ipc.daemon.workers import _messages as messages
from poppo_ipc.daemon.workers._loop import Loop, Phase, read_message

__all__ = ["main"]

_READ_BYTES: Final = 65536


class _WindowsLoop(Loop):
    def __init__(self, down: int, up: int, termination: int) -> None:
        for handle in (down, up, termination):
            os.set_handle_inheritable(handle, False)
        os.environ.pop("__PYVENV_LAUNCHER__", None)
        self._down = down
        self._up = up
        self._termination = termination
        self._buffer = bytearray()
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        super().__init__()

    def set_up(self) -> None:
        # A process that was started in a group of its own does not hear Ctrl-C, nor do its children.
        _hear_ctrl_c()
        self.set_handlers()
        threading.Thread(target=self._obey, name="termination", daemon=True).start()

    def send(self, message: msgspec.Struct) -> None:
        view = memoryview(messages.frame(messages.encode(message)))
        with self._sending:
            while view:
                count, _ = _winapi.WriteFile(self._up, view)
                view = view[count:]

    def receive(self) -> messages.Down | None:
        with self._receiving:
            return read_message(self._read, self._buffer)

    def _read(self, count: int) -> bytes:
        try:
            data, _ = _winapi.ReadFile(self._down, max(_READ_BYTES, count))
        except BrokenPipeError:
            return b""
        return bytes(data)

    def begin(self) -> None:
        self.send(messages.Begun())

    def settle(self, fd: int) -> None:
        # A thread that a function has left cannot wait: the answer would be taken for the next order.
        if self.phase is Phase.FUNCTION and self._receiving.acquire(blocking=False):
            try:
                self.send(messages.Turn())
                read_message(self._read, self._buffer)
            finally:
                self._receiving.release()

    def sweep(self) -> bool:
        return True  # the daemon does that, which has the job

    def enter(self, phase: Phase) -> None:
        if phase is Phase.FUNCTION:
            # Trio and asyncio put theirs in place of this one, and of no other.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        super().enter(phase)
        if phase is not Phase.FUNCTION:
            self.set_handlers()

    def set_handlers(self) -> None:
        if signal.getsignal(signal.SIGINT) is not _pass_over:
            signal.signal(signal.SIGINT, _pass_over)

    def _obey(self) -> None:
        """Wait for the order to stop, and pass it on, in a thread of its own."""
        _winapi.WaitForSingleObject(self._termination, _winapi.INFINITE)
        self.stopping = True
        if self.phase is Phase.IDLE:
            self.die()
        try:
            # To this process and all that share its console.
            os.kill(0, signal.CTRL_C_EVENT)
        except OSError:
            signal.raise_signal(signal.SIGINT)

    def identity(self) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = []
        for fd in (1, 2):
            try:
                found.append((msvcrt.get_osfhandle(fd), stat.S_IFMT(os.fstat(fd).st_mode)))
            except OSError:
                found.append(None)
        return found

    def die(self) -> None:
        """End as Ctrl-C ends a process."""
        os._exit(STOPPED - 2**32)


def _pass_over(number: int, frame: FrameType | None) -> None:
    """While no function runs, Ctrl-C is for the others in the console."""


def _hear_ctrl_c() -> None:
    import ctypes

    ctypes.WinDLL("kernel32").SetConsoleCtrlHandler(None, False)


def main(down: int, up: int, termination: int) -> None:
    """Run this process as a worker: handles of the pipes from and to the daemon, and of the event."""
    loop = _WindowsLoop(down, up, termination)
    try:
        loop.run()
    except KeyboardInterrupt:
        if not loop.stopping:
            raise
        loop.die()
