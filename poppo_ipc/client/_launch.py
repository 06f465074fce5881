"""A program in the background: what it is started with, and what becomes of it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from poppo_ipc._exits import exit_text
from poppo_ipc.client._apart import Apart
from poppo_ipc.client._output import Output
from poppo_ipc.errors import ConnectFailed

__all__ = [
    "Child",
    "DaemonStartFailed",
    "child_environment",
    "command_of",
    "last_line",
    "spawn",
]

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


class Child:
    """A program that was started. It goes on when this program ends, however that ends."""

    def __init__(self, process: Apart, output: Output) -> None:
        self._process = process
        self.output = output

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    @property
    def ending(self) -> str:
        """How it ended, in words: `exited with code 3`."""
        return exit_text(self._process.wait())

    def ask_to_end(self) -> None:
        """Have it end in order, or at once where the system has no way to ask it."""
        self._process.ask_to_end()

    def kill(self) -> None:
        """End it at once, with all that it has started, also where it has ended itself. Blocks until it is gone."""
        self._process.kill()
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
    cwd: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Child:
    """Start a program apart from this one: Ctrl-C and the end of the terminal do not reach it.

    It has umask 077, no stdin, and no descriptor but its output, which is closed where it cannot be started. Raises
    DaemonStartFailed then. `cwd`: its working directory; None for ours.
    """
    try:
        process = Apart(
            argv, output.fd, cwd=cwd, environ=child_environment() if environ is None else environ, private=True
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
