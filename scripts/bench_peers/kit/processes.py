"""The processes of the benchmark: started in groups of their own, watched, and killed whatever happens.

Each holds one end of a pipe whose other end is the benchmark's: when that goes, in whatever way, so do they.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["Child", "Failed", "live_with_parent", "raise_file_limit", "ready"]

_SCRIPTS: Final = Path(__file__).resolve().parents[2]
_LIFELINE: Final = "BENCH_LIFELINE"


class Failed(Exception):
    """A process ended, or did not say in time what it was to say."""


def ready() -> None:
    """Tell the benchmark that this process does what it was started for."""
    print("ready", flush=True)


def raise_file_limit() -> int:
    """Have as many files open as the system allows; gives how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def live_with_parent() -> None:
    """End this process, and all that it started, with the one that started it."""
    lifeline = os.environ.get(_LIFELINE)
    if lifeline is not None:
        threading.Thread(target=_watch, args=(int(lifeline),), daemon=True).start()


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


class Child:
    """A process that says "ready", or a result as one line of JSON. `log` gets what it says of errors.

    It runs in `directory`, or where the benchmark does.
    """

    def __init__(self, arguments: list[str], log: Path, directory: Path | None = None) -> None:
        self._log = log
        self._said = b""
        self._killed = False
        end, self._lifeline = os.pipe()
        path = os.pathsep.join((str(_SCRIPTS), str(_SCRIPTS.parent), os.environ.get("PYTHONPATH", "")))
        try:
            with log.open("wb") as errors:
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=directory,
                    env={**os.environ, "PYTHONPATH": path, _LIFELINE: str(end)},
                    pass_fds=(end,),
                    start_new_session=True,
                )
        finally:
            os.close(end)

    @classmethod
    def of(cls, order: dict[str, Any], log: Path) -> Self:
        """One that does what the order says (see `bench_peers/__main__.py`)."""
        return cls([sys.executable, "-m", "bench_peers", json.dumps(order)], log)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait_ready(self, seconds: float) -> None:
        """Wait until it is ready. Raises Failed where it is not in that time."""
        if (said := self._line(seconds)) != b"ready":
            raise Failed(f"It said {said[:200]!r} and not that it is ready. {self._last_words()}")

    def result(self, seconds: float) -> dict[str, float]:
        """Wait for its result. Raises Failed where there is none in that time."""
        try:
            found: dict[str, float] = json.loads(self._line(seconds))
        except ValueError as error:
            raise Failed(f"It gave no result: {error}. {self._last_words()}") from None
        return found

    def wait_end(self, seconds: float) -> None:
        """Wait until it has ended well. Raises Failed where it does not in that time."""
        try:
            if self._process.wait(seconds) == 0:
                return
        except subprocess.TimeoutExpired:
            pass
        raise Failed(f"It did not end well. {self._last_words()}")

    def _line(self, seconds: float) -> bytes:
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        until = time.monotonic() + seconds
        while b"\n" not in self._said:
            if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
                raise Failed(f"Nothing came in {seconds:.0f} s. {self._last_words()}")
            data = os.read(fd, 65536)
            if not data:
                raise Failed(f"It ended. {self._last_words()}")
            self._said += data
        line, _, self._said = self._said.partition(b"\n")
        return line

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        # Written down later, and where it was is nobody's business.
        return f"Its last words: {lines[-1].replace(str(self._log.parent), '')}" if lines else "It had no last words."

    def kill(self) -> None:
        """End it and all that it started. A second time it does nothing."""
        if self._killed:
            return
        self._killed = True
        if self._process.returncode is None:
            # Only now: once it has been waited for, its id may be another one's.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._lifeline)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
