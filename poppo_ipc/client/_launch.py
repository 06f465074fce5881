"""A program in the background: a session of its own, and nothing of whoever started it but a place to write to.

By `subprocess`, and not by forking twice: nothing runs between fork and exec in a program that may have threads; the
new process is our child, so its pid cannot have become another's when it has to be ended, and its exit code is ours to
read. What a second fork would add, that a terminal it opens cannot become its own, matters to no daemon.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, Protocol

from poppo_ipc.errors import ConnectFailed

__all__ = [
    "Child",
    "DaemonStartFailed",
    "LogFile",
    "Output",
    "Pipe",
    "child_environment",
    "command_of",
    "last_line",
    "spawn",
]

_TAIL_BYTES: Final = 16 * 1024
#: What a log of a daemon's stray output grows to before the next start begins it anew.
_LOG_BYTES: Final = 1024 * 1024
#: What a service manager told us is not meant for what we start.
_MANAGERS: Final = frozenset(
    {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
)
_RUN: Final = (
    "import importlib, operator, sys; sys.path[:] = {path!r}; "
    "operator.attrgetter({name!r})(importlib.import_module({module!r}))()"
)


class DaemonStartFailed(ConnectFailed):
    """The daemon was started and did not come up; it does not run any more. The message has its own last words.

    `exit_code` is how it ended (negative: by that signal), None where it had to be ended; `output` what it said.
    """

    code = "START_FAILED"

    def __init__(self, message: str, *, exit_code: int | None = None, output: str = "") -> None:
        super().__init__(message, retryable=False)
        self.exit_code = exit_code
        self.output = output


class Output(Protocol):
    """Where a child's stdout and stderr go."""

    fd: int

    @property
    def released(self) -> bool:
        """Whether the child does not need us for its output any more."""

    def begun(self) -> None:
        """The child has `fd`."""

    def text(self) -> str:
        """The end of what it has said so far."""

    def close(self) -> None:
        """Read no more. Idempotent."""


class LogFile:
    """A file that the child writes to for as long as it lives. Raises OSError where there can be none."""

    released = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        self.fd = os.open(path, flags, 0o600)
        if os.fstat(self.fd).st_size > _LOG_BYTES:
            os.ftruncate(self.fd, 0)
        self._from = os.fstat(self.fd).st_size

    def begun(self) -> None:
        """Nothing to do: both ends are ours to keep."""

    def text(self) -> str:
        """The end of what was written since this was made."""
        start = max(self._from, os.fstat(self.fd).st_size - _TAIL_BYTES)
        return os.pread(self.fd, _TAIL_BYTES, start).decode(errors="replace")

    def close(self) -> None:
        """Close our end."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Pipe:
    """A pipe that the child writes to while it starts, and lets go of when it is ready."""

    def __init__(self) -> None:
        self._read, self.fd = os.pipe()
        os.set_blocking(self._read, False)
        self._data = b""
        self._over = False

    @property
    def released(self) -> bool:
        """Whether nobody can write any more."""
        self._pump()
        return self._over

    def begun(self) -> None:
        """Close the end that is the child's."""
        os.close(self.fd)
        self.fd = -1

    def text(self) -> str:
        """What was written."""
        self._pump()
        return self._data.decode(errors="replace")

    def close(self) -> None:
        """Close our end."""
        for fd in (self.fd, self._read):
            if fd >= 0:
                os.close(fd)
        self.fd = self._read = -1

    def _pump(self) -> None:
        while not self._over and self._read >= 0:
            try:
                data = os.read(self._read, _TAIL_BYTES)
            except BlockingIOError:
                return
            self._over = not data
            self._data = (self._data + data)[-_TAIL_BYTES:]


class Child:
    """A program that was started. It goes on when this program ends, however that ends."""

    def __init__(self, process: subprocess.Popen[bytes], output: Output) -> None:
        self._process = process
        self.output = output

    @property
    def pid(self) -> int:
        """Its process, and the group of it and of what it starts."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal to it and its group, unless it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it at once, with all of its group. Blocks until it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self.output.close()

    def let_go(self) -> None:
        """Have no more to do with it, but that its end leaves no zombie for as long as this program runs."""
        self.output.close()
        threading.Thread(target=self._process.wait, name=f"wait for {self.pid}", daemon=True).start()


def spawn(
    argv: Sequence[str],
    output: Output,
    *,
    cwd: str | os.PathLike[str] | None = "/",
    environ: Mapping[str, str] | None = None,
) -> Child:
    """Start a program in a session of its own: Ctrl-C and the end of the terminal do not reach it.

    It has umask 077, no stdin, and no descriptor but its output, which is closed where it cannot be started. Raises
    DaemonStartFailed then.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output.fd,
            stderr=output.fd,
            start_new_session=True,
            umask=0o077,
            cwd=cwd,
            env=child_environment() if environ is None else environ,
        )
    except OSError as error:
        output.close()
        raise DaemonStartFailed(f"{argv[0]} cannot be started: {error.strerror}") from error
    except BaseException:
        output.close()
        raise
    output.begun()
    return Child(process, output)


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment (this process's by default) without what a service manager said to this process alone."""
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if name not in _MANAGERS}


def command_of(command: Sequence[str] | ModuleType | Callable[[], Any]) -> list[str]:
    """The arguments of a program: as they are; of a module that is run; or of a function that is called.

    A function runs with the import path of this program. Raises ValueError for one that no other process can import,
    and TypeError for a single text.
    """
    if isinstance(command, str):
        raise TypeError("The command has to be a sequence of arguments, not one text")
    if isinstance(command, ModuleType):
        return [sys.executable, "-m", command.__name__]
    if not callable(command):
        return [*map(os.fspath, command)]
    module, name = getattr(command, "__module__", ""), getattr(command, "__qualname__", "")
    if not module or module == "__main__" or not name or "<" in name:
        raise ValueError(f"No other process can import {command!r}: give a function of a module, or the arguments")
    path = [os.path.abspath(entry) for entry in sys.path]
    return [sys.executable, "-c", _RUN.format(path=path, name=name, module=module)]


def last_line(text: str) -> str:
    """The last line with anything on it: where the last words of most programs are."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
