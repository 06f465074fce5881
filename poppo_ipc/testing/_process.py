"""`poppo-ipc serve` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from poppo_ipc.client import SyncClient
from poppo_ipc.errors import PoppoError

__all__ = ["ServeProcess"]

_READY: Final = "ready on "
#: Seconds that starting or ending take at the most, on a machine that has much else to do.
_PATIENCE: Final = 60.0
_LINES: Final = 50


class ServeProcess:
    """The process, from `start` to `stop`. What it logs is read all the time, so that it never waits for a reader.

    Args:
        flags: those of `serve`.
        token: the token, which goes by the environment, since arguments can be seen by others.
        client: makes a client of it.
    """

    def __init__(self, flags: Sequence[str], token: str, client: Callable[[], SyncClient]) -> None:
        self._command = [sys.executable, "-m", "poppo_ipc", "serve", *flags]
        self._token = token
        self._client = client
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()
        self._is_ready = False
        self._lines: deque[str] = deque(maxlen=_LINES)

    def start(self) -> None:
        """Start it, and wait until clients can connect. Raises RuntimeError with what it said where it ends before."""
        # Settings of whoever runs the tests are none of this daemon.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("POPPO_", "LISTEN_"))}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**environment, "POPPO_TOKEN": self._token},
        )
        self._reader = threading.Thread(target=self._read, name="poppo-serve-log", daemon=True)
        self._reader.start()
        if not self._ready.wait(_PATIENCE) or not self._is_ready:
            self.kill()
            raise RuntimeError("poppo-ipc serve did not get ready:\n" + "\n".join(self._lines))

    def stop(self) -> None:
        """End it in order, or by force where it takes too long. Idempotent."""
        if self._process is not None and self._process.poll() is None:
            self._ask_to_end(self._process)
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._reap()

    def _ask_to_end(self, process: subprocess.Popen[str]) -> None:
        if sys.platform == "win32":
            # There is no signal for it: a console is not sure to be there, and `terminate` is a kill.
            with suppress(PoppoError), self._client() as client:
                client.call("daemon.stop")
        else:
            process.terminate()

    def kill(self) -> None:
        """End it at once: by SIGKILL, or TerminateProcess."""
        if self._process is not None:
            self._process.kill()
        self._reap()

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.wait()
            if self._reader is not None:
                self._reader.join(_PATIENCE)
            if process.stderr is not None:
                process.stderr.close()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line.rstrip("\n"))
            if line.startswith(_READY):
                self._is_ready = True
                self._ready.set()
        self._ready.set()
